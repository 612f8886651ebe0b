"""The CCTM of one epoch: who is called what."""

import numpy as np
from textual.strip import Strip

from lossviz_analysis.classwise.confusion import cctm
from lossviz_analysis.classwise.interference import symmetry
from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.schema import SPLITS
from lossviz_tui.paint.cells import Canvas, Size, clean_text
from lossviz_tui.paint.digits import DigitsOptions, digits_fit, digits_table
from lossviz_tui.paint.matrix import HeatOptions, heatmap
from lossviz_tui.paint.palettes import EMBER
from lossviz_tui.panels.overview import nothing_counted, waiting
from lossviz_tui.panels.texts import centred, muted, stacked, strong
from lossviz_tui.scene import Scene

HELP = (
    "CCTM(i, j) = K(i, j) / sum_j K(i, j) is the share of the examples of class i (down) that "
    "the model calls j (across), in percent, so the diagonal is the recall, and symmetry is "
    "the Pearson correlation of the entries (i, j) and (j, i), i < j (Diao et al. 2022, sec. "
    "2.1)."
)


def paint(scene: Scene, size: Size) -> list[Strip]:
    """A table in percent where it fits, half blocks where not; the entry in focus in words."""
    view, position = scene.view, scene.position
    if view is None or position is None:
        return waiting(scene, size)
    width, height = size
    try:
        counts = view.counts_at(position)[SPLITS.index(scene.selection.split)]
    except StoreError as error:
        return centred(size, [f"epoch {scene.epoch} cannot be read", str(error)], scene.look)
    if not counts.any():
        return nothing_counted(scene, size)
    rates = cctm(counts)
    names = view.description.class_names
    area = (width, max(1, height - 2))
    cell = _clipped(scene.selection.cell, len(names))
    if digits_fit(len(names), area):
        options = DigitsOptions(color_diagonal=scene.selection.color_diagonal, cursor=cell)
        table = digits_table(rates, names, names, area, look=scene.look, options=options)
    else:
        shown = rates.copy()
        if not scene.selection.color_diagonal:
            np.fill_diagonal(shown, np.nan)
        heat = HeatOptions(palette=EMBER, low=0.0, reduction="max", cursor=cell)
        table = heatmap(shown, area, look=scene.look, options=heat)
    read_out = _read_out(scene, counts, cell, width)
    return stacked(size, _head(scene, rates, width), table, read_out)


def _clipped(cell: tuple[int, int], num_classes: int) -> tuple[int, int]:
    return min(cell[0], num_classes - 1), min(cell[1], num_classes - 1)


def _head(scene: Scene, rates: np.ndarray, width: int) -> list[Strip]:
    canvas = Canvas((width, 1))
    text = f"CCTM, {scene.selection.split}, epoch {scene.epoch}, percent"
    canvas.put(0, 0, text, strong(scene.look))
    found = symmetry(rates)
    words = "symmetry n/a" if not np.isfinite(found) else f"symmetry {found:.3f}"
    canvas.put_right(width, 0, words, muted(scene.look))
    return canvas.strips()


def _read_out(
    scene: Scene, counts: np.ndarray, cell: tuple[int, int], width: int
) -> list[Strip]:
    """The entry in focus: names, count, percent."""
    canvas = Canvas((width, 1))
    if scene.view is None:
        return canvas.strips()
    i, j = cell
    names = scene.view.description.class_names
    true, predicted = (clean_text(names[c], 20, ascii_only=scene.look.is_ascii) for c in cell)
    total = int(counts[i].sum())
    share = f"{100 * int(counts[i, j]) / total:.2f} %" if total else "no examples"
    verb = "called" if i != j else "rightly called"
    canvas.put(0, 0, f"{true} {verb} {predicted}: {int(counts[i, j])} of {total}, {share}")
    return canvas.strips()
