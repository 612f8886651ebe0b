"""What a line chart is made of, and where its parts lie."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from rich.cells import cell_len

from lossviz_tui.paint.axes import Scale, tick_labels, ticks_of
from lossviz_tui.paint.cells import Size, clean_text
from lossviz_tui.paint.curves import DOTS, Numbers
from lossviz_tui.paint.palettes import LARGEST, Look

Limits: TypeAlias = tuple[float, float]
LegendPlace: TypeAlias = Literal["auto", "header", "direct", "none"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Series:
    """One curve."""

    label: str
    """Name from the user's data; it is cleaned before it is shown. Empty: no legend entry."""
    x: Numbers
    y: Numbers
    """Same length as x. NaN and infinities are gaps."""
    color_index: int = 0
    """Category of its colour and marker; -1 is a muted curve behind the others."""
    style: Literal["line", "points", "both"] = "line"
    bold: bool = False
    """The curve in focus: drawn last, on top of the others."""
    marked: bool = False
    """Whether its glyph stands along it: one of many curves, where a colour is not enough."""
    dim: bool = False
    """Drawn behind the others in a weaker colour: what a smoothed curve was made of."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Marks:
    """Points of the chart that have one glyph, such as the moments of a label dance."""

    x: Numbers
    y: Numbers
    """Same length as x; NaN shows none."""
    glyph: str = "▼"
    ascii_glyph: str = "v"
    color_index: int = 5


@dataclass(frozen=True, kw_only=True)
class LevelLine:
    """A horizontal line at a value worth knowing, such as the loss of a random guess."""

    y: float
    label: str = ""


@dataclass(frozen=True, kw_only=True)
class ChartOptions:
    """What surrounds the curves."""

    title: str = ""
    x_label: str = "epoch"
    y_label: str = ""
    """Quantity and unit, shown in the header."""
    x_limits: Limits | None = None
    """None takes the range of the data."""
    y_limits: Limits | None = None
    """None takes the range of the data in view, with a little air."""
    log_y: bool = False
    integer_x: bool = True
    """Whether x ticks are whole numbers (epochs)."""
    cursor_x: float | None = None
    marks: Sequence[Marks] = ()
    h_lines: Sequence[LevelLine] = ()
    legend: LegendPlace = "auto"
    """Names at the right end of their curves where there is room, otherwise in the header."""
    empty_text: str = "no data yet"


@dataclass(frozen=True, kw_only=True)
class ChartFrame:
    """Where the curve area lies on the canvas and which values it spans."""

    left: int
    top: int
    x: Scale
    y: Scale
    has_axes: bool
    legend: LegendPlace
    """Settled: never "auto"."""

    def column(self, x: float) -> int | None:
        """Column of a value of x; None if it is out of view."""
        cell = self.x.cell(x)
        return None if cell is None else self.left + cell

    def row(self, y: float) -> int | None:
        """Row of a value of y; None if it is out of view."""
        cell = self.y.cell(y)
        return None if cell is None else self.top + self.y.cells - 1 - cell

    def x_at(self, column: int) -> float | None:
        """The value of x under a column, for the mouse; None beside the curve area."""
        cell = column - self.left
        return self.x.value(cell) if 0 <= cell < self.x.cells else None


def chart_frame(
    series: Sequence[Series], size: Size, *, look: Look, options: ChartOptions
) -> ChartFrame:
    """The layout `line_chart` uses for the same arguments."""
    width, height = size
    has_axes = width >= 20 and height >= 5
    legend = _settled_legend(series, size, options)
    header = _header_height(series, size, options, legend)
    rows = max(1, height - header - (2 if has_axes else 0))
    right = _direct_width(series, look) if legend == "direct" else 0
    x_low, x_high = _x_limits(series, options)
    y_low, y_high = _y_limits(series, (x_low, x_high), options)
    across, down = DOTS[look.charset]
    y = Scale(low=y_low, high=y_high, cells=rows, dots=down, log=options.log_y)
    labels = tick_labels(y_ticks(y))
    left = max(map(len, labels), default=0) + 2 if has_axes else 0
    if has_axes and options.integer_x and left <= len(options.x_label) <= 6 and not right:
        left = len(options.x_label) + 1  # the label fits into the corner
    columns = max(1, width - left - right - (1 if has_axes and not right else 0))
    x = Scale(low=x_low, high=x_high, cells=columns, dots=across)
    return ChartFrame(left=left, top=header, x=x, y=y, has_axes=has_axes, legend=legend)


def y_ticks(scale: Scale) -> list[float]:
    """Round values for the left axis."""
    return ticks_of(scale, max(2, scale.cells // 4))


def _settled_legend(series: Sequence[Series], size: Size, options: ChartOptions) -> LegendPlace:
    named = sum(bool(one.label) for one in series)
    if options.legend != "auto":
        return options.legend if named else "none"
    if not named:
        return "none"
    return "direct" if named > 1 and size[0] >= 60 and named <= size[1] - 4 else "header"


def _header_height(
    series: Sequence[Series], size: Size, options: ChartOptions, legend: LegendPlace
) -> int:
    width, height = size
    words = bool(options.title or options.y_label)
    if height < 6 or width < 20 or not (words or legend == "header"):
        return 0
    if legend != "header" or not words:
        return 1
    used = cell_len(options.title) + cell_len(options.y_label) + 6
    needed = sum(min(cell_len(one.label), 16) + 4 for one in series if one.label)
    return 2 if used + needed > width and height >= 12 else 1


def _direct_width(series: Sequence[Series], look: Look) -> int:
    names = [clean_text(one.label, 12, ascii_only=look.is_ascii) for one in series]
    return max(map(cell_len, names), default=0) + 3


def _x_limits(series: Sequence[Series], options: ChartOptions) -> Limits:
    if options.x_limits is not None:
        return _opened(*options.x_limits)
    parts = [one.x[np.isfinite(one.x)] for one in series]
    values = np.concatenate(parts) if parts else np.empty(0)
    return _opened(float(values.min()), float(values.max())) if values.size else (0.0, 1.0)


def _y_limits(series: Sequence[Series], x_limits: Limits, options: ChartOptions) -> Limits:
    """Ends of the y axis; exponents on a log axis."""
    if options.y_limits is not None:
        low, high = options.y_limits
        if not options.log_y:
            return _opened(low, high)
        if low > 0 and high > 0:
            return _opened(math.log10(low), math.log10(high))
    parts = [
        one.y[(one.x >= x_limits[0]) & (one.x <= x_limits[1]) & np.isfinite(one.y)]
        for one in series
    ]
    values = np.concatenate(parts) if parts else np.empty(0)
    if options.log_y:
        values = np.log10(values[values > 0])
    if not values.size:
        return 0.0, 1.0
    low, high = _opened(float(values.min()), float(values.max()))
    air = 0.04 * (high - low)
    return low - air, high + air


def _opened(low: float, high: float) -> Limits:
    """Limits that are finite, in order, and some way apart."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return 0.0, 1.0
    low, high = max(min(low, high), -LARGEST), min(max(low, high), LARGEST)
    if high - low > 1e-12 * max(1.0, abs(low), abs(high)):
        return low, high
    half = 0.5 if low == 0 or float(low).is_integer() else max(abs(low) * 0.05, 1e-12)
    return low - half, high + half
