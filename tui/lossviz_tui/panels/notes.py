"""Dancing notes: for each class, the class it is most confused with, epoch by epoch."""

import numpy as np
from textual.strip import Strip

from lossviz_analysis.classwise.notes import spells
from lossviz_tui.paint.cells import Canvas, Size, beside, clean_text
from lossviz_tui.paint.notes_matrix import notes_matrix
from lossviz_tui.paint.staff import StaffOptions, staff
from lossviz_tui.panels.overview import nothing_counted, waiting
from lossviz_tui.panels.texts import category_style, centred, muted, strong
from lossviz_tui.scene import Scene

HELP = (
    "A note of class i at an epoch is the class j with the largest CCTM(i, j), j not i, and "
    "none unless that is over 0.1 % (Diao et al. 2022, Fig. 7). Held lines are spells of one "
    "note."
)
_TABLE_WIDTH = 34
_STAFF_CLASSES = 3


def paint(scene: Scene, size: Size) -> list[Strip]:
    """Staff lines for the chosen classes, or every class as a matrix; counts beside them."""
    view = scene.view
    if view is None or not len(view.class_epochs):
        return waiting(scene, size)
    if view.description.num_classes < 2:
        return centred(size, ["one class is never taken for another"], scene.look)
    if np.isnan(view.recall_of(scene.selection.split)).all():
        return nothing_counted(scene, size)
    width, height = size
    notes = view.notes_of(scene.selection.split)
    names = view.description.class_names
    chosen = chosen_classes(scene)
    table = _TABLE_WIDTH if width >= 100 else 0
    area = (width - table - (1 if table else 0), height)
    options = StaffOptions(
        first_epoch=int(view.class_epochs[0]),
        epochs=view.class_epochs,
        cursor_epoch=scene.epoch if scene.selection.epoch is not None else None,
        cursor_class=chosen[0] if chosen else None,
        title=f"dancing notes, {scene.selection.split}"
        + (f", {view.coverage}" if view.coverage else ""),
    )
    if scene.selection.all_classes:
        left = notes_matrix(notes, names, area, look=scene.look, options=options)
    else:
        left = staff(notes, names, chosen, area, look=scene.look, options=options)
    if not table:
        return left
    return beside(left, _counts(scene, notes, chosen, (table, height)), gap=1)


def chosen_classes(scene: Scene) -> tuple[int, ...]:
    """The classes on the staff: those chosen, else those of the pair."""
    return scene.selection.classes or (scene.pair or ())


def _counts(
    scene: Scene, notes: np.ndarray, chosen: tuple[int, ...], size: Size
) -> list[Strip]:
    """For each chosen class: by whom it was dominated, how many epochs, how long at once."""
    view, look = scene.view, scene.look
    canvas = Canvas(size)
    if view is None:
        return canvas.strips()
    names = view.description.class_names
    canvas.put(0, 0, "dominated by", strong(look))
    canvas.put_right(canvas.width, 0, "epochs longest", muted(look))
    row = 1
    for k, i in enumerate(chosen):
        canvas.put(
            0,
            row,
            clean_text(names[i], 20, ascii_only=look.is_ascii),
            category_style(look, k, bold=True),
        )
        row += 1
        of_one = notes[:, i]
        counts = np.bincount(of_one[of_one >= 0], minlength=len(names))
        longest = _longest_spells(of_one)
        for j in np.argsort(-counts, kind="stable")[:_STAFF_CLASSES].tolist():
            if counts[j] == 0:
                break
            canvas.put(2, row, clean_text(names[j], 14, ascii_only=look.is_ascii))
            canvas.put_right(canvas.width - 8, row, str(counts[j]))
            canvas.put_right(canvas.width, row, str(longest[j]), muted(look))
            row += 1
    return canvas.strips()


def _longest_spells(notes_of_one_class: np.ndarray) -> dict[int, int]:
    """Epochs in the longest spell of each note."""
    longest: dict[int, int] = {}
    for spell in spells(notes_of_one_class):
        longest[spell.note] = max(longest.get(spell.note, 0), spell.stop - spell.start)
    return longest
