"""Trends in one line, for lists."""

import numpy as np
from numpy.typing import ArrayLike
from rich.style import Style
from textual.strip import Strip

from lossviz_tui.paint.cells import PLAIN, text_line
from lossviz_tui.paint.palettes import Look, as_values, quantise, value_range

_BARS = "▁▂▃▄▅▆▇█"
_ASCII_BARS = "_.-=+*#@"


def sparkline(
    values: ArrayLike,
    width: int,
    *,
    look: Look,
    low: float | None = None,
    high: float | None = None,
    style: Style = PLAIN,
) -> Strip:
    """The values as bars in `width` cells, newest at the right end.

    More values than cells are averaged; fewer leave the left empty. NaN is a gap. Without
    `low` and `high` the range of the values is used.
    """
    data = as_values(values).ravel()
    count = data.size
    if count == 0 or width < 1:
        return text_line("", width)
    if count > width:
        starts = (np.arange(width) * count / width).astype(np.intp)
        finite = np.isfinite(data)
        total = np.add.reduceat(np.where(finite, data, 0.0), starts)
        with np.errstate(invalid="ignore"):
            data = total / np.add.reduceat(finite, starts, dtype=np.int64)
    data = np.where(np.isfinite(data), data, np.nan)
    smallest, largest = value_range(data)
    ends = (smallest if low is None else low, largest if high is None else high)
    bars = _ASCII_BARS if look.is_ascii else _BARS
    levels = quantise(data, *ends, len(bars))
    text = "".join(" " if level < 0 else bars[level] for level in levels.tolist())
    return text_line(text.rjust(width), width, style)
