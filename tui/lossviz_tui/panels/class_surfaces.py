"""A plane class by class: every class's surface on one scale, and how alike they are."""

import numpy as np
from textual.strip import Strip

from lossviz_analysis.surfaces.estimate import estimated_losses, estimated_rates
from lossviz_tui.paint.cells import Canvas, Size, beside, clean_text
from lossviz_tui.paint.matrix import HeatOptions, heatmap
from lossviz_tui.paint.palettes import BLUE_ORANGE, VIRIDIS
from lossviz_tui.panels.texts import centred, muted, stacked, title_line
from lossviz_tui.scene import ScanPicture, Scene


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
    names = picture.result.geometry.class_names
    order = range(len(names)) if picture.class_order is None else picture.class_order.tolist()
    finite = surfaces[is_known][np.isfinite(surfaces[is_known])]
    ends = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    columns, tile = _tiling(len(names), (width, height - 1), surfaces.shape[:2])
    options = HeatOptions(
        palette=VIRIDIS, origin="lower", low=ends[0], high=ends[1], log=scene.selection.log
    )
    what = "recall loss" if _is_rate(scene) else "cross-entropy"
    scale = (
        f"{100 * ends[0]:.1f} to {100 * ends[1]:.1f} %"
        if _is_rate(scene)
        else (f"{ends[0]:.3g} to {ends[1]:.3g}")
    )
    head = f"{name}, {what} of each class, one colour scale: {scale}"
    rows: list[list[Strip]] = [
        [title_line(clean_text(head, width, ascii_only=scene.look.is_ascii), width, scene.look)]
    ]
    for first in range(0, len(order), columns):
        tiles = [
            [
                title_line(
                    clean_text(names[c], tile[0] - 1, ascii_only=scene.look.is_ascii),
                    tile[0],
                    scene.look,
                ),
                *heatmap(
                    surfaces[..., c],
                    (tile[0], tile[1] - 1),
                    look=scene.look,
                    options=options,
                    known=is_known | ~np.isnan(surfaces[..., c]),
                    estimated=estimated,
                ),
            ]
            for c in list(order)[first : first + columns]
        ]
        rows.append(beside(*tiles))
    return stacked(size, *rows)


def _is_rate(scene: Scene) -> bool:
    return scene.selection.quantity == "mistakes"


def _tiling(count: int, size: Size, grid: tuple[int, ...]) -> tuple[int, Size]:
    """Tiles in a row and the size of one, so that their pictures get as large as can be."""
    best, found = 0.0, (1, size)
    for columns in range(1, count + 1):
        rows = -(-count // columns)
        width, height = size[0] // columns, size[1] // rows
        if width < 4 or height < 3:
            continue
        # Half blocks: a cell is one entry wide and two high.
        scale = min((width - 1) / grid[1], 2 * (height - 1) / grid[0])
        if scale > best:
            best, found = scale, (columns, (width, height))
    return found


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
    side = max(1, height - 1)
    per_row = max(1, side // len(names))
    options = HeatOptions(palette=BLUE_ORANGE, low=-1.0, high=1.0, fit="stretch")
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
    picture_lines = heatmap(ordered, area, look=scene.look, options=options)
    return stacked(
        size,
        [
            title_line(
                clean_text(head, width, ascii_only=scene.look.is_ascii), width, scene.look
            )
        ],
        beside(labels.strips(), picture_lines),
    )
