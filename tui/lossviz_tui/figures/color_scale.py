"""The colours of surfaces: every value that is known has one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lossviz_tui.figures.drawing import module, plain_log_ticks
from lossviz_tui.paint.palettes import LARGEST, as_values

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Colormap, Normalize
    from matplotlib.figure import Figure

_COLORS = "viridis"
UNKNOWN = "#d0d0d0"


@dataclass(frozen=True, kw_only=True, eq=False)
class ColorScale:
    """From the smallest to the largest finite value, linear or logarithmic."""

    norm: Normalize
    low: float
    high: float
    log: bool

    def placed(self, values: np.ndarray) -> np.ndarray:
        """Values of which each but NaN has a colour, as on the screen.

        An infinite loss has the last one. On a log scale what is not positive has the first.
        """
        data = as_values(values)
        data = np.where(np.isposinf(data), self.high, data)
        return np.where(data <= 0 if self.log else np.isneginf(data), self.low, data)

    def draw_bar(
        self,
        figure: Figure,
        image: ScalarMappable,
        axes: Axes | Sequence[Axes],
        unit: str,
        values: Sequence[np.ndarray],
    ) -> None:
        """A bar of the colours with its unit, beside the axes of some surfaces."""
        bar = figure.colorbar(image, ax=axes, shrink=0.85, aspect=30, pad=0.02)
        words = unit
        if self.log:
            has_zero = any(bool((one <= 0).any()) for one in values)
            words += ", log scale" + ("; 0 has the first colour" if has_zero else "")
            plain_log_ticks(bar.ax, (self.low, self.high))
        bar.set_label(words)


def color_scale(
    values: np.ndarray, ends: tuple[float | None, float | None], *, log: bool
) -> ColorScale:
    """The scale of a surface, or between the ends that several have in common."""
    data = as_values(values)
    finite = data[np.isfinite(data) & ((data > 0) | (not log))]
    low = float(finite.min()) if finite.size else 1.0
    high = float(finite.max()) if finite.size else 1.0
    low, high = (low if ends[0] is None else ends[0]), (high if ends[1] is None else ends[1])
    low, high = max(low, -LARGEST), min(high, LARGEST)
    if not low < high:
        low, high = (low / 2, low * 2) if log else (low - 0.5, low + 0.5)
    colors = module("matplotlib.colors")
    norm = colors.LogNorm(low, high) if log else colors.Normalize(low, high)
    return ColorScale(norm=norm, low=low, high=high, log=log)


def surface_colors() -> Colormap:
    """The colours of a surface; grey where nothing is known."""
    return module("matplotlib").colormaps[_COLORS].with_extremes(bad=UNKNOWN)
