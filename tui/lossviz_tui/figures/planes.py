"""Planes as figures: heat map, contours, marks, the way of the checkpoints; one, or two."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lossviz_analysis.surfaces.cut import cut
from lossviz_analysis.surfaces.lowland import lowest_entry
from lossviz_tui.figures import provenance
from lossviz_tui.figures.color_scale import (
    UNKNOWN,
    ColorScale,
    color_scale,
    surface_colors,
)
from lossviz_tui.figures.drawing import edges, entitle, module, new_figure, plain_number
from lossviz_tui.figures.lines import is_inside
from lossviz_tui.figures.scan_words import (
    AT_LEAST,
    NO_VALUE,
    UNITS,
    direction,
    member_names,
    subtitle,
    title_of,
)
from lossviz_tui.paint.palettes import as_values
from lossviz_tui.panels.plane_view import head_facts
from lossviz_tui.panels.scan_values import Drawn, common_ends, drawn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh
    from matplotlib.figure import Figure

    from lossviz_tui.scene import ScanPicture, Scene

_NUM_CONTOURS = 8
_CLEAR_OF_ENDS = 0.03
_OUTLINE = 1.4


def planes_figure(scene: Scene, picture: ScanPicture) -> Figure:
    """The first split of a plane, or of two of them beside one another on one scale."""
    other = scene.picture_beside
    shown = (picture,) if other is None else (other, picture)
    quantity, log = scene.selection.quantity, scene.selection.log
    values = [
        drawn(next(iter(one.result.splits.values())), quantity, one.request.clip)
        for one in shown
    ]
    ends: tuple[float | None, float | None] = (None, None)
    if other is not None:
        ends = common_ends(scene, shown)
    elif len(scene.siblings) > 1:
        ends = common_ends(scene, scene.siblings)
    scale = color_scale(values[0].values, ends, log=log)
    figure = new_figure(6.4 if other is None else 11.0, 5.8)
    grid: Sequence[Axes] = figure.subplots(1, len(shown), squeeze=False).ravel().tolist()
    names = member_names(scene, shown)
    image = None
    for axes, one, found, name in zip(grid, shown, values, names, strict=True):
        image = _draw_plane(axes, scene, one, found, scale)
        subtitle(axes, _facts(one, name), columns=len(shown))
    if image is not None:
        scale.draw_bar(figure, image, grid, UNITS[quantity], [one.values for one in values])
    title = title_of(scene, picture)
    if other is not None:
        title = " and ".join(dict.fromkeys((title_of(scene, other), title)))
    entitle(figure, title, provenance.of_scans(scene, shown))
    return figure


def _facts(picture: ScanPicture, name: str) -> list[str]:
    """How it was evaluated, on how much; and how far, where it is not all of it."""
    split = next(iter(picture.result.splits))
    images = f"{split}, {picture.result.geometry.examples[split]:,} images"
    facts = "; ".join(filter(None, (name, images, head_facts(picture)[0])))
    return [facts] if picture.is_whole else [facts, picture.stage]


def _draw_plane(
    axes: Axes, scene: Scene, picture: ScanPicture, found: Drawn, scale: ColorScale
) -> QuadMesh:
    """A heat map with contours, marks and the way of the checkpoints."""
    t1, t2 = picture.result.coordinates
    placed = scale.placed(found.values)
    image = axes.pcolormesh(
        edges(t2),
        edges(t1),
        placed,
        cmap=surface_colors(),
        norm=scale.norm,
        rasterized=True,
    )
    axes.set_facecolor(UNKNOWN)
    axes.set_box_aspect(1)
    axes.grid(visible=False)
    if scene.selection.contours:
        _draw_contours(axes, placed, t1, t2, scale)
    _draw_marks(axes, found, t1, t2)
    _draw_way(axes, picture)
    if scene.selection.has_cut and is_inside(picture):
        _draw_cut(axes, picture, found, float(scene.selection.cut_degrees))
    axes.set_xlim(*edges(t2)[[0, -1]])
    axes.set_ylim(*edges(t1)[[0, -1]])
    axes.set_xlabel(f"t2, {direction(scene, picture, 1)}")
    axes.set_ylabel(f"t1, {direction(scene, picture, 0)}")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.11), ncols=4)
    return image


def _draw_contours(
    axes: Axes, values: np.ndarray, t1: np.ndarray, t2: np.ndarray, scale: ColorScale
) -> None:
    """Level lines with their values, where there is a surface to speak of."""
    finite = np.isfinite(values)
    if min(values.shape) < 3 or finite.sum() < 9:
        return
    if scale.log:
        levels = np.geomspace(scale.low, scale.high, _NUM_CONTOURS + 2)[1:-1]
    else:
        locator = module("matplotlib.ticker").MaxNLocator(_NUM_CONTOURS)
        levels = locator.tick_values(scale.low, scale.high)
        # A level that the plateaus hardly reach is a speckle of rings.
        room = _CLEAR_OF_ENDS * (scale.high - scale.low)
        levels = levels[(levels > scale.low + room) & (levels < scale.high - room)]
    if not len(levels):
        return
    lines = axes.contour(
        t2,
        t1,
        np.ma.masked_invalid(values),
        levels=levels,
        colors="white",
        linewidths=0.6,
        alpha=0.85,
    )
    axes.clabel(lines, fontsize=5.5, fmt=plain_number)


def _draw_marks(axes: Axes, found: Drawn, t1: np.ndarray, t2: np.ndarray) -> None:
    """The model, the lowest evaluated point, and the cells that say less than the others."""
    is_infinite = found.is_evaluated & np.isposinf(as_values(found.values))
    signs = (
        (found.is_estimated, ".", 2.2, "estimated"),
        (found.is_capped | is_infinite, "^", 3.0, AT_LEAST),
        (found.is_evaluated & np.isnan(found.values), "x", 3.0, NO_VALUE),
    )
    for mask, marker, size, label in signs:
        rows, columns = np.nonzero(mask)
        if rows.size:
            axes.plot(
                t2[columns], t1[rows], marker, color="white", mec="#404040", mew=0.3, ms=size,
                label=label,
            )  # fmt: skip
    if t1[0] <= 0 <= t1[-1] and t2[0] <= 0 <= t2[-1]:
        _mark(axes, 0.0, 0.0, "P", "the model", size=5.5, order=5)
    if (lowest := lowest_entry(found.sure, t1, t2)) is not None:
        i, j = lowest
        _mark(axes, float(t2[j]), float(t1[i]), "D", f"lowest, {found.sure[i, j]:.4g}", size=8)


def _mark(
    axes: Axes, x: float, y: float, marker: str, label: str, *, size: float, order: int = 4
) -> None:
    line = axes.plot([x], [y], marker, color="white", ms=size, label=label, zorder=order)[0]
    line.set_markeredgecolor("black")
    line.set_markeredgewidth(0.8)


def _draw_way(axes: Axes, picture: ScanPicture) -> None:
    """The way of the checkpoints over the plane, from a ring to a disk."""
    way = np.array(picture.result.geometry.trajectory)
    if len(way) < 2:
        return
    label = f"checkpoints, epoch {way[0, 0]:.0f} to {way[-1, 0]:.0f}"
    axes.plot(
        way[:, 2],
        way[:, 1],
        "-o",
        color="white",
        lw=1.0,
        ms=2.5,
        label=label,
        zorder=3,
        path_effects=[_outline()],
    )
    axes.plot(way[0, 2], way[0, 1], "o", color="white", mec="black", mfc="none", ms=7, zorder=3)


def _draw_cut(axes: Axes, picture: ScanPicture, found: Drawn, degrees: float) -> None:
    """The line of the cut, from border to border."""
    t1, t2 = picture.result.coordinates
    profile = cut(found.values, t1, t2, degrees)
    axes.plot(
        profile.t2[[0, -1]],
        profile.t1[[0, -1]],
        "--",
        color="white",
        lw=1.0,
        label=f"cut at {degrees:.0f} degrees",
        path_effects=[_outline()],
    )


def _outline() -> object:
    """Black around a white line, which is then seen on every colour."""
    effects = module("matplotlib.patheffects")
    return effects.withStroke(linewidth=1 + _OUTLINE, foreground="black")
