"""A square matrix over classes as a figure: colours, numbers where they fit, a colour bar."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lossviz_tui.figures.drawing import LIGHT, MUTED, module, new_figure
from lossviz_tui.paint.colors import contrast_for
from lossviz_tui.paint.palettes import Palette

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MAX_NUMBERED = 20
_MAX_VECTOR = 40
"""Larger matrices are an image: a square for each of a million entries is no figure."""
_MAX_TICKS = 60


@dataclass(frozen=True, kw_only=True)
class MatrixLabels:
    """What stands at the axes of a matrix and at its colour bar."""

    rows: str
    columns: str
    values: str


def draw_matrix(
    values: np.ndarray,
    names: Sequence[str],
    *,
    palette: Palette,
    labels: MatrixLabels,
    ends: tuple[float, float] | None = None,
    color_diagonal: bool = True,
    digits: int = 1,
    is_signed: bool = False,
) -> Figure:
    """Rows down, columns across; a NaN is left blank. Signed numbers have their sign, + too.

    Without colours on the diagonal the scale is that of the other entries.
    """
    count = len(names)
    shown = values.astype(float).copy()
    if not color_diagonal:
        np.fill_diagonal(shown, np.nan)
    finite = shown[np.isfinite(shown)]
    low, high = ends or (0.0, float(finite.max(initial=0.0)) or 1.0)
    side = min(8.0, max(3.4, 0.42 * count)) if count <= _MAX_NUMBERED else 6.4
    figure = new_figure(side + 1.4, side + 0.9)
    axes = figure.subplots()
    table = palette.colors(LIGHT)
    colors = module("matplotlib.colors").ListedColormap(table)
    if count <= _MAX_VECTOR:
        borders = np.arange(count + 1) - 0.5
        drawn = axes.pcolormesh(borders, borders, shown, cmap=colors, vmin=low, vmax=high)
    else:
        drawn = axes.imshow(shown, cmap=colors, vmin=low, vmax=high, interpolation="none")
    axes.set_aspect("equal")
    axes.set_ylim(count - 0.5, -0.5)
    if count <= _MAX_NUMBERED:
        spelling = f"{'+' if is_signed else ''}.{digits}f"
        _draw_numbers(axes, values, shown, table, (low, high), spelling)
    step = -(-count // _MAX_TICKS)
    size = 7 if count <= _MAX_NUMBERED else 5
    places = range(0, count, step)
    axes.set_xticks(places, names[::step], rotation=90 if count > 6 else 0, fontsize=size)
    axes.set_yticks(places, names[::step], fontsize=size)
    axes.set_xlabel(labels.columns)
    axes.set_ylabel(labels.rows)
    axes.grid(visible=False)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    bar = figure.colorbar(drawn, ax=axes, shrink=0.7, aspect=30, pad=0.02)
    bar.set_label(labels.values)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]  # a Spine
    return figure


def _draw_numbers(
    axes: Axes,
    values: np.ndarray,
    shown: np.ndarray,
    table: Sequence[str],
    ends: tuple[float, float],
    spelling: str,
) -> None:
    """Every value in its cell, in black or white, whichever reads better there."""
    low, high = ends
    size = 7 if len(values) <= 12 else 5.5
    for (i, j), value in np.ndenumerate(values):
        if not np.isfinite(value):
            continue
        ink, weight = MUTED, "bold"
        if np.isfinite(shown[i, j]):
            level = int((shown[i, j] - low) / (high - low) * len(table))
            ink = contrast_for(table[min(max(0, level), len(table) - 1)])
            weight = "normal"
        text = format(value, spelling)
        axes.text(
            j, i, text, ha="center", va="center", fontsize=size, color=ink, fontweight=weight
        )
