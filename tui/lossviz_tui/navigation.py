"""What a key press does to the selection, given what is on the screen."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.store.fields import StoreError
from lossviz_tui.cctm_tables import shown_tables
from lossviz_tui.class_order import place_of, shown_classes
from lossviz_tui.listing import scan_groups
from lossviz_tui.paint.smooth import window_of
from lossviz_tui.scene import Scene
from lossviz_tui.selection import (
    CLASS_ORDERS,
    COMPARISONS,
    MAX_MARKS,
    NUM_ZOOMS,
    SMOOTHINGS,
    RunMark,
    Selection,
)

EntryAt = Callable[[int, int], tuple[int, int] | None]
"""Row and column of what lies under a cell; None beside it."""


def epoch_moved(scene: Scene, step: int) -> Selection:
    """One epoch back or on; stepping past the newest follows again."""
    view, position = scene.view, scene.position
    if view is None or position is None:
        return scene.selection
    wanted = position + step
    if wanted >= len(view):
        return following(scene)
    return _at_epoch(scene, int(view.epochs[max(0, wanted)]))


def epoch_held(scene: Scene) -> Selection:
    """Hold the epoch in focus, or follow again."""
    if scene.selection.epoch is not None or scene.epoch is None:
        return following(scene)
    return _at_epoch(scene, scene.epoch)


def first_epoch(scene: Scene) -> Selection:
    """The first epoch."""
    if scene.view is None or not len(scene.view):
        return scene.selection
    return _at_epoch(scene, int(scene.view.epochs[0]))


def epoch_chosen(
    epoch_at: Callable[[int], float | None], scene: Scene, x: int, y: int
) -> Selection:
    """The epoch that is nearest to a column of a chart."""
    del y
    view, wanted = scene.view, epoch_at(x)
    if view is None or not len(view) or wanted is None:
        return scene.selection
    return _at_epoch(scene, int(view.epochs[np.abs(view.epochs - wanted).argmin()]))


def note_chosen(
    epoch_at: Callable[[int], float | None],
    class_at: Callable[[int], int | None],
    scene: Scene,
    x: int,
    y: int,
) -> Selection:
    """The epoch and the class under a cell of the notes of all classes."""
    selection, found = epoch_chosen(epoch_at, scene, x, y), class_at(y)
    return selection if found is None else replace(selection, note_class=max(0, found))


def _at_epoch(scene: Scene, epoch: int) -> Selection:
    """Hold an epoch; the pair stays, although another one may be the worst there."""
    selection = scene.selection
    held_pair = scene.pair if selection.epoch is None else selection.held_pair
    return replace(selection, epoch=epoch, held_pair=held_pair)


def moved(scene: Scene, step: int) -> Selection:
    """The one above or below in the list of the view: a run, a pair, a class, a scan, a row."""
    selection = scene.selection
    match selection.view:
        case "runs":
            last = max(0, len(scene.shown_runs) - 1)
            return replace(selection, run_row=min(max(0, selection.run_row + step), last))
        case "notes" if selection.all_classes:
            return _note_class_moved(scene, step)
        case "dance" | "notes":
            return _pair_moved(scene, step)
        case "cctm":
            return cell_moved(scene, step, 0)
        case "landscape" if scene.point is not None and len(scene.point) == 2:
            match selection.mode:
                case "similarity":
                    return _similarity_moved(scene, step, 0)
                case "cut":
                    return scan_moved(scene, step)
                case _:
                    return point_moved(scene, -step, 0)
        case "landscape":
            return scan_moved(scene, step)
        case _:
            return selection


def runs_narrowed(scene: Scene, text: str) -> Selection:
    """The list of runs by another filter; the run in focus stays so if it is still listed."""
    focus = scene.run_in_focus
    narrowed = replace(scene.selection, run_filter=text, run_row=0)
    rows = replace(scene, selection=narrowed).shown_runs
    paths = [row.path for row in rows]
    row = paths.index(focus.path) if focus is not None and focus.path in paths else 0
    return replace(narrowed, run_row=row)


def run_marked(scene: Scene) -> Selection:
    """The run in focus marked, to be drawn together with the open one, or no longer marked.

    Raises LossvizError where too many are marked already.
    """
    focus, marks = scene.run_in_focus, scene.selection.marks
    if focus is None:
        return scene.selection
    kept = tuple(mark for mark in marks if mark.path != focus.path)
    if len(kept) < len(marks):
        return replace(scene.selection, marks=kept)
    free = sorted(set(range(MAX_MARKS)) - {mark.slot for mark in marks})
    if not free:
        raise LossvizError(
            f"{MAX_MARKS} runs are marked, and more cannot be told apart; unmark one first"
        )
    return replace(scene.selection, marks=(*marks, RunMark(path=focus.path, slot=free[0])))


def cell_moved(scene: Scene, down: int, right: int) -> Selection:
    """Another entry of the CCTM, in the order in which it shows the classes."""
    classes = shown_classes(scene)
    if not classes.size:
        return scene.selection
    places = (
        min(max(0, place_of(classes, here) + step), len(classes) - 1)
        for here, step in zip(scene.cell, (down, right), strict=True)
    )
    row, column = (int(classes[place]) for place in places)
    return replace(scene.selection, cell=(row, column))


def cell_chosen(
    entry_at: EntryAt, rows: Sequence[int], columns: Sequence[int], scene: Scene, x: int, y: int
) -> Selection:
    """The entry of the CCTM under a cell; the classes are those drawn down and across."""
    found = entry_at(x, y)
    if found is None:
        return scene.selection
    return replace(scene.selection, cell=(rows[found[0]], columns[found[1]]))


def _pair_moved(scene: Scene, step: int) -> Selection:
    listed = scene.listed_pairs
    if not listed:
        return scene.selection
    pair = scene.pair or (0, 1)
    places = [k for k, p in enumerate(listed) if {p.first, p.second} == set(pair)]
    place = places[0] + step if places else 0
    chosen = listed[min(max(0, place), len(listed) - 1)]
    # A chosen set stays, and one of its pairs is in focus.
    return replace(
        scene.selection, pair=(chosen.first, chosen.second), classes=scene.chosen_set
    )


def _note_class_moved(scene: Scene, step: int) -> Selection:
    if scene.view is None:
        return scene.selection
    last = scene.view.description.num_classes - 1
    chosen = min(max(0, scene.selection.note_class + step), last)
    return replace(scene.selection, note_class=chosen)


def scan_moved(scene: Scene, step: int) -> Selection:
    """The list shows the newest first, so one down is one older; a series is one line."""
    groups = list(reversed(scan_groups(scene.scans)))
    if not groups:
        return scene.selection
    here = next(k for k, group in enumerate(groups) if scene.scan in group)
    chosen = groups[min(max(0, here + step), len(groups) - 1)]
    if chosen == groups[here]:
        return replace(scene.selection, scan_id=scene.scan.scan_id if scene.scan else None)
    return replace(scene.selection, scan_id=chosen[-1].scan_id, is_playing=False)


def run_chosen(paths: Sequence[Path], scene: Scene, x: int, y: int) -> Selection:
    """The run of a line of the list, of which these are the lines, wherever it is now."""
    del x
    now = [row.path for row in scene.shown_runs]
    if not 0 <= y < len(paths) or paths[y] not in now:
        return scene.selection
    return replace(scene.selection, run_row=now.index(paths[y]))


def pair_chosen(pairs: Sequence[tuple[int, int]], scene: Scene, x: int, y: int) -> Selection:
    """The pair of a line of the list, of which these are the lines."""
    del x
    if not 0 <= y < len(pairs):
        return scene.selection
    return replace(scene.selection, pair=pairs[y], classes=scene.chosen_set)


def cell_of_pair_chosen(
    pairs: Sequence[tuple[int, int]], scene: Scene, x: int, y: int
) -> Selection:
    """The entry of the CCTM that belongs to a line of the list of pairs."""
    del x
    return replace(scene.selection, cell=pairs[y]) if 0 <= y < len(pairs) else scene.selection


def scan_chosen(scan_ids: Sequence[str], scene: Scene, x: int, y: int) -> Selection:
    """The scan or series of a line of the list; the first line is number 0."""
    del x
    if not 0 <= y < len(scan_ids):
        return scene.selection
    return replace(scene.selection, scan_id=scan_ids[y], is_playing=False)


def aside_moved(scene: Scene, step: int) -> Selection:
    """The cursor beside, where there is one; otherwise the frame or curve beside."""
    if scene.point is None:
        return frame_moved(scene, step)
    if len(scene.point) == 1:
        return point_moved(scene, step, 0)
    match scene.selection.mode:
        case "similarity":
            return _similarity_moved(scene, 0, step)
        case "cut":
            return _along_cut(scene, step)
        case _:
            return point_moved(scene, 0, step)


def inspection_toggled(scene: Scene) -> Selection:
    """A cursor on the model, or on the grid point nearest to it; or none."""
    picture = scene.shown_picture
    if scene.selection.point is not None or picture is None:
        return replace(scene.selection, point=None)
    nearest = [int(np.abs(axis).argmin()) for axis in picture.result.coordinates]
    return replace(scene.selection, point=(nearest[0], nearest[-1]))


def point_moved(scene: Scene, first: int, second: int) -> Selection:
    """The cursor moved by grid points along the directions.

    Among the surfaces of the classes it goes on to the next one beyond an edge.
    """
    picture, here = scene.shown_picture, scene.point
    if picture is None or here is None:
        return scene.selection
    shape = [len(axis) for axis in picture.result.coordinates]
    wanted = [at + step for at, step in zip(here, (first, second), strict=False)]
    selection = scene.selection
    if selection.mode == "classes" and len(shape) == 2 and not 0 <= wanted[1] < shape[1]:
        surfaces = scene.surface_order
        place = surfaces.index(scene.surface) + (1 if wanted[1] > 0 else -1)
        if 0 <= place < len(surfaces):
            wanted[1] %= shape[1]
            selection = replace(selection, surface=surfaces[place])
    found = [min(max(0, at), last - 1) for at, last in zip(wanted, shape, strict=True)]
    return replace(selection, point=(found[0], found[-1]))


def _along_cut(scene: Scene, step: int) -> Selection:
    """The cursor on the grid point next to the cut, a step further along it."""
    picture, here = scene.shown_picture, scene.point
    if picture is None or here is None:
        return scene.selection
    axes, angle = picture.result.coordinates, np.deg2rad(scene.selection.cut_degrees)
    along = (float(np.cos(angle)), float(np.sin(angle)))
    main = 0 if abs(along[0]) >= abs(along[1]) else 1
    wanted = here[main] + (step if along[main] > 0 else -step)
    found = [0, 0]
    found[main] = min(max(0, wanted), len(axes[main]) - 1)
    distance = axes[main][found[main]] / along[main]
    other = 1 - main
    found[other] = int(np.abs(axes[other] - distance * along[other]).argmin())
    return replace(scene.selection, point=(found[0], found[1]))


def _similarity_moved(scene: Scene, down: int, right: int) -> Selection:
    """Another entry of the similarity matrix."""
    order = scene.surface_order
    places = [order.index(c) for c in scene.similarity_cell]
    row, column = (
        order[min(max(0, place + step), len(order) - 1)]
        for place, step in zip(places, (down, right), strict=True)
    )
    return replace(scene.selection, cell=(row, column))


def point_chosen(entry_at: EntryAt, scene: Scene, x: int, y: int) -> Selection:
    """The cursor put on the grid point under a cell of a plane."""
    found = entry_at(x, y)
    return scene.selection if found is None else replace(scene.selection, point=found)


def surface_chosen(entry_at: EntryAt, surface: int, scene: Scene, x: int, y: int) -> Selection:
    """The cursor put on a grid point of one class's surface."""
    return replace(point_chosen(entry_at, scene, x, y), surface=surface)


def place_chosen(
    value_at: Callable[[int], float | None], scene: Scene, x: int, y: int
) -> Selection:
    """The cursor put on the point of a line that is nearest to a column."""
    del y
    value, picture = value_at(x), scene.shown_picture
    if value is None or picture is None:
        return scene.selection
    nearest = int(np.abs(picture.result.coordinates[0] - value).argmin())
    return replace(scene.selection, point=(nearest, nearest))


def beside_toggled(scene: Scene) -> Selection:
    """The scan in focus stays in sight beside the next ones, or no longer."""
    if scene.selection.beside is not None or scene.scan is None:
        return replace(scene.selection, beside=None)
    return replace(scene.selection, beside=scene.scan.scan_id)


def frame_moved(scene: Scene, step: int) -> Selection:
    """The frame or curve before or after in the series in focus; it stops the film."""
    return replace(_frame(scene, step, is_round=False), is_playing=False)


def frame_played(scene: Scene) -> Selection:
    """The next frame of the film, and after the last one the first."""
    return _frame(scene, 1, is_round=True)


def playing_toggled(scene: Scene) -> Selection:
    """The film goes on by itself, or stands.

    Raises LossvizError where there is nothing to play.
    """
    if len(scene.series) < 2:
        raise LossvizError("this is no film; the second page of the scan form makes one")
    return replace(scene.selection, is_playing=not scene.selection.is_playing)


def _frame(scene: Scene, step: int, *, is_round: bool) -> Selection:
    ids = [row.scan_id for row in scene.series]
    if scene.scan is None or len(ids) < 2:
        return scene.selection
    place = ids.index(scene.scan.scan_id) + step
    place = place % len(ids) if is_round else min(max(0, place), len(ids) - 1)
    return replace(scene.selection, scan_id=ids[place])


def next_comparison(scene: Scene) -> Selection:
    """The CCTM, train minus test, less another epoch's, less another run's."""
    place = COMPARISONS.index(scene.selection.comparison) + 1
    return replace(scene.selection, comparison=COMPARISONS[place % len(COMPARISONS)])


def epoch_marked(scene: Scene) -> Selection:
    """The epoch in focus is what others are compared with; marked twice, no longer."""
    selection = scene.selection
    if scene.epoch is None or selection.marked_epoch == scene.epoch:
        return replace(selection, marked_epoch=None, comparison="rates")
    return replace(selection, marked_epoch=scene.epoch, comparison="epochs")


def next_order(scene: Scene) -> Selection:
    """Classes by index, by similarity, by recall."""
    place = CLASS_ORDERS.index(scene.selection.order) + 1
    return replace(scene.selection, order=CLASS_ORDERS[place % len(CLASS_ORDERS)])


def next_entry(scene: Scene) -> Selection:
    """The next largest entry or change off the diagonal; after the last one the first."""
    classes, position = shown_classes(scene), scene.position
    if scene.view is None or position is None or classes.size < 2:
        return scene.selection
    try:
        values = shown_tables(scene, scene.view, position).values()
    except StoreError:  # the view says so
        return scene.selection
    size = np.nan_to_num(np.abs(values[np.ix_(classes, classes)]), nan=-1.0)
    np.fill_diagonal(size, -1.0)
    row, column = (place_of(classes, here) for here in scene.cell)
    here, flat = row * len(classes) + column, size.ravel()
    if row != column:
        is_later = np.arange(flat.size) > here
        is_next = (flat < flat[here]) | ((flat == flat[here]) & is_later)
        # Entries without examples, and the diagonal, come never.
        candidates = np.where(is_next, flat, -1.0)
        flat = candidates if (candidates >= 0).any() else flat
    found = int(flat.argmax())
    cell = (int(classes[found // len(classes)]), int(classes[found % len(classes)]))
    return replace(scene.selection, cell=cell)


def next_zoom(scene: Scene) -> Selection:
    """All of the CCTM, an entry for each point, or a number for each entry."""
    return replace(scene.selection, zoom=(scene.selection.zoom + 1) % NUM_ZOOMS)


def classes_filtered(scene: Scene, text: str) -> Selection:
    """Only the classes whose names have a part of a text.

    The cursor goes to the first of them where its own are not among them.
    """
    filtered = replace(scene, selection=replace(scene.selection, class_filter=text))
    return cell_moved(filtered, 0, 0)


def pair_of_cell(scene: Scene) -> Selection:
    """The classes of the CCTM entry in focus become the pair of the dance."""
    classes = shown_classes(scene)
    if not classes.size:
        return scene.selection
    i, j = (int(classes[place_of(classes, c)]) for c in scene.cell)
    if i == j:
        return scene.selection
    return replace(scene.selection, pair=(i, j), classes=(), view="dance")


def following(scene: Scene) -> Selection:
    """Follow the newest epoch."""
    return replace(scene.selection, epoch=None, held_pair=None)


def back(scene: Scene) -> Selection:
    """One step back: what a view was told to show besides, a held epoch, a pair, the runs."""
    selection = scene.selection
    if selection.view == "landscape":
        if selection.point is not None:
            return replace(selection, point=None)
        if selection.beside is not None:
            return replace(selection, beside=None)
        if selection.has_cut:
            return replace(selection, has_cut=False)
    if selection.view == "cctm":
        if selection.class_filter:
            return replace(selection, class_filter="")
        if selection.comparison != "rates":
            return replace(selection, comparison="rates")
    if selection.view == "runs" and selection.run_filter:
        return runs_narrowed(scene, "")
    if selection.epoch is not None:
        return following(scene)
    if selection.pair is not None:
        return replace(selection, pair=None, classes=())
    return replace(selection, view="runs")


def other_split(scene: Scene) -> Selection:
    """Test instead of train, or train instead of test."""
    split = "train" if scene.selection.split == "test" else "test"
    return replace(scene.selection, split=split)


def log_toggled(scene: Scene) -> Selection:
    """Logarithmic instead of linear, or the other way round."""
    return replace(scene.selection, log=not scene.selection.log)


def next_smoothing(scene: Scene) -> Selection:
    """Curves as they are, smoothed a little, or smoothed much."""
    count = 0 if scene.view is None else len(scene.view)
    place = SMOOTHINGS.index(scene.selection.smoothing)
    later = SMOOTHINGS[place + 1 :]
    window = window_of(scene.selection.smoothing, count)
    # Of a short run the shares come to the same few epochs.
    others = [share for share in later if window_of(share, count) != window]
    return replace(scene.selection, smoothing=others[0] if others else SMOOTHINGS[0])


def other_ranking(scene: Scene) -> Selection:
    """Pairs of classes by dance score instead of by rate, or the other way round."""
    ranking = "score" if scene.selection.ranking == "rate" else "rate"
    return replace(scene.selection, ranking=ranking)


def all_toggled(scene: Scene) -> Selection:
    """Every class at once, or the chosen ones."""
    return replace(scene.selection, all_classes=not scene.selection.all_classes)


def diagonal_toggled(scene: Scene) -> Selection:
    """Colours for the diagonal of the CCTM, or none."""
    return replace(scene.selection, color_diagonal=not scene.selection.color_diagonal)


def contours_toggled(scene: Scene) -> Selection:
    """Contour lines, or none."""
    return replace(scene.selection, contours=not scene.selection.contours)


def next_mode(scene: Scene) -> Selection:
    """The next way to look at a plane."""
    return scene.selection.with_next_mode()


def other_quantity(scene: Scene) -> Selection:
    """Cross-entropy instead of mistakes, or the other way round."""
    quantity = "loss" if scene.selection.quantity == "mistakes" else "mistakes"
    return replace(scene.selection, quantity=quantity)


def cut_turned(scene: Scene, steps: int) -> Selection:
    """The cut turned by steps of 15 degrees."""
    return scene.selection.turned(steps)


def view_chosen(name: str, scene: Scene, x: int, y: int) -> Selection:
    """Another view; without a run there is only the list of runs."""
    del x, y
    if scene.view is None and name != "runs":
        return scene.selection
    return replace(scene.selection, view=name)


def wheeled(scene: Scene, step: int) -> Selection:
    """What the wheel does beside all lists: the next run or frame, or another epoch."""
    match scene.selection.view:
        case "runs":
            return moved(scene, step)
        case "landscape":
            return frame_moved(scene, step) if len(scene.series) > 1 else scene.selection
        case "cctm" if scene.selection.zoom:
            return cell_moved(scene, step, 0)
        case _:
            return epoch_moved(scene, step)
