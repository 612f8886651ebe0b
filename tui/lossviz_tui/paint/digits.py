"""Confusion tables with the numbers written into the cells."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from rich.cells import cell_len
from rich.style import Style
from textual.strip import Strip

from lossviz_tui.paint.cells import Canvas, Size, clean_text
from lossviz_tui.paint.colors import contrast_for
from lossviz_tui.paint.palettes import (
    ACCENT,
    EMBER,
    FAINT,
    LEVELS,
    MUTED,
    TEXT,
    Look,
    Palette,
    quantise,
    style_for,
)

MIN_CELL = 4
MAX_CELL = 10
MAX_LINE = 4
MAX_NAME = 14


@dataclass(frozen=True, kw_only=True)
class DigitsOptions:
    """What part of a table is shown, and how its numbers become colours."""

    palette: Palette = EMBER
    low: float = 0.0
    """Fraction of the first colour."""
    high: float | None = None
    """Fraction of the last colour; None takes the largest entry off the diagonal."""
    log: bool = False
    signed: bool = False
    """Whether the numbers are differences: with a sign, and plain half-way in the colours."""
    color_diagonal: bool = False
    """Whether recalls share the colours; otherwise they stay plain and confusions stand out."""
    row0: int = 0
    """First row in view."""
    column0: int = 0
    """First column in view."""
    cursor: tuple[int, int] | None = None
    """Row and column of the entry in focus."""
    corner: str = "true\\called"
    """What rows and columns are."""

    def scrolled(self, row0: int, column0: int) -> "DigitsOptions":
        """The same with another first row and column."""
        return replace(self, row0=row0, column0=column0)


@dataclass(frozen=True, kw_only=True)
class TableFrame:
    """Which entries are in view and where."""

    left: int
    cell: int
    """Cells per column."""
    line: int
    """Cells per row."""
    rows: range
    columns: range

    def entry_at(self, x: int, y: int) -> tuple[int, int] | None:
        """Row and column of the entry under a cell; None beside the table."""
        if x < self.left or y < 1:
            return None
        row, column = (y - 1) // self.line, (x - self.left) // self.cell
        if row >= len(self.rows) or column >= len(self.columns):
            return None
        return self.rows[row], self.columns[column]


def digits_fit(num_classes: int, size: Size) -> bool:
    """Whether a table of all classes fits with its percentages written out."""
    width, height = size
    names = min(MAX_NAME, max(4, width // 6))
    return 0 < num_classes <= height - 1 and num_classes * MIN_CELL <= width - names - 1


def table_frame(
    shape: tuple[int, int], row_names: Sequence[str], size: Size, options: DigitsOptions
) -> TableFrame:
    """The layout `digits_table` uses for the same arguments."""
    rows, columns = shape
    width, height = size
    longest = max(map(cell_len, row_names), default=0)
    left = min(MAX_NAME, max(4, width // 6), max(longest, 4)) + 1
    room = max(0, width - left)
    cell = min(MAX_CELL, max(MIN_CELL, room // max(1, columns)))
    line = min(MAX_LINE, max(1, (height - 1) // max(1, rows)))
    row0 = min(max(0, options.row0), max(0, rows - 1))
    column0 = min(max(0, options.column0), max(0, columns - 1))
    return TableFrame(
        left=left,
        cell=cell,
        line=line,
        rows=range(row0, min(rows, row0 + max(0, height - 1) // line)),
        columns=range(column0, min(columns, column0 + room // cell)),
    )


def digits_table(
    values: ArrayLike,
    row_names: Sequence[str],
    column_names: Sequence[str],
    size: Size,
    *,
    look: Look,
    options: DigitsOptions | None = None,
) -> list[Strip]:
    """Fractions in [0, 1] as a table in percent, `size` cells in all.

    A NaN (a class without examples) is a dash; what rounds to nothing is a dot.
    """
    options = options or DigitsOptions()
    data = np.asarray(values, dtype=np.float64)
    canvas = Canvas(size)
    frame = table_frame((data.shape[0], data.shape[1]), row_names, size, options)
    _draw_names(canvas, frame, row_names, column_names, look, options)
    levels = _levels(data, options)
    for line, row in enumerate(frame.rows):
        for place, column in enumerate(frame.columns):
            at = (frame.left + place * frame.cell, 1 + line * frame.line)
            style = _entry_style(look, options, int(levels[row, column]), row == column)
            text = _percent(float(data[row, column]), frame.cell, look, signed=options.signed)
            _draw_entry(canvas, frame, at, text, style)
            if options.cursor == (row, column):
                _draw_cursor(canvas, frame, at, text, style, look)
    return canvas.strips()


def _levels(data: NDArray[np.float64], options: DigitsOptions) -> NDArray[np.int64]:
    high = options.high
    if high is None:
        off = data[~np.eye(*data.shape, dtype=np.bool_)]
        off = off[np.isfinite(off)]
        high = float(off.max()) if off.size else 1.0
    return quantise(data, options.low, high, LEVELS, log=options.log)


def _percent(value: float, cell: int, look: Look, *, signed: bool) -> str:
    if np.isnan(value):
        return "-" if look.is_ascii else "–"
    percent = 100 * value
    decimals = 1 if cell >= 6 else 0
    if round(percent, decimals) == 0:
        return "." if look.is_ascii else "·"
    return f"{percent:+.{decimals}f}" if signed else f"{percent:.{decimals}f}"


def _entry_style(look: Look, options: DigitsOptions, level: int, is_diagonal: bool) -> Style:
    if is_diagonal and not options.color_diagonal:
        return style_for(look, TEXT, bold=True)
    if level < 0:
        return style_for(look, MUTED)
    strength = abs(2 * level + 1 - LEVELS) // 2 if options.signed else level
    if not look.has_palette:
        half = LEVELS // 4 if options.signed else LEVELS // 2
        return style_for(look, TEXT, bold=strength >= half)
    if strength == 0:
        return style_for(look, MUTED)
    background = options.palette.colors(look)[level]
    return style_for(look, contrast_for(background), background)


def _draw_entry(
    canvas: Canvas, frame: TableFrame, at: tuple[int, int], text: str, style: Style
) -> None:
    column, row = at
    end = column + frame.cell
    canvas.paint((column, end), (row, row + frame.line), " ", style)
    canvas.put_right(end - 1, row + _text_line(frame), text, style)


def _draw_cursor(
    canvas: Canvas,
    frame: TableFrame,
    at: tuple[int, int],
    text: str,
    style: Style,
    look: Look,
) -> None:
    """Brackets around the entry in focus, whose colour stays that of its number."""
    if not look.has_palette:
        _draw_entry(canvas, frame, at, text, style_for(look, ACCENT, bold=True, reverse=True))
        return
    end, row = at[0] + frame.cell, at[1] + _text_line(frame)
    strong = style + Style(bold=True, underline=True)
    canvas.put_right(end - 1, row, text, strong)
    canvas.put(end - 1, row, "]", strong)
    if cell_len(text) + 2 <= frame.cell:
        canvas.put(end - 2 - cell_len(text), row, "[", strong)


def _text_line(frame: TableFrame) -> int:
    """On which of its lines the number of an entry stands, and the name of a row."""
    return (frame.line - 1) // 2


def _draw_names(
    canvas: Canvas,
    frame: TableFrame,
    row_names: Sequence[str],
    column_names: Sequence[str],
    look: Look,
    options: DigitsOptions,
) -> None:
    plain, focus = style_for(look, TEXT), style_for(look, ACCENT, bold=True)
    cursor = options.cursor or (-1, -1)
    corner = clean_text(options.corner, frame.left - 1, ascii_only=look.is_ascii)
    if cell_len(options.corner) < frame.left:
        canvas.put(0, 0, corner, style_for(look, FAINT))
    for line, row in enumerate(frame.rows):
        name = _name(row_names, row, frame.left - 1, look)
        style = focus if row == cursor[0] else plain
        canvas.put_right(frame.left - 1, 1 + line * frame.line + _text_line(frame), name, style)
    for place, column in enumerate(frame.columns):
        name = _name(column_names, column, frame.cell - 1, look)
        style = focus if column == cursor[1] else plain
        end = frame.left + (place + 1) * frame.cell
        canvas.put_right(end - 1, 0, name, style)


def _name(names: Sequence[str], index: int, limit: int, look: Look) -> str:
    name = names[index] if index < len(names) else str(index)
    return clean_text(name, limit, ascii_only=look.is_ascii)
