"""Line charts: curves over an axis of round numbers, with legend, cursor, marks and levels."""

from collections.abc import Sequence

import numpy as np
from rich.cells import cell_len
from rich.style import Style
from textual.strip import Strip

from lossviz_tui.paint.axes import BottomAxis, tick_labels
from lossviz_tui.paint.cells import Canvas, Size, clean_text
from lossviz_tui.paint.chart_layout import (
    ChartFrame,
    ChartOptions,
    LevelLine,
    Marks,
    Series,
    chart_frame,
    y_ticks,
)
from lossviz_tui.paint.colors import dimmed
from lossviz_tui.paint.curves import Curve, rasterise
from lossviz_tui.paint.legend import draw_legend
from lossviz_tui.paint.palettes import (
    ACCENT,
    FAINT,
    MUTED,
    TEXT,
    Ink,
    Look,
    as_values,
    category_ink,
    category_style,
    marker_for,
    style_for,
)

__all__ = [
    "ChartFrame",
    "ChartOptions",
    "LevelLine",
    "Marks",
    "Series",
    "chart_frame",
    "line_chart",
]


def line_chart(
    series: Sequence[Series], size: Size, *, look: Look, options: ChartOptions | None = None
) -> list[Strip]:
    """The chart as `size` cells; `chart_frame` tells where a value or a mouse click lies."""
    options = options or ChartOptions()
    canvas = Canvas(size)
    frame = chart_frame(series, size, look=look, options=options)
    ordered = sorted(series, key=lambda one: (one.bold, one.color_index >= 0 and not one.dim))
    _draw_grid(canvas, frame, look)
    _draw_levels(canvas, frame, look, options.h_lines)
    _draw_cursor_line(canvas, frame, look, options.cursor_x)
    seen = _draw_curves(canvas, frame, look, ordered)
    if not seen:
        _draw_centred(canvas, frame, look, options.empty_text)
    _draw_marks(canvas, frame, look, options.marks)
    if frame.has_axes:
        _draw_axes(canvas, frame, look, options)
    _draw_header(canvas, frame, look, options, series)
    if frame.legend == "direct":
        _draw_direct_labels(canvas, frame, look, series)
    return canvas.strips()


def _draw_grid(canvas: Canvas, frame: ChartFrame, look: Look) -> None:
    if look.color in {"none", "16"} or look.is_ascii or not frame.has_axes:
        return
    for value in y_ticks(frame.y):
        row = frame.row(value)
        if row is not None:
            columns = (frame.left, frame.left + frame.x.cells)
            canvas.paint(columns, (row, row + 1), "┈", style_for(look, FAINT))


def _draw_levels(
    canvas: Canvas, frame: ChartFrame, look: Look, levels: Sequence[LevelLine]
) -> None:
    style = style_for(look, MUTED)
    for level in levels:
        row = frame.row(level.y)
        if row is None:
            continue
        columns = (frame.left, frame.left + frame.x.cells)
        canvas.paint(columns, (row, row + 1), "-" if look.is_ascii else "╌", style)
        room = frame.x.cells - 2
        text = clean_text(level.label, room, ascii_only=look.is_ascii)
        if text:
            canvas.put_right(columns[1] - 1, row, f" {text} ", style)


def _draw_cursor_line(
    canvas: Canvas, frame: ChartFrame, look: Look, cursor_x: float | None
) -> None:
    column = None if cursor_x is None else frame.column(cursor_x)
    if column is not None:
        rows = (frame.top, frame.top + frame.y.cells)
        glyph = "|" if look.is_ascii else "│"
        canvas.paint((column, column + 1), rows, glyph, style_for(look, ACCENT))


def _draw_curves(
    canvas: Canvas, frame: ChartFrame, look: Look, series: Sequence[Series]
) -> bool:
    """Draw the curves; False if none has a point to show."""
    owners: dict[Style, int] = {}
    curves: list[Curve] = []
    for one in series:
        owner = owners.setdefault(_style_of(one, look), len(owners))
        if one.style != "points":
            x, y = _in_points(one, frame)
            curves.append(
                Curve(x, y, owner, marker_for(look, -1 if one.dim else one.color_index))
            )
    area = (frame.x.cells, frame.y.cells)
    glyphs, who = rasterise(curves, area, look.charset)
    inks = np.array([canvas.ink_of(style) for style in owners] or [0], dtype=np.int32)
    rows = slice(frame.top, frame.top + area[1])
    columns = slice(frame.left, frame.left + area[0])
    room = canvas.glyphs[rows, columns].shape
    drawn = (who >= 0)[: room[0], : room[1]]
    canvas.glyphs[rows, columns][drawn] = glyphs[: room[0], : room[1]][drawn]
    canvas.inks[rows, columns][drawn] = inks[who[: room[0], : room[1]][drawn]]
    finite = [_draw_points(canvas, frame, look, one, k) for k, one in enumerate(series)]
    return any(finite)


def _style_of(one: Series, look: Look) -> Style:
    """The style of a curve; a dim one is grey where there are no weaker colours, or faint."""
    if not one.dim:
        return category_style(look, one.color_index, bold=one.bold)
    if look.color == "none":
        return Style(dim=True)
    if one.color_index < 0 or not look.has_palette:
        return style_for(look, MUTED)
    ink = category_ink(look, one.color_index)
    return style_for(look, Ink(dimmed(ink.rgb, dark=look.dark), ""))


def _in_points(one: Series, frame: ChartFrame) -> tuple[np.ndarray, np.ndarray]:
    """The series in points of the curve area."""
    return frame.x.points_of(as_values(one.x)), frame.y.points_of(as_values(one.y))


def _draw_points(
    canvas: Canvas, frame: ChartFrame, look: Look, one: Series, order: int
) -> bool:
    """Draw the markers that a series needs; False if it has no finite point at all.

    A lone point is no line, and without colours the marker tells the curves apart.
    """
    usable = np.flatnonzero(np.isfinite(one.x) & np.isfinite(one.y))
    style = _style_of(one, look)
    glyph = marker_for(look, -1 if one.dim else one.color_index)
    shown = usable.tolist() if one.style != "line" else []
    if one.style == "line":
        is_apart = np.diff(usable, prepend=-2, append=len(one.x) + 1) > 1
        shown = usable[is_apart[:-1] & is_apart[1:]].tolist()
        is_plain = look.color == "none" and not look.is_ascii and not one.dim
        if (is_plain or one.marked) and len(usable):
            stride = max(1, round(len(usable) * 14 / max(1, frame.x.cells)))
            shown += usable[(order * stride // 3) % stride :: stride].tolist()
    for index in shown:
        column, row = frame.column(float(one.x[index])), frame.row(float(one.y[index]))
        if column is not None and row is not None:
            canvas.put(column, row, glyph, style)
    return bool(len(usable))


def _draw_centred(canvas: Canvas, frame: ChartFrame, look: Look, text: str) -> None:
    text = clean_text(text, frame.x.cells, ascii_only=look.is_ascii)
    column = frame.left + (frame.x.cells - cell_len(text)) // 2
    canvas.put(column, frame.top + frame.y.cells // 2, text, style_for(look, MUTED))


def _draw_marks(canvas: Canvas, frame: ChartFrame, look: Look, marks: Sequence[Marks]) -> None:
    for one in marks:
        glyph = one.ascii_glyph if look.is_ascii else one.glyph
        style = category_style(look, one.color_index, bold=True)
        across, up = frame.x.cells_of(one.x), frame.y.cells_of(one.y)
        is_seen = (across >= 0) & (up >= 0)
        # Of a hundred thousand marks only those in cells of their own can be told apart.
        is_marked = np.zeros((frame.y.cells, frame.x.cells), np.bool_)
        is_marked[frame.y.cells - 1 - up[is_seen], across[is_seen]] = True
        for row, column in np.argwhere(is_marked).tolist():
            canvas.put(frame.left + column, frame.top + row, glyph, style)


def _draw_axes(canvas: Canvas, frame: ChartFrame, look: Look, options: ChartOptions) -> None:
    line, tick, corner = ("|", "+", "+") if look.is_ascii else ("│", "┤", "└")
    muted, text = style_for(look, MUTED), style_for(look, TEXT)
    column, bottom = frame.left - 1, frame.top + frame.y.cells
    canvas.paint((column, column + 1), (frame.top, bottom), line, muted)
    values = y_ticks(frame.y)
    for value, label in zip(values, tick_labels(values), strict=True):
        row = frame.row(value)
        if row is not None:
            canvas.put(column, row, tick, muted)
            canvas.put_right(column, row, label, text)
    axis = BottomAxis(
        left=frame.left,
        row=bottom,
        label=clean_text(options.x_label, canvas.width, ascii_only=look.is_ascii),
        integer=options.integer_x,
        cursor=options.cursor_x,
    )
    axis.draw(canvas, frame.x, look)
    canvas.put(column, bottom, corner, muted)


def _draw_header(
    canvas: Canvas,
    frame: ChartFrame,
    look: Look,
    options: ChartOptions,
    series: Sequence[Series],
) -> None:
    if frame.top == 0:
        return
    column = 0
    bold = style_for(look, TEXT, bold=True)
    for label, style in ((options.title, bold), (options.y_label, style_for(look, MUTED))):
        text = clean_text(label, max(0, canvas.width - column), ascii_only=look.is_ascii)
        canvas.put(column, 0, text, style)
        column += cell_len(text) + 2 if text else 0
    if frame.legend == "header":
        entries = [legend_entry(one, look, 16) for one in series if one.label]
        row = frame.top - 1
        draw_legend(canvas, (column if row == 0 else 0, row), entries, look)


def legend_entry(one: Series, look: Look, limit: int) -> tuple[str, Style]:
    """The text that names a series, in the style of its curve."""
    name = clean_text(one.label, limit, ascii_only=look.is_ascii)
    plain_line = (
        one.style == "line" and not one.marked and look.color != "none" and not look.is_ascii
    )
    glyph = "━━" if plain_line else marker_for(look, one.color_index)
    return f"{glyph} {name}", category_style(look, one.color_index, bold=one.bold)


def _draw_direct_labels(
    canvas: Canvas, frame: ChartFrame, look: Look, series: Sequence[Series]
) -> None:
    """Names beside the last points of their curves, pushed apart until none overlap."""
    wanted: list[tuple[int, Series]] = []
    for one in series:
        usable = np.isfinite(one.x) & np.isfinite(one.y) & (one.x <= frame.x.high)
        if one.label and usable.any():
            last = float(one.y[np.flatnonzero(usable)[-1]])
            position = frame.y.position(last)
            row = frame.row(last)
            if row is None:
                row = frame.top if position > frame.y.high else frame.top + frame.y.cells - 1
            wanted.append((row, one))
    wanted.sort(key=lambda pair: pair[0])
    rows = spread([row for row, _ in wanted], frame.top, frame.top + frame.y.cells)
    column = frame.left + frame.x.cells + 1
    for row, (_, one) in zip(rows, wanted, strict=False):
        name = clean_text(one.label, canvas.width - column - 2, ascii_only=look.is_ascii)
        text = f"{marker_for(look, one.color_index)} {name}"
        canvas.put(column, row, text, category_style(look, one.color_index, bold=one.bold))


def spread(wanted: Sequence[int], first: int, end: int) -> list[int]:
    """Rows in [first, end), in order and one each, close to the ascending ones wanted."""
    rows = list(wanted[: max(0, end - first)])
    for k, row in enumerate(rows):
        rows[k] = max(row, first + k, rows[k - 1] + 1 if k else first)
    for k in range(len(rows) - 1, -1, -1):
        ceiling = end - 1 if k == len(rows) - 1 else rows[k + 1] - 1
        rows[k] = min(rows[k], ceiling)
    return rows
