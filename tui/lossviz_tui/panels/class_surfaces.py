"""A plane class by class: every class's surface on one scale, and how alike they are."""

from functools import partial

import numpy as np
from textual.strip import Strip

from lossviz_analysis.surfaces.estimate import estimated_losses, estimated_rates
from lossviz_tui.navigation import cell_chosen, surface_chosen
from lossviz_tui.paint.cells import Canvas, Size, beside, clean_text, text_line
from lossviz_tui.paint.matrix import HeatOptions, heatmap, placement
from lossviz_tui.paint.palettes import BLUE_ORANGE, VIRIDIS
from lossviz_tui.paint.targets import Lines, whole
from lossviz_tui.panels.scan_point import class_fact, point_facts
from lossviz_tui.panels.scan_values import fact_text
from lossviz_tui.panels.texts import accent, centred, muted, stacked, strong, title_line
from lossviz_tui.scene import ScanPicture, Scene

_MIN_TILE = (8, 4)
"""Cells of a surface on which something can still be made out, with its name."""


def small_multiples(scene: Scene, picture: ScanPicture, size: Size) -> list[Strip]:
    """The surface of each class over the same plane, all on one colour scale."""
    width, height = size
    name, split = next(iter(picture.result.splits.items()))
    surfaces = split.class_mistake_rate if _is_rate(scene) else split.class_loss
    is_known = split.is_known
    if is_known.all():
        estimated = None
    else:
        fill = estimated_rates if _is_rate(scene) else estimated_losses
        surfaces = fill(surfaces, is_known)
        estimated = ~is_known
    finite = surfaces[is_known][np.isfinite(surfaces[is_known])]
    ends = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    point = scene.point
    options = HeatOptions(
        palette=VIRIDIS,
        origin="lower",
        low=ends[0],
        high=ends[1],
        log=scene.selection.log,
        cursor=None if point is None else (point[0], point[-1]),
    )
    below = 0 if point is None else 2
    names = picture.result.geometry.class_names
    room = (width, max(1, height - 1 - below))
    columns, tile = _tiling(len(names), room, surfaces.shape[:2])
    shown = _in_sight(scene, columns * max(1, room[1] // tile[1]))
    whose = "each class"
    if len(shown) < len(names):
        whose = f"{len(shown)} of {len(names):,} classes"
    head = f"{name}, {_scale(scene, whose, ends)}"
    rows: list[list[Strip]] = []
    for first in range(0, len(shown), columns):
        tiles: list[list[Strip]] = []
        for c in shown[first : first + columns]:
            heat = _surface(
                scene,
                surfaces[..., c],
                (tile[0], tile[1] - 1),
                options,
                is_known | ~np.isnan(surfaces[..., c]),
                estimated,
                c,
            )
            tiles.append(stacked(tile, [_tile_title(scene, names[c], c, tile[0])], heat))
        rows.append(beside(*tiles))
    ascii_only = scene.look.is_ascii
    titles = [title_line(clean_text(head, width, ascii_only=ascii_only), width, scene.look)]
    if point is None:
        return stacked(size, titles, *rows)
    facts = (class_fact(scene, picture, point), "; ".join(point_facts(scene, picture, point)))
    at_cursor = [
        title_line(fact_text(fact, width, ascii_only=ascii_only), width, scene.look)
        for fact in facts
    ]
    return stacked(size, stacked((width, height - below), titles, *rows), at_cursor)


def _surface(
    scene: Scene,
    values: np.ndarray,
    size: Size,
    options: HeatOptions,
    known: np.ndarray,
    estimated: np.ndarray | None,
    number: int,
) -> Lines:
    """The surface of one class; it puts the cursor where it is clicked."""
    lines = heatmap(
        values, size, look=scene.look, options=options, known=known, estimated=estimated
    )
    shape = (values.shape[0], values.shape[1])
    place = placement(shape, (0, 0, *size), look=scene.look, options=options)
    if place is None:
        return Lines(lines)
    choose = partial(surface_chosen, place.entry_at, number)
    return Lines(lines, [whole(size, choose)])


def _tile_title(scene: Scene, name: str, number: int, width: int) -> Strip:
    """The name of a class, marked where the cursor is on its surface."""
    is_here = scene.point is not None and number == scene.surface
    text = clean_text(name, width - 1 - is_here, ascii_only=scene.look.is_ascii)
    style = accent(scene.look) if is_here else strong(scene.look)
    return text_line(f">{text}" if is_here else text, width, style)


def _scale(scene: Scene, whose: str, ends: tuple[float, float]) -> str:
    if _is_rate(scene):
        what, span = "recall loss", f"{100 * ends[0]:.1f} to {100 * ends[1]:.1f} %"
    else:
        what, span = "cross-entropy", f"{ends[0]:.3g} to {ends[1]:.3g}"
    return f"{what} of {whose}, one colour scale: {span}"


def _in_sight(scene: Scene, count: int) -> list[int]:
    """The classes whose surfaces there is room for: those around the one under the cursor."""
    order = scene.surface_order
    first = order.index(scene.surface) // count * count
    return order[first : first + count]


def _is_rate(scene: Scene) -> bool:
    return scene.selection.quantity == "mistakes"


def _tiling(count: int, size: Size, grid: tuple[int, ...]) -> tuple[int, Size]:
    """Tiles in a row and the size of one, so that their pictures get as large as can be.

    Where not all of them fit, as many as are still to be made out.
    """
    best, found = 0.0, (0, size)
    for columns in range(1, count + 1):
        rows = -(-count // columns)
        width, height = size[0] // columns, size[1] // rows
        if width < _MIN_TILE[0] or height < _MIN_TILE[1]:
            continue
        # Half blocks: a cell is one entry wide and two high.
        scale = min((width - 1) / grid[1], 2 * (height - 1) / grid[0])
        if scale > best:
            best, found = scale, (columns, (width, height))
    if found[0]:
        return found
    columns, rows = max(1, size[0] // _MIN_TILE[0]), max(1, size[1] // _MIN_TILE[1])
    return columns, (size[0] // columns, size[1] // rows)


def similarity_matrix(scene: Scene, picture: ScanPicture, size: Size) -> list[Strip]:
    """Correlation of every two classes' surfaces, ordered by clustering."""
    width, height = size
    if picture.similarity is None or picture.class_order is None:
        return centred(size, ["not enough cells yet"], scene.look)
    order = picture.class_order
    ordered = picture.similarity[np.ix_(order, order)]
    names = [picture.result.geometry.class_names[c] for c in order]
    head = "loss-shape similarity, clustered"
    if np.isfinite(picture.agreement):
        head += f"; rank correlation with interference {picture.agreement:+.2f}"
    label_width = min(14, max(len(clean_text(name, 14)) for name in names) + 1)
    side = max(1, height - 1 - (scene.point is not None))
    per_row = max(1, side // len(names))
    places = [scene.surface_order.index(c) for c in scene.similarity_cell]
    options = HeatOptions(
        palette=BLUE_ORANGE,
        low=-1.0,
        high=1.0,
        fit="stretch",
        signed=True,
        cursor=None if scene.point is None else (places[0], places[1]),
    )
    area = (min(width - label_width, 4 * per_row * len(names)), per_row * len(names))
    labels = Canvas((label_width, area[1]))
    for k, name in enumerate(names):
        labels.put(
            0,
            k * per_row,
            clean_text(name, label_width - 1, ascii_only=scene.look.is_ascii),
            muted(scene.look),
        )
    if area[1] > side:
        area = (area[0], side)
        labels = Canvas((label_width, side))
    heat = Lines(heatmap(ordered, area, look=scene.look, options=options))
    place = placement((len(names), len(names)), (0, 0, *area), look=scene.look, options=options)
    if place is not None and scene.point is not None:
        choose = partial(cell_chosen, place.entry_at, order.tolist(), order.tolist())
        target = whole(area, choose)
        heat = Lines(heat, [target])
    ascii_only = scene.look.is_ascii
    title = title_line(clean_text(head, width, ascii_only=ascii_only), width, scene.look)
    matrix = stacked((width, side), beside(labels.strips(), heat))
    words = "" if scene.point is None else _likeness(scene, picture.similarity)
    foot = title_line(clean_text(words, width, ascii_only=ascii_only), width, scene.look)
    return stacked(size, [title], matrix, [foot])


def _likeness(scene: Scene, similarity: np.ndarray) -> str:
    """The entry under the cursor in words."""
    picture = scene.shown_picture
    if picture is None:
        return ""
    first, second = scene.similarity_cell
    names = picture.result.geometry.class_names
    value = similarity[first, second]
    words = "not defined: one of them is flat" if np.isnan(value) else f"{value:+.3f}"
    return f"{names[first]} and {names[second]}: {words}"
