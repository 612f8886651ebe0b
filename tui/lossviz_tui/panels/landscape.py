"""Scans: their queue, and the one in focus as a curve, a plane, small multiples or a cut."""

import math
import time

from textual.strip import Strip

from lossviz_tui.listing import asked_at
from lossviz_tui.paint.cells import Size, beside, blank_lines, clean_text
from lossviz_tui.panels.class_surfaces import similarity_matrix, small_multiples
from lossviz_tui.panels.curve_view import curve_view
from lossviz_tui.panels.plane_view import plane_view, whole_cut_view
from lossviz_tui.panels.scan_list import list_rows, scan_list, seconds_left
from lossviz_tui.panels.scan_values import fact_text
from lossviz_tui.panels.side_by_side import side_by_side
from lossviz_tui.panels.texts import centred, duration_text, stacked, title_line
from lossviz_tui.scene import ScanPicture, ScanRow, Scene

HELP = (
    "Mistakes or cross-entropy of the model at w* + t1 d1 + t2 d2 (Li et al. 2018, sec. 3); in "
    "an ego plane d is minus the mean gradient of one class, so a positive t descends for that "
    "class (Diao et al. 2022, sec. 3); ┼ is the model, ◆ the lowest point, ○ to ● the way of "
    "the checkpoints, dim dotted cells are estimated from those around, all dots: nothing is "
    "known yet, ≥ is at least the last colour, × no number."
)
_LIST_WIDTH = 36
STARTING_SECONDS = 10.0
"""So long a worker may take to start before it counts as missing."""


def paint(scene: Scene, size: Size) -> list[Strip]:
    """The list of scans and the one in focus."""
    if scene.view is None:
        return centred(size, ["opening the run"], scene.look)
    if not scene.scans:
        key = scene.key("scan")
        sentences = ["no scans yet", f"press {key} to ask for one" if key else ""]
        return centred(size, sentences, scene.look)
    width, height = size
    if width >= 130:
        side = scan_list(scene, (_LIST_WIDTH, height))
        return beside(side, _focus(scene, (width - _LIST_WIDTH - 2, height)), gap=2)
    rows = min(list_rows(scene, width), 4)
    return stacked(
        size, scan_list(scene, (width, rows)), _focus(scene, (width, max(1, height - rows)))
    )


def _focus(scene: Scene, size: Size) -> list[Strip]:
    """The scan in focus, or why there is nothing to see of it."""
    row, picture = scene.scan, scene.shown_picture
    if row is None:
        return blank_lines(size)
    if picture is None and scene.siblings and row.request is not None and row.request.dims == 1:
        picture = scene.siblings[-1]  # the chart has other curves
    if picture is None:
        sentences = [*_frame_notes(scene, row), *_why_empty(scene, row)]
        return centred(size, sentences, scene.look)
    width, height = size
    notes = [*_frame_notes(scene, row), *_progress_notes(scene, row, picture, width)]
    if row.word in ("failed", "damaged"):
        notes.insert(0, row.message)
    elif why := _why_unreadable(scene, row.scan_id):  # and the chart has other curves
        notes.insert(0, why)
    if why := _why_unreadable(scene, scene.selection.beside):
        notes.append(f"the one beside: {why}")
    lines = [
        title_line(fact_text(text, width, ascii_only=scene.look.is_ascii), width, scene.look)
        for text in notes
    ]
    area = (width, max(1, height - len(lines)))
    return stacked(size, lines, _body(scene, picture, area))


def waits_for_worker(scene: Scene) -> bool:
    """Whether no worker serves the run, and none is about to."""
    row = scene.scan
    if row is None or (scene.standing is not None and scene.standing.worker_is_up):
        return False
    asked = time.time() - asked_at(row.scan_id)
    age = min(scene.now - scene.worker_asked, math.inf if math.isnan(asked) else asked)
    return age > STARTING_SECONDS


def _body(scene: Scene, picture: ScanPicture, size: Size) -> list[Strip]:
    other = scene.picture_beside
    is_line = len(picture.result.coordinates) == 1
    if other is not None and (is_line or scene.selection.mode in ("plane", "cut")):
        return side_by_side(scene, picture, other, size)
    if is_line:
        lines = [one for one in scene.siblings if len(one.result.coordinates) == 1]
        return curve_view(scene, picture, lines, size)
    match scene.selection.mode:
        case "plane":
            return plane_view(scene, picture, size)
        case "classes":
            return small_multiples(scene, picture, size)
        case "cut":
            return whole_cut_view(scene, picture, size)
        case "similarity":
            return similarity_matrix(scene, picture, size)


def _frame_notes(scene: Scene, row: ScanRow) -> list[str]:
    """Which frame of a film, or curve of a chart, is in focus."""
    series = scene.series
    if len(series) < 2 or row.request is None:
        return []
    what = "curve" if row.request.dims == 1 else "frame"
    place = f"{what} {series.index(row) + 1} of {len(series)}, epoch {row.request.epoch}"
    if scene.selection.is_playing:
        return [f"{place} (playing)"]
    step = "aside" if scene.point is None else "frame"
    keys = [key for by in (-1, 1) if (key := scene.key(f"{step}({by})"))]
    steps = f"{' '.join(keys)} step" if keys else ""
    how = ", ".join(filter(None, (steps, scene.hint("plays", "set('playing_toggled')"))))
    return [f"{place} ({how})" if how else place]


_STARTING = {False: "the scan worker is starting", True: "it is about to begin"}


def _why_unreadable(scene: Scene, scan_id: str | None) -> str:
    """Why a scan has no picture though there are cells; files are named from the run on."""
    why = scene.unreadable.get(scan_id or "", "")
    return why if scene.view is None else why.replace(f"{scene.view.path}/", "")


def _why_empty(scene: Scene, row: ScanRow) -> list[str]:
    why = _why_unreadable(scene, row.scan_id)
    if why and row.word not in ("failed", "damaged"):
        return [f"the scan is {row.word}, but cannot be shown", clean_text(why, 200)]
    match row.word:
        case "queued":
            if waits_for_worker(scene):
                starts = scene.hint("starts one", "scan", "resume_scan")
                return ["no worker is running", starts]
            up = scene.standing is not None and scene.standing.worker_is_up
            if any(other.word == "running" for other in scene.scans) or row.place > 1:
                return ["waiting for the worker", "another scan comes first"]
            return ["waiting for the worker", _STARTING[up]]
        case "running":
            return ["computing the directions", "the first cells appear in a moment"]
        case "failed" | "damaged":
            return [f"the scan {row.word}", clean_text(row.message, 200)]
        case _:
            return [f"the scan is {row.word}", ""]


def _progress_notes(scene: Scene, row: ScanRow, picture: ScanPicture, width: int) -> list[str]:
    """The stage and the time left of a scan under way; of one that has ended what it lacks."""
    stage, *notes = picture.stage.split("; ")
    match row.word:
        case "running":
            left = seconds_left(scene, row)
            if math.isfinite(left):
                stage += f", {duration_text(left)} left"
        case "interrupted":
            hint = scene.hint("goes on", "resume_scan")
            stage = f"{', '.join(filter(None, ('interrupted', hint)))}; {stage}"
        case _ if picture.is_whole:
            return []
        case _:
            pass
    whole = "; ".join((stage, *notes))
    if not notes or len(whole) <= width:
        return [whole]
    return [stage, "; ".join(notes)]
