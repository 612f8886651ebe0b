"""Names of curves and voices in one row."""

from collections.abc import Sequence

from rich.cells import cell_len
from rich.style import Style

from lossviz_tui.paint.cells import Canvas
from lossviz_tui.paint.palettes import MUTED, Look, style_for


def draw_legend(
    canvas: Canvas, start: tuple[int, int], entries: Sequence[tuple[str, Style]], look: Look
) -> None:
    """Names in one row, flush right; what does not fit is counted."""
    column, row = start
    widths = [cell_len(text) + 2 for text, _ in entries]
    room = canvas.width - column
    count = len(entries)
    while count and sum(widths[:count]) - 2 + (5 if count < len(entries) else 0) > room:
        count -= 1
    rest = f"+{len(entries) - count}" if count < len(entries) else ""
    used = sum(widths[:count]) - 2 + (len(rest) + 2 if rest else 0)
    column = max(column, canvas.width - used)
    for (text, style), width in zip(entries[:count], widths, strict=False):
        canvas.put(column, row, text, style)
        column += width
    canvas.put(column, row, rest, style_for(look, MUTED))
