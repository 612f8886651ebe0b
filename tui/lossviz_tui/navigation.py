"""What a key press does to the selection, given what is on the screen."""

from dataclasses import replace

from lossviz_analysis.errors import LossvizError
from lossviz_tui.listing import scan_groups
from lossviz_tui.scene import Scene
from lossviz_tui.selection import MAX_MARKS, SMOOTHINGS, RunMark, Selection


def epoch_moved(scene: Scene, step: int) -> Selection:
    """One epoch back or on; stepping past the newest follows again."""
    view, position = scene.view, scene.position
    if view is None or position is None:
        return scene.selection
    wanted = position + step
    if wanted >= len(view):
        return replace(scene.selection, epoch=None)
    return replace(scene.selection, epoch=int(view.epochs[max(0, wanted)]))


def epoch_held(scene: Scene) -> Selection:
    """Hold the epoch in focus, or follow again."""
    held = scene.epoch if scene.selection.epoch is None else None
    return replace(scene.selection, epoch=held)


def first_epoch(scene: Scene) -> Selection:
    """The first epoch."""
    if scene.view is None or not len(scene.view):
        return scene.selection
    return replace(scene.selection, epoch=int(scene.view.epochs[0]))


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
        case "landscape":
            return _scan_moved(scene, step)
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
    """Another entry of the CCTM."""
    if scene.view is None:
        return scene.selection
    last = scene.view.description.num_classes - 1
    row, column = scene.selection.cell
    cell = (min(max(0, row + down), last), min(max(0, column + right), last))
    return replace(scene.selection, cell=cell)


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


def _scan_moved(scene: Scene, step: int) -> Selection:
    """The list shows the newest first, so one down is one older; a series is one line."""
    groups = list(reversed(scan_groups(scene.scans)))
    if not groups:
        return scene.selection
    here = next(k for k, group in enumerate(groups) if scene.scan in group)
    chosen = groups[min(max(0, here + step), len(groups) - 1)]
    if chosen == groups[here]:
        return replace(scene.selection, scan_id=scene.scan.scan_id if scene.scan else None)
    return replace(scene.selection, scan_id=chosen[-1].scan_id, is_playing=False)


def frame_moved(scene: Scene, step: int) -> Selection:
    """The frame or curve before or after in the series in focus; it stops the film."""
    return replace(_frame(scene, step, is_round=False), is_playing=False)


def frame_played(scene: Scene) -> Selection:
    """The next frame of the film, and after the last one the first."""
    return _frame(scene, 1, is_round=True)


def playing_toggled(scene: Scene) -> Selection:
    """The film goes on by itself, or stands; a single scan has nothing to play."""
    is_playing = not scene.selection.is_playing and len(scene.series) > 1
    return replace(scene.selection, is_playing=is_playing)


def _frame(scene: Scene, step: int, *, is_round: bool) -> Selection:
    ids = [row.scan_id for row in scene.series]
    if scene.scan is None or len(ids) < 2:
        return scene.selection
    place = ids.index(scene.scan.scan_id) + step
    place = place % len(ids) if is_round else min(max(0, place), len(ids) - 1)
    return replace(scene.selection, scan_id=ids[place])


def pair_of_cell(scene: Scene) -> Selection:
    """The classes of the CCTM entry in focus become the pair of the dance."""
    i, j = scene.selection.cell
    if i == j:
        return scene.selection
    return replace(scene.selection, pair=(i, j), classes=(), view="dance")


def following(scene: Scene) -> Selection:
    """Follow the newest epoch."""
    return replace(scene.selection, epoch=None)


def back(scene: Scene) -> Selection:
    """One step back: from a held epoch to following, from a chosen pair, then to the runs."""
    selection = scene.selection
    if selection.view == "runs" and selection.run_filter:
        return runs_narrowed(scene, "")
    if selection.epoch is not None:
        return replace(selection, epoch=None)
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
    place = SMOOTHINGS.index(scene.selection.smoothing) + 1
    return replace(scene.selection, smoothing=SMOOTHINGS[place % len(SMOOTHINGS)])


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
