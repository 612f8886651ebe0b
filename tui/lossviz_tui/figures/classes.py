"""A plane class by class as figures: every class's surface, and how alike they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.surfaces.estimate import estimated_losses, estimated_rates
from lossviz_tui.figures import provenance
from lossviz_tui.figures.color_scale import color_scale, surface_colors
from lossviz_tui.figures.drawing import edges, entitle, name_of, new_figure
from lossviz_tui.figures.lines import is_inside
from lossviz_tui.figures.matrices import MatrixLabels, draw_matrix
from lossviz_tui.figures.scan_words import AT_LEAST, direction, lacking, subtitle, title_of
from lossviz_tui.paint.palettes import BLUE_ORANGE, as_values

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lossviz_tui.scene import ScanPicture, Scene

_MAX_TILE, _WIDTH = 1.4, 8.0
_ACROSS, _DOWN = 1.1, 1.18
"""From one tile to the next, in tiles."""


def classes_figure(scene: Scene, picture: ScanPicture) -> Figure:
    """The surface of every class over the same plane, all on one colour scale."""
    name, split = next(iter(picture.result.splits.items()))
    is_rate = scene.selection.quantity == "mistakes"
    surfaces, known = (
        (split.class_mistake_rate if is_rate else split.class_loss),
        split.is_known,
    )
    if not known.all():
        surfaces = (estimated_rates if is_rate else estimated_losses)(surfaces, known)
    surfaces = (100 if is_rate else 1) * surfaces
    is_infinite = known[..., None] & np.isposinf(as_values(surfaces))
    classes = picture.result.geometry.class_names
    order = range(len(classes)) if picture.class_order is None else picture.class_order.tolist()
    columns = max(1, round(np.sqrt(1.25 * len(classes))))
    rows = -(-len(classes) // columns)
    tile = min(_MAX_TILE, _WIDTH / columns)
    scale = color_scale(surfaces[known], (None, None), log=scene.selection.log)
    figure = new_figure(columns * tile + 1.2, rows * tile * _DOWN + 0.9)
    axes = figure.subplots()
    image = None
    colors = surface_colors()
    for place, c in enumerate(list(order)):
        left, top = _ACROSS * (place % columns), _DOWN * (place // columns)
        image = axes.imshow(
            scale.placed(surfaces[..., c]),
            cmap=colors,
            norm=scale.norm,
            origin="lower",
            interpolation="none",
            extent=(left, left + 1, top + 1, top),
        )
        axes.text(
            left,
            top - 0.03,
            name_of(classes[c]),
            fontsize=max(3.5, 6 * tile / _MAX_TILE),
            va="bottom",
        )
        i, j = np.nonzero(is_infinite[..., c])
        x, y = left + (j + 0.5) / known.shape[1], top + 1 - (i + 0.5) / known.shape[0]
        axes.plot(x, y, "^", color="white", mec="#404040", mew=0.3, ms=2.2 * tile)
        if is_inside(picture):
            across, up = (_share(t) for t in reversed(picture.result.coordinates))
            axes.plot(left + across, top + 1 - up, "+", color="white", ms=4 * tile, mew=0.7)
    axes.set_xlim(0, _ACROSS * columns)
    axes.set_ylim(_DOWN * rows - 0.1, -0.25)
    axes.set_aspect("equal")
    axes.set_axis_off()
    if image is not None:
        unit = "recall loss, percent" if is_rate else "cross-entropy, nats"
        unit += f"; ^ {AT_LEAST}" if is_infinite.any() else ""
        scale.draw_bar(figure, image, axes, unit, [surfaces])
    t1, t2 = picture.result.coordinates
    where = (
        f"{name}; up {direction(scene, picture, 0)} {t1[0]:.3g} to {t1[-1]:.3g}, "
        f"right {direction(scene, picture, 1)} {t2[0]:.3g} to {t2[-1]:.3g}"
    )
    subtitle(axes, [where, *lacking((picture,), ("",))])
    title = f"every class, {title_of(scene, picture)}"
    entitle(figure, title, provenance.of_scans(scene, (picture,)))
    return figure


def _share(t: np.ndarray) -> float:
    """Where 0 lies across the cells of an axis, from 0 to 1."""
    borders = edges(t)
    return float(-borders[0] / (borders[-1] - borders[0]))


def similarity_figure(scene: Scene, picture: ScanPicture) -> Figure:
    """Correlation of every two classes' surfaces, ordered by clustering."""
    if picture.similarity is None or picture.class_order is None:
        raise LossvizError("there is no figure yet: not enough cells are computed")
    order = picture.class_order
    names = [name_of(picture.result.geometry.class_names[c]) for c in order.tolist()]
    figure = draw_matrix(
        picture.similarity[np.ix_(order, order)],
        names,
        palette=BLUE_ORANGE,
        labels=MatrixLabels(rows="", columns="", values="correlation of mistake rates"),
        ends=(-1.0, 1.0),
        digits=2,
    )
    subtitle(figure.axes[0], lacking((picture,), ("",)))
    title = f"loss-shape similarity, {title_of(scene, picture)}"
    entitle(figure, title, provenance.of_scans(scene, (picture,)))
    return figure
