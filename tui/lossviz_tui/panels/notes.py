"""Dancing notes: for each class, the class it is most confused with, epoch by epoch."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from textual.strip import Strip

from lossviz_tui.navigation import epoch_chosen, note_chosen
from lossviz_tui.paint.cells import Canvas, Size, beside, clean_text, text_line
from lossviz_tui.paint.charts import ChartOptions, Series
from lossviz_tui.paint.notes_matrix import matrix_frame, notes_matrix
from lossviz_tui.paint.palettes import category_style
from lossviz_tui.paint.staff import (
    MAX_PITCH,
    StaffOptions,
    num_sung,
    staff,
    staff_frame,
    staff_height,
)
from lossviz_tui.paint.targets import Lines, whole
from lossviz_tui.panels.epoch_chart import epoch_chart, held_epoch
from lossviz_tui.panels.overview import nothing_counted, waiting
from lossviz_tui.panels.texts import centred, muted, stacked, strong
from lossviz_tui.scene import Scene
from lossviz_tui.selection import MAX_CLASSES

HELP = (
    "The note N(e, i) of class i at epoch e is the class j it is most often taken for, the j "
    "not i with the largest CCTM(i, j), and none unless that is over 0.1 %; a glyph begins a "
    "spell of one note and a line holds it, and the table counts the epochs, G(i, j) = "
    "#{e: N(e, i) = j}, and the longest spell (Diao et al. 2022, sec. 4.2, Fig. 7)."
)
_TABLE_WIDTH = 34
_MAX_MASTERS = 3
"""Classes named as dominating another."""
_MIN_CHART = 12


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
    table = _TABLE_WIDTH if width >= 100 else 0
    area = (width - table - (1 if table else 0), height)
    options = StaffOptions(
        first_epoch=int(view.class_epochs[0]),
        epochs=view.class_epochs,
        cursor_epoch=held_epoch(scene),
        title=f"dancing notes, {scene.selection.split}"
        + (f", {view.coverage}" if view.coverage else ""),
    )
    if scene.selection.all_classes:
        left = _matrix(scene, notes, area, options, has_table=bool(table))
    else:
        left = _staff(scene, notes, area, options, has_table=bool(table))
    if not table:
        return left
    return beside(left, _counts(scene, notes, (table, height)), gap=1)


def _staff(
    scene: Scene, notes: np.ndarray, size: Size, options: StaffOptions, *, has_table: bool
) -> list[Strip]:
    """The chosen classes on a staff; what room is left is for counts, all classes, recalls."""
    view, chosen = scene.view, scene.chosen_classes
    if view is None:
        return []
    width, height = size
    names = view.description.class_names
    options = replace(options, cursor_class=chosen[0] if chosen else None)
    num_lines = len(names) + 1
    needed = staff_height(num_lines, 1)
    if not has_table and height - needed >= 2:
        listed = [*_listed(scene, len(names))][: height - needed - 1]
        beneath = _counts_in_words(scene, notes, listed, width)
        upper = (width, height - len(beneath))
        return stacked(size, _sung(scene, notes, upper, options), beneath)
    everyone = len(names) + 4
    pitch = min(MAX_PITCH, (height - everyone - 4) // max(1, num_lines - 1))
    if pitch < 1:
        return _sung(scene, notes, size, options)
    rows = staff_height(num_lines, pitch)
    chart = height - rows - everyone
    if chart < _MIN_CHART:
        rows, chart = height - everyone, 0
    whole = replace(options, title="every class")
    blocks: list[list[Strip]] = [
        _sung(scene, notes, (width, rows), options),
        _of_all(scene, notes, (width, everyone), whole),
    ]
    if chart:
        blocks.append(_recalls(scene, chosen, (width, chart)))
    return stacked(size, *blocks)


def _recalls(scene: Scene, classes: tuple[int, ...], size: Size) -> list[Strip]:
    """The recalls of some classes; of the chosen ones in the colours of the staff."""
    view = scene.view
    if view is None:
        return []
    recall, names = view.recall_of(scene.selection.split), view.description.class_names
    series = [
        Series(
            label=names[c],
            x=view.class_epochs.astype(float),
            y=100 * recall[:, c],
            color_index=k,
            marked=True,
        )
        for k, c in enumerate(classes)
    ]
    options = ChartOptions(title="recall", y_label="%", legend="header")
    return epoch_chart(scene, series, size, options)


def _matrix(
    scene: Scene, notes: np.ndarray, size: Size, options: StaffOptions, *, has_table: bool
) -> list[Strip]:
    """Every class, page by page where they are many; the one in focus in words below."""
    view = scene.view
    if view is None:
        return []
    names = view.description.class_names
    width, height = size
    focus = min(scene.selection.note_class, len(names) - 1)
    said: list[Strip] = []
    rest = height - len(names) - 3
    if not has_table and height > 6:
        count = min(rest - 1, len(names)) if 2 < rest < _MIN_CHART else 1
        said = _counts_in_words(scene, notes, range(focus, focus + count), width)
    rest -= len(said)
    beneath: list[Strip] = []
    if rest >= _MIN_CHART:
        shown_classes = dict.fromkeys((focus, *scene.chosen_classes))
        beneath = _recalls(scene, tuple(shown_classes)[:MAX_CLASSES], (width, rest))
    area = (width, height - len(said) - len(beneath))
    options = replace(options, cursor_class=focus)
    page = max(1, len(matrix_frame(notes, names, area, scene.look, options).lines))
    first = focus // page * page
    shown = matrix_frame(notes, names, area, scene.look, replace(options, row0=first)).lines
    if len(shown) < len(names):
        part = f", classes {shown[0] + 1:,} to {shown[-1] + 1:,} of {len(names):,}"
        options = replace(options, row0=first, title=options.title + part)
    return stacked(size, _of_all(scene, notes, area, options), said, beneath)


def _sung(scene: Scene, notes: np.ndarray, size: Size, options: StaffOptions) -> Lines:
    """The chosen classes on a staff; a click there chooses an epoch."""
    names, chosen = _names(scene), scene.chosen_classes
    frame = staff_frame(notes, names, chosen, size, options)
    count = num_sung(notes, chosen)
    if len(frame.lines) < count:
        part = f", the {len(frame.lines)} most frequent of {count} notes"
        options = replace(options, title=options.title + part)
    lines = staff(notes, names, chosen, size, look=scene.look, options=options)
    return Lines(lines, [whole(size, partial(epoch_chosen, frame.epoch_at))])


def _of_all(scene: Scene, notes: np.ndarray, size: Size, options: StaffOptions) -> Lines:
    """Every class as a line; a click there chooses an epoch and a class."""
    names = _names(scene)
    frame = matrix_frame(notes, names, size, scene.look, options)
    lines = notes_matrix(notes, names, size, look=scene.look, options=options)
    choose = partial(note_chosen, frame.epoch_at, frame.class_at)
    return Lines(lines, [whole(size, choose)])


def _names(scene: Scene) -> tuple[str, ...]:
    return () if scene.view is None else scene.view.description.class_names


def _masters(notes: np.ndarray, num_classes: int) -> list[tuple[int, int, int]]:
    """By whom a class was dominated: class, epochs, longest spell; the most frequent first."""
    counts = np.bincount(notes[notes >= 0], minlength=num_classes)
    longest = _longest_spells(notes, num_classes)
    order = np.argsort(-counts, kind="stable")[:_MAX_MASTERS].tolist()
    return [(j, int(counts[j]), int(longest[j])) for j in order if counts[j]]


def _counts_in_words(
    scene: Scene, notes: np.ndarray, classes: Sequence[int], width: int
) -> list[Strip]:
    """By whom some classes were dominated, a line for each, several of them below a heading."""
    view, chosen = scene.view, scene.chosen_classes
    if view is None:
        return []
    head = text_line("dominated by: epochs (longest spell)", width, muted(scene.look))
    found = [head] if len(classes) > 1 else []
    for c in classes:
        shown = c % view.description.num_classes  # after the last one the first again
        is_voice = shown in chosen and not scene.selection.all_classes
        found += _in_words(scene, notes, shown, chosen.index(shown) if is_voice else -1, width)
    return found


def _in_words(
    scene: Scene, notes: np.ndarray, true_class: int, place: int, width: int
) -> list[Strip]:
    """By whom one class was dominated, in a line."""
    view, look = scene.view, scene.look
    if view is None:
        return []
    names = view.description.class_names
    canvas = Canvas((width, 1))
    name = clean_text(names[true_class], 14, ascii_only=look.is_ascii)
    found = [
        f"{clean_text(names[j], 14, ascii_only=look.is_ascii)} {epochs} ({longest})"
        for j, epochs, longest in _masters(notes[:, true_class], len(names))
    ]
    style = category_style(look, place, bold=True) if place >= 0 else strong(look)
    canvas.put(0, 0, f"{name}:", style)
    canvas.put(16, 0, ", ".join(found) or "none")
    return canvas.strips()


def _listed(scene: Scene, num_classes: int) -> Iterable[int]:
    """The classes of the table: those in focus, then the others while there is room."""
    if scene.selection.all_classes:
        focus = min(scene.selection.note_class, num_classes - 1)
        return range(focus, num_classes)
    chosen = scene.chosen_classes
    return (*chosen, *(c for c in range(num_classes) if c not in chosen))


def _counts(scene: Scene, notes: np.ndarray, size: Size) -> list[Strip]:
    """For each class: by whom it was dominated, how many epochs, how long at once."""
    view, look = scene.view, scene.look
    canvas = Canvas(size)
    if view is None:
        return canvas.strips()
    names = view.description.class_names
    chosen = () if scene.selection.all_classes else scene.chosen_classes
    canvas.put(0, 0, "dominated by", strong(look))
    canvas.put_right(canvas.width, 0, "epochs longest", muted(look))
    row = 1
    for k, i in enumerate(_listed(scene, len(names))):
        if row + 1 >= canvas.height:
            break
        style = category_style(look, k, bold=True) if i in chosen else strong(look)
        canvas.put(0, row, clean_text(names[i], 20, ascii_only=look.is_ascii), style)
        row += 1
        for j, epochs, longest in _masters(notes[:, i], len(names)):
            canvas.put(2, row, clean_text(names[j], 14, ascii_only=look.is_ascii))
            canvas.put_right(canvas.width - 8, row, str(epochs))
            canvas.put_right(canvas.width, row, str(longest), muted(look))
            row += 1
    return canvas.strips()


def _longest_spells(notes: np.ndarray, num_classes: int) -> np.ndarray:
    """Epochs in the longest spell of each note of one class."""
    starts = np.flatnonzero(np.diff(notes, prepend=notes[:1] - 1))
    lengths, sung = np.diff(starts, append=len(notes)), notes[starts]
    longest = np.zeros(num_classes, np.int64)
    np.maximum.at(longest, sung[sung >= 0], lengths[sung >= 0])
    return longest
