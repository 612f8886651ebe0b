"""Scales and ticks: where a value falls among cells, and round numbers beside them."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len
from rich.style import Style

from lossviz_tui.paint.cells import Canvas
from lossviz_tui.paint.palettes import ACCENT, LARGEST, MUTED, TEXT, Look, style_for

SMALLEST = 1e-290
"""Spans below it are none: their steps would lose all digits."""
_LARGEST_EXPONENT = 307.0
"""Of a tick on a log axis: ten times as much may be no float."""


_LONGEST = 1e9
"""From here on whole numbers are written short as well."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """A stretch of values laid over a row of cells; on a log axis the ends are exponents."""

    low: float
    high: float
    cells: int
    dots: int = 1
    """Points a cell is divided into; the ends of the scale lie on the outermost points."""
    log: bool = False

    def position(self, value: float) -> float:
        """A value in the units of the ends; NaN if it has none there."""
        if not self.log:
            return value
        return math.log10(value) if value > 0 else math.nan

    def cell(self, value: float) -> int | None:
        """The cell a value falls into, counted from the low end; None outside."""
        position, span = self.position(value), self.high - self.low
        if self.cells < 1 or not (span > 0 and abs(position - self.low) <= 2 * span):
            return None
        points = self.cells * self.dots
        # Rounding first, so that 2.4999999 and 2.5 do not part: the curves do the same.
        offset = round((position - self.low) / span * (points - 1), 8)
        point = math.floor(0.5 + offset)
        return point // self.dots if 0 <= point < points else None

    def points_of(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where values fall among the points, which are counted from 0; NaN: nowhere."""
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            positions = np.where(values > 0, np.log10(values), np.nan) if self.log else values
            share = (positions - self.low) / (self.high - self.low)
            return share * (self.cells * self.dots - 1)

    def cells_of(self, values: NDArray[np.float64]) -> NDArray[np.int64]:
        """The cells values fall into as `cell` tells them; -1 outside."""
        points = np.floor(np.round(0.5 + self.points_of(values), 8))
        is_inside = (points >= 0) & (points < self.cells * self.dots)  # NaN is not
        return np.where(is_inside, np.nan_to_num(points) // self.dots, -1).astype(np.int64)

    def value(self, cell: float) -> float:
        """The value in the middle of a cell."""
        points = max(1, self.cells * self.dots - 1)
        share = (cell * self.dots + (self.dots - 1) / 2) / points
        position = self.low + share * (self.high - self.low)
        return 10.0**position if self.log else position


def nice_step(span: float, count: int, *, integer: bool = False) -> float:
    """The smallest of 1, 2, 5 times a power of ten that cuts a span into <= `count` parts."""
    if not SMALLEST < span < 10 * LARGEST:
        return 1.0
    rough = span / max(1, count)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1.0, 2.0, 5.0, 10.0) if m * power >= rough * (1 - 1e-9))
    return max(1.0, step) if integer else step


def nice_ticks(low: float, high: float, count: int, *, integer: bool = False) -> list[float]:
    """Round numbers in [low, high], about `count` of them and never more than `count` + 1."""
    if not (math.isfinite(low) and math.isfinite(high)) or high < low:
        return []
    step = nice_step(high - low, count, integer=integer)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [float(f"{k * step:.12g}") + 0.0 for k in range(first, min(last, first + count) + 1)]


def log_ticks(low: float, high: float, count: int) -> list[float]:
    """Round values on a log axis whose ends are the exponents `low` and `high`."""
    if not (math.isfinite(low) and math.isfinite(high)) or high < low:
        return []
    low, high = min(low, _LARGEST_EXPONENT), min(high, _LARGEST_EXPONENT)
    first, last = math.ceil(low - 1e-9), math.floor(high + 1e-9)
    decades = last - first + 1
    if decades >= 2:
        stride = max(1, math.ceil(decades / max(1, count)))
        return [10.0**k for k in range(first, last + 1, stride)]
    inner = [m * 10.0**k for k in range(first - 1, last + 1) for m in (1, 2, 3, 5, 7)]
    inside = [v for v in inner if low - 1e-9 <= math.log10(v) <= high + 1e-9]
    if len(inside) >= 2:
        return inside[: count + 1]
    return [v for v in nice_ticks(10.0**low, 10.0**high, count) if v > 0]


def tick_labels(ticks: Sequence[float]) -> list[str]:
    """One text per tick; on a linear axis all have the decimals that the step needs."""
    if len(ticks) < 2:
        return [short_number(tick) for tick in ticks]
    largest = max(abs(tick) for tick in ticks)
    step = min(abs(b - a) for a, b in itertools.pairwise(ticks)) or largest or 1.0
    is_log = largest > 1e12 * step
    if is_log or any(abs(tick - round(tick / step) * step) > 1e-6 * step for tick in ticks):
        return [short_number(tick) for tick in ticks]
    if not 1e-3 <= largest < 1e5 and step >= 0.01 * largest:
        return [_scientific(tick) for tick in ticks]
    decimals = min(12, max(0, -math.floor(math.log10(step) + 1e-9)))
    return [f"{tick:.{decimals}f}" for tick in ticks]


def short_number(value: float) -> str:
    """A value in three significant digits, as a read-out shows it."""
    if math.isnan(value):
        return "nan"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    if value != 0 and not 1e-3 <= abs(value) < 1e5:
        return _scientific(value)
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _scientific(value: float) -> str:
    mantissa, exponent = f"{value:.2e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".")
    return "0" if value == 0 else f"{mantissa}e{int(exponent)}"


def ticks_of(scale: Scale, count: int, *, integer: bool = False) -> list[float]:
    """Round values within a scale."""
    if scale.log:
        return log_ticks(scale.low, scale.high, count)
    return nice_ticks(scale.low, scale.high, count, integer=integer)


class _TickLook(NamedTuple):
    glyph: str
    line: Style
    number: Style


@dataclass(frozen=True, kw_only=True)
class BottomAxis:
    """The line under a picture and the numbers under the line."""

    left: int
    """Column of the first cell of the picture."""
    row: int
    """Row of the line; the numbers stand one row lower."""
    label: str = ""
    integer: bool = False
    cursor: float | None = None
    """A value to be shown whatever it costs the others."""

    def draw(self, canvas: Canvas, scale: Scale, look: Look) -> None:
        """Draw line, ticks, numbers, and the label at the right end if it does not fit left."""
        line, tick = ("-", "+") if look.is_ascii else ("─", "┬")
        muted = style_for(look, MUTED)
        width = scale.cells
        canvas.paint((self.left, self.left + width), (self.row, self.row + 1), line, muted)
        taken = [False] * (canvas.width + 1)
        self._reserve_label(canvas, taken, width, look)
        if self.cursor is not None:
            text = self._labels([self.cursor])[0]
            style = style_for(look, ACCENT, bold=True, reverse=look.color == "none")
            mark = "^" if look.is_ascii else "▲"
            drawing = _TickLook(mark, style, style)
            self._number(canvas, scale.cell(self.cursor), text, taken, drawing)
        ticks = self._ticks(scale)
        drawing = _TickLook(tick, muted, style_for(look, TEXT))
        for value, text in zip(ticks, self._labels(ticks), strict=True):
            self._number(canvas, scale.cell(value), text, taken, drawing)

    def _labels(self, values: Sequence[float]) -> list[str]:
        """Whole numbers with all their digits, as epochs are called; others in short."""
        if self.integer and all(abs(value) < _LONGEST for value in values):
            return [f"{value:.0f}" for value in values]
        return tick_labels(values)

    def _ticks(self, scale: Scale) -> list[float]:
        count = max(1, scale.cells // 9)
        if scale.log:
            return ticks_of(scale, count)
        # The outermost cells reach half a point beyond the ends.
        half = (scale.high - scale.low) / max(1, scale.cells * scale.dots - 1) / 2
        return nice_ticks(scale.low - half, scale.high + half, count, integer=self.integer)

    def _reserve_label(self, canvas: Canvas, taken: list[bool], width: int, look: Look) -> None:
        style = style_for(look, MUTED)
        if not self.label:
            return
        length = cell_len(self.label)
        start = self.left + width + 2
        if start + length <= canvas.width:  # beyond the axis, under the names of the curves
            canvas.put(start, self.row + 1, self.label, style)
            return
        if self.integer and length < self.left:
            canvas.put_right(self.left - 1, self.row + 1, self.label, style)
            return
        start = self.left + width - length
        if length <= width // 3:
            canvas.put(start, self.row + 1, self.label, style)
            taken[start - 1 :] = [True] * len(taken[start - 1 :])

    def _number(
        self,
        canvas: Canvas,
        cell: int | None,
        text: str,
        taken: list[bool],
        drawing: _TickLook,
    ) -> None:
        if cell is None:
            return
        column = self.left + cell
        start = min(max(0, column - len(text) // 2), canvas.width - len(text))
        if start < 0 or any(taken[start : start + len(text)]):
            return
        canvas.put(column, self.row, drawing.glyph, drawing.line)
        canvas.put(start, self.row + 1, text, drawing.number)
        low = max(0, start - 1)
        taken[low : start + len(text) + 1] = [True] * (start + len(text) + 1 - low)
