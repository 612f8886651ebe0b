"""Curves over one pair of axes: no value of them goes unseen, and no name is left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lossviz_tui.figures.drawing import MUTED, module
from lossviz_tui.paint.palettes import as_values

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

_DOT, _SIGN = 2.5, 4.0
"""Sizes in points."""


class Curves:
    """What is drawn over some axes, and what the legend says of it.

    matplotlib draws nothing of a value between two gaps, and leaves names that begin with `_`
    out of a legend. Both happen in other people's runs.
    """

    def __init__(self, axes: Axes, *, log: bool = False) -> None:
        self.axes = axes
        self.log = log
        self._entries: list[tuple[Artist, str]] = []
        self._signs: dict[str, Artist] = {}

    def add(
        self,
        x: np.ndarray,
        y: np.ndarray,
        *,
        color: str,
        label: str | None = None,
        style: str = "-",
        width: float = 1.2,
        opacity: float = 1.0,
        order: float = 2.0,
    ) -> None:
        """A curve, with a dot at each value between gaps; what is not finite is a gap."""
        values = as_values(y)
        is_drawn = np.isfinite(values) & ((values > 0) | (not self.log))
        values = np.where(is_drawn, values, np.nan)
        line = self.axes.plot(
            x, values, style, color=color, lw=width, alpha=opacity, zorder=order
        )[0]
        has_neighbour = np.zeros_like(is_drawn)
        has_neighbour[1:] |= is_drawn[:-1]
        has_neighbour[:-1] |= is_drawn[1:]
        alone = is_drawn & ~has_neighbour
        if alone.any():
            self.axes.plot(
                x[alone], values[alone], "o", color=color, ms=_DOT, alpha=opacity, zorder=order
            )
        if label is not None:
            self.name(line, label)

    def name(self, artist: Artist, label: str) -> None:
        """Have the legend say what something drawn is."""
        self._entries.append((artist, label))

    def say(self, label: str) -> None:
        """Have the legend say something of what is not drawn."""
        self._entries.append((module("matplotlib.lines").Line2D([], [], ls=""), label))

    def signs(
        self,
        x: np.ndarray,
        y: np.ndarray,
        marker: str,
        color: str,
        label: str,
        *,
        fill: str = "",
    ) -> None:
        """Signs at some points; the legend names each kind of them once, after the curves."""
        is_drawn = np.isfinite(y) & ((y > 0) | (not self.log))
        if is_drawn.any():
            self.axes.plot(
                x[is_drawn],
                y[is_drawn],
                marker,
                color=color,
                mfc=fill or color,
                ms=_SIGN,
                zorder=3,
            )
            self._name_sign(marker, label, fill)

    def signs_at_edge(
        self, x: np.ndarray, marker: str, color: str, label: str, *, top: bool
    ) -> None:
        """Signs at the upper or lower edge, of values that are beyond it."""
        if len(x):
            self.axes.plot(
                x,
                np.full(len(x), float(top)),
                marker,
                color=color,
                ms=_SIGN,
                zorder=3,
                clip_on=False,
                transform=self.axes.get_xaxis_transform(),
            )
            self._name_sign(marker, label)

    def _name_sign(self, marker: str, label: str, fill: str = "") -> None:
        if label not in self._signs:
            self._signs[label] = module("matplotlib.lines").Line2D(
                [], [], ls="", marker=marker, color=MUTED, mfc=fill or MUTED, ms=_SIGN
            )

    def legend(self, *, beside: bool = True) -> None:
        """The legend, beside the axes where it covers nothing, or where there is room."""
        signs = [(artist, label) for label, artist in self._signs.items()]
        write_legend(self.axes, [*self._entries, *signs], beside=beside)


def write_legend(
    axes: Axes, entries: Sequence[tuple[Artist, str]], *, beside: bool = True, title: str = ""
) -> None:
    """A legend of these artists and names, to the right of the axes or where there is room."""
    if not entries:
        return
    place: dict[str, Any] = {"loc": "best"}
    if beside:
        place = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)}
    handles = [artist for artist, _ in entries]
    # Older versions of matplotlib leave out a name with `_` even where it is given.
    legend = axes.legend(handles, ["name"] * len(entries), title=title or None, **place)
    for text, (_, label) in zip(legend.get_texts(), entries, strict=True):
        text.set_text(label)
