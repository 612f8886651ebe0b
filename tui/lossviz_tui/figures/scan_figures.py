"""Scans of the loss landscape as figures: lines, planes, class by class, cuts, similarity."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.surfaces.curves import chance_loss, curve_type, stationary_points
from lossviz_analysis.surfaces.cut import cut
from lossviz_analysis.surfaces.estimate import estimated_losses, estimated_rates
from lossviz_analysis.surfaces.lowland import lowest_entry
from lossviz_tui.figures import provenance
from lossviz_tui.figures.drawing import (
    MUTED,
    TEXT,
    color,
    edges,
    entitle,
    legend_beside,
    logarithmic,
    module,
    name_of,
    new_figure,
    plain_log_ticks,
    plain_number,
    wrapped,
)
from lossviz_tui.figures.matrices import MatrixLabels, draw_matrix
from lossviz_tui.paint.palettes import BLUE_ORANGE
from lossviz_tui.panels.plane_view import head_facts
from lossviz_tui.panels.scan_values import Drawn, axis_label, common_ends, drawn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    from lossviz_tui.scene import ScanPicture, Scene
    from lossviz_tui.selection import Quantity

_WIDTH = 7.2
_COLORS = "viridis"
_NUM_CONTOURS = 8
_UNITS: dict[Quantity, str] = {
    "mistakes": "mistakes, percent",
    "loss": "cross-entropy, nats",
}
_CLEAR_OF_ENDS = 0.03
_OUTLINE = 1.4


def shown_scan(scene: Scene) -> ScanPicture:
    """The picture of the scan in focus, or of another curve of its chart.

    Raises LossvizError where nothing is computed yet.
    """
    picture = scene.shown_picture or (scene.siblings[-1] if scene.siblings else None)
    if picture is None or not any(
        bool(split.is_known.any()) for split in picture.result.splits.values()
    ):
        raise LossvizError("there is no figure yet: no point of the scan is computed")
    return picture


def landscape_figure(scene: Scene) -> Figure:
    """The scan in focus, as the selection wants to see it."""
    picture = shown_scan(scene)
    if len(picture.result.coordinates) == 1:
        return _curves_figure(scene, picture)
    match scene.selection.mode:
        case "classes":
            return _classes_figure(scene, picture)
        case "cut":
            return _cut_figure(scene, picture)
        case "similarity":
            return _similarity_figure(scene, picture)
        case _:
            return _plane_figure(scene, picture)


def _title(scene: Scene, picture: ScanPicture) -> str:
    axes = " and ".join(
        _direction(scene, picture, k) for k in range(len(picture.result.coordinates))
    )
    return f"{axes} around epoch {picture.request.epoch}"


def _direction(scene: Scene, picture: ScanPicture, axis: int) -> str:
    """What a direction is; of one toward another model, which."""
    spec = picture.request.directions[axis]
    if spec.kind != "toward":
        return axis_label(scene, picture, axis)
    other = "" if spec.toward_run is None else f"{Path(spec.toward_run).stem}, "
    return name_of(f"toward {other}checkpoint {spec.toward_checkpoint}")


# Lines


def _curves_figure(scene: Scene, picture: ScanPicture) -> Figure:
    """Cross-entropy with the loss of chance, mistakes below it; a curve for scan and split."""
    series = [one for one in scene.siblings if len(one.result.coordinates) == 1] or [picture]
    figure = new_figure(_WIDTH, 5.0)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    chance = chance_loss(len(picture.result.geometry.class_names))
    above.axhline(chance, color=MUTED, lw=0.8, ls="--", label="chance, log C")
    quantities: tuple[Quantity, Quantity] = ("loss", "mistakes")
    for axes, quantity in zip((above, below), quantities, strict=True):
        _draw_curves(axes, series, quantity)
        axes.axvline(0.0, color=TEXT, lw=0.6, ls=":")
        if any(one.request.directions[0].kind == "toward" for one in series):
            axes.axvline(1.0, color=TEXT, lw=0.6, ls=":")
        axes.set_ylabel(_UNITS[quantity])
    if scene.selection.log:
        logarithmic(above)
    types = _types(series)
    above.set_title("\n".join(types), color=MUTED)
    is_toward = picture.request.directions[0].kind == "toward"
    axis = _direction(scene, picture, 0) if len(series) == 1 else picture.request.kind
    other = ", 1 the other one" if is_toward else ""
    below.set_xlabel(f"coordinate along {axis}; 0 is the model{other}")
    legend_beside(above)
    title = _title(scene, picture)
    if len(series) > 1:
        epochs = sorted({one.request.epoch for one in series})
        where = f"epoch {epochs[0]}" + (f" to {epochs[-1]}" if len(epochs) > 1 else "")
        title = f"{len(series)} lines, {axis}, around {where}"
    entitle(figure, title, provenance.of_scan(scene, picture))
    return figure


def _draw_curves(axes: Axes, series: Sequence[ScanPicture], quantity: Quantity) -> None:
    index = 0
    for picture in series:
        t = picture.result.coordinates[0]
        for name, split in picture.result.splits.items():
            found = drawn(split, quantity, picture.request.clip)
            words = [name] if len(series) == 1 else [_member(series, picture)]
            if len(series) > 1 and len(picture.result.splits) > 1:
                words.append(name)
            hue = color(index)
            axes.plot(t, found.values, color=hue, label=" ".join(words))
            if found.is_estimated.any():
                axes.plot(t, found.sure, ".", color=hue)
            if quantity == "loss" and found.is_evaluated.all():
                places = stationary_points(found.values)
                label = "stationary points" if places.size and not index else None
                dots, y = t[places], found.values[places]
                axes.plot(dots, y, "o", color=hue, mfc="white", ms=3.5, label=label)
            index += 1


def _member(series: Sequence[ScanPicture], picture: ScanPicture) -> str:
    """What tells a scan from the others of its series: the epoch or the seed."""
    if len({one.request.epoch for one in series}) > 1:
        return f"epoch {picture.request.epoch}"
    seed = picture.request.directions[0].seed
    return f"seed {seed}" if seed is not None else picture.scan_id[-6:]


def _types(series: Sequence[ScanPicture]) -> list[str]:
    """The type of a curve in words (Xu 2024, app. A.4), or how many are of which; by split."""
    lines: list[str] = []
    for name in series[0].result.splits:
        types = [
            curve_type(one.result.coordinates[0], one.result.splits[name].loss)
            for one in series
            if name in one.result.splits and one.result.splits[name].is_known.all()
        ]
        if len(series) == 1:
            lines += [f"{name}: {found.describe()}" for found in types]
        elif types:
            kinds = Counter(found.name for found in types).most_common()
            lines.append(f"{name}: {', '.join(f'{count} {kind}' for kind, count in kinds)}")
    return lines


# Planes


def _plane_figure(scene: Scene, picture: ScanPicture) -> Figure:
    """The first split as a heat map with contours, marks and the way of the checkpoints."""
    name, split = next(iter(picture.result.splits.items()))
    quantity = scene.selection.quantity
    found = drawn(split, quantity, picture.request.clip)
    t1, t2 = picture.result.coordinates
    ends = common_ends(scene, scene.siblings) if len(scene.siblings) > 1 else (None, None)
    norm = _norm(found.values, ends, log=scene.selection.log)
    figure = new_figure(6.4, 5.8)
    axes = figure.subplots()
    image = axes.pcolormesh(
        edges(t2), edges(t1), found.values, cmap=_COLORS, norm=norm, rasterized=True
    )
    axes.set_facecolor("#d0d0d0")  # what is not known
    axes.set_box_aspect(1)
    axes.grid(visible=False)
    if scene.selection.contours:
        _draw_contours(axes, found.values, t1, t2, norm, log=scene.selection.log)
    _draw_marks(axes, found, t1, t2)
    _draw_way(axes, picture)
    axes.set_xlim(*edges(t2)[[0, -1]])
    axes.set_ylim(*edges(t1)[[0, -1]])
    axes.set_xlabel(f"t2, {_direction(scene, picture, 1)}")
    axes.set_ylabel(f"t1, {_direction(scene, picture, 0)}")
    axes.set_title(_plane_facts(name, picture), color=MUTED)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.11), ncols=4)
    log_word = ", log scale" if scene.selection.log else ""
    bar = figure.colorbar(image, ax=axes, shrink=0.85, aspect=30, pad=0.02)
    bar.set_label(_UNITS[quantity] + log_word)
    if scene.selection.log:
        plain_log_ticks(bar.ax, (float(norm.vmin or 0), float(norm.vmax or 0)))
    entitle(figure, _title(scene, picture), provenance.of_scan(scene, picture))
    return figure


def _plane_facts(split: str, picture: ScanPicture) -> str:
    """How it was evaluated, on how much; and how far, where it is not all of it."""
    images = f"{split}, {picture.result.geometry.examples[split]:,} images"
    facts = "; ".join((images, head_facts(picture)[0]))
    return facts if picture.is_whole else f"{facts}\n{wrapped(picture.stage, 80)}"


def _norm(
    values: np.ndarray, ends: tuple[float | None, float | None], *, log: bool
) -> Normalize:
    """The colour scale of a surface: from its smallest to its largest finite value."""
    finite = values[np.isfinite(values) & ((values > 0) | (not log))]
    low = float(finite.min()) if finite.size else 1.0
    high = float(finite.max()) if finite.size else 1.0
    low, high = (low if ends[0] is None else ends[0]), (high if ends[1] is None else ends[1])
    if not low < high:
        low, high = (low / 2, low * 2) if log else (low - 0.5, low + 0.5)
    colors = module("matplotlib.colors")
    return colors.LogNorm(low, high) if log else colors.Normalize(low, high)


def _draw_contours(
    axes: Axes,
    values: np.ndarray,
    t1: np.ndarray,
    t2: np.ndarray,
    norm: Normalize,
    *,
    log: bool,
) -> None:
    """Level lines with their values, where there is a surface to speak of."""
    finite = np.isfinite(values)
    low, high = float(norm.vmin or 0.0), float(norm.vmax or 0.0)
    if min(values.shape) < 3 or finite.sum() < 9 or not low < high:
        return
    if log:
        levels = np.geomspace(low, high, _NUM_CONTOURS + 2)[1:-1]
    else:
        levels = module("matplotlib.ticker").MaxNLocator(_NUM_CONTOURS).tick_values(low, high)
        # A level that the plateaus hardly reach is a speckle of rings.
        room = _CLEAR_OF_ENDS * (high - low)
        levels = levels[(levels > low + room) & (levels < high - room)]
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
    signs = (
        (found.is_estimated, ".", 2.2, "estimated"),
        (found.is_capped, "^", 3.0, "at least"),
        (found.is_evaluated & np.isnan(found.values), "x", 3.0, "no value"),
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
    effects = module("matplotlib.patheffects")
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
        path_effects=[effects.withStroke(linewidth=1 + _OUTLINE, foreground="black")],
    )
    axes.plot(way[0, 2], way[0, 1], "o", color="white", mec="black", mfc="none", ms=7, zorder=3)


# Class by class


def _classes_figure(scene: Scene, picture: ScanPicture) -> Figure:
    """The surface of every class over the same plane, all on one colour scale."""
    name, split = next(iter(picture.result.splits.items()))
    is_rate = scene.selection.quantity == "mistakes"
    surfaces = 100 * split.class_mistake_rate if is_rate else split.class_loss
    known = split.is_known
    if not known.all():
        fill = estimated_rates if is_rate else estimated_losses
        raw = split.class_mistake_rate if is_rate else split.class_loss
        surfaces = (100 if is_rate else 1) * fill(raw, known)
    classes = picture.result.geometry.class_names
    order = range(len(classes)) if picture.class_order is None else picture.class_order.tolist()
    columns = max(1, round(np.sqrt(1.25 * len(classes))))
    rows = -(-len(classes) // columns)
    tile = min(1.4, 8.0 / columns)
    norm = _norm(surfaces[known], (None, None), log=scene.selection.log)
    figure = new_figure(columns * tile + 1.2, rows * tile * 1.18 + 0.9)
    axes = figure.subplots()
    image = None
    is_inside = _is_inside(picture)
    for place, c in enumerate(list(order)):
        left, top = 1.1 * (place % columns), 1.18 * (place // columns)
        image = axes.imshow(
            surfaces[..., c],
            cmap=_COLORS,
            norm=norm,
            origin="lower",
            interpolation="none",
            extent=(left, left + 1, top + 1, top),
        )
        axes.text(
            left,
            top - 0.03,
            name_of(classes[c]),
            fontsize=max(3.5, 6 * tile / 1.4),
            va="bottom",
        )
        if is_inside:
            x, y = (_share(t) for t in reversed(picture.result.coordinates))
            axes.plot(left + x, top + 1 - y, "+", color="white", ms=4 * tile, mew=0.7)
    axes.set_xlim(0, 1.1 * columns)
    axes.set_ylim(1.18 * rows - 0.1, -0.25)
    axes.set_aspect("equal")
    axes.set_axis_off()
    if image is not None:
        bar = figure.colorbar(image, ax=axes, shrink=0.7, aspect=30, pad=0.02)
        what = "recall loss, percent" if is_rate else "cross-entropy, nats"
        bar.set_label(what + (", log scale" if scene.selection.log else ""))
        if scene.selection.log:
            plain_log_ticks(bar.ax, (float(norm.vmin or 0), float(norm.vmax or 0)))
    t1, t2 = picture.result.coordinates
    axes.set_title(
        f"{name}; up {_direction(scene, picture, 0)} {t1[0]:.3g} to {t1[-1]:.3g}, "
        f"right {_direction(scene, picture, 1)} {t2[0]:.3g} to {t2[-1]:.3g}",
        color=MUTED,
    )
    entitle(
        figure,
        f"every class, {_title(scene, picture)}",
        provenance.of_scan(scene, picture),
    )
    return figure


def _is_inside(picture: ScanPicture) -> bool:
    return all(bool(t[0] <= 0 <= t[-1]) for t in picture.result.coordinates)


def _share(t: np.ndarray) -> float:
    """Where 0 lies across the cells of an axis, from 0 to 1."""
    borders = edges(t)
    return float(-borders[0] / (borders[-1] - borders[0]))


def _cut_figure(scene: Scene, picture: ScanPicture) -> Figure:
    """The profile through the model at the chosen angle."""
    if not _is_inside(picture):
        raise LossvizError("there is no figure: the model is not on this plane")
    t1, t2 = picture.result.coordinates
    degrees, quantity = scene.selection.cut_degrees, scene.selection.quantity
    figure = new_figure(_WIDTH, 3.6)
    axes = figure.subplots()
    for k, (name, split) in enumerate(picture.result.splits.items()):
        found = drawn(split, quantity, picture.request.clip)
        profile = cut(found.values, t1, t2, float(degrees))
        axes.plot(profile.s, profile.value, color=color(k), label=name)
    axes.axvline(0.0, color=TEXT, lw=0.6, ls=":")
    axes.set_xlabel("distance from the model in coordinates")
    axes.set_ylabel(_UNITS[quantity])
    if scene.selection.log:
        logarithmic(axes)
    legend_beside(axes)
    title = f"cut at {degrees:.0f} degrees, {_title(scene, picture)}"
    entitle(figure, title, provenance.of_scan(scene, picture))
    return figure


def _similarity_figure(scene: Scene, picture: ScanPicture) -> Figure:
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
    title = f"loss-shape similarity, {_title(scene, picture)}"
    entitle(figure, title, provenance.of_scan(scene, picture))
    return figure
