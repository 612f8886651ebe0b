"""Smoothed curves, to be drawn over what they were made of."""

import numpy as np

from lossviz_tui.paint.curves import Numbers
from lossviz_tui.paint.palettes import as_values


def window_of(share: float, count: int) -> int:
    """How many values a share of a curve is: an odd number, 3 at least where there are so many.

    0 where the share is none.
    """
    return min(max(3, 2 * round(share * count / 2) + 1), count) if share > 0 else 0


def local_mean(values: Numbers, window: int) -> Numbers:
    """The mean of the finite values around each, `window` of them in all; NaN where none is.

    Symmetric, so that nothing lags behind; near the ends there are fewer. Sums are added up by
    doubling and never subtracted: one diverged epoch harms no others than those around it.
    """
    if window < 2 or not len(values):
        return values
    data = as_values(values)
    finite = np.isfinite(data)
    before = (window - 1) // 2
    padding = (before, window - 1 - before)
    total = _window_sums(np.pad(np.where(finite, data, 0.0), padding), window)
    count = _window_sums(np.pad(finite.astype(np.float64), padding), window)
    return np.divide(total, count, out=np.full(len(data), np.nan), where=count > 0)


def _window_sums(values: Numbers, window: int) -> Numbers:
    """The sum of every `window` successive values."""
    length = len(values) - window + 1
    total = np.zeros(length)
    offset, size = 0, 1
    while True:
        if window & size:
            total += values[offset : offset + length]
            offset += size
        if 2 * size > window:
            return total
        values = values[:-size] + values[size:]
        size *= 2
