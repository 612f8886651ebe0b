"""The list of scans: one line for each, or for each series of them."""

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from lossviz_analysis.store.requests import ScanRequest
from lossviz_tui.listing import ScanRow, scan_groups
from lossviz_tui.navigation import scan_chosen, scan_moved
from lossviz_tui.paint.cells import Canvas, Size, clean_text
from lossviz_tui.paint.targets import Lines, Target
from lossviz_tui.panels.texts import accent, duration_text, muted, state_text, strong
from lossviz_tui.scene import Scene

_ONE_LINE_WIDTH = 60
"""Cells; in a narrower list the progress of a scan has a line of its own."""
_WORST_FIRST = ("failed", "damaged", "running", "interrupted", "queued", "cancelled", "done")


def list_rows(scene: Scene, width: int) -> int:
    """How many lines the list takes where there is room for all of it."""
    return 1 + len(_lines(scene, width))


def scan_list(scene: Scene, size: Size) -> Lines:
    """The scans, newest first, the one in focus marked; a series is one line.

    What is under way says how far it is, how fast and for how long still, on a line of its own
    where the list is narrow. A click chooses a scan, and so does the wheel.
    """
    canvas = Canvas(size)
    look = scene.look
    lines = _lines(scene, canvas.width)
    focus = next((k for k, (group, _) in enumerate(lines) if scene.scan in group), 0)
    place = len({id(group) for group, _ in lines[: focus + 1]})
    room = max(0, canvas.height - 1)
    first = max(0, min(focus - room // 2, len(lines) - room))
    canvas.put(0, 0, "scans", strong(look))
    count = len({id(group) for group, _ in lines})
    canvas.put_right(canvas.width, 0, f"{place} of {count}", muted(look))
    shown = lines[first : first + room]
    for line, (group, is_detail) in enumerate(shown, start=1):
        style = accent(look) if scene.scan in group else muted(look)
        if is_detail:
            room_for_text = canvas.width - 2
            text = clean_text(_progress(scene, group), room_for_text, ascii_only=look.is_ascii)
            canvas.put_right(canvas.width, line, text, style)
        else:
            _draw_group(canvas, line, scene, group)
    ids = [group[-1].scan_id for group, _ in shown]
    choose = Target(
        left=0,
        top=1,
        width=canvas.width,
        height=room,
        click=partial(scan_chosen, ids),
        wheel=scan_moved,
    )
    return Lines(canvas.strips(), [choose])


def _lines(scene: Scene, width: int) -> list[tuple[tuple[ScanRow, ...], bool]]:
    """The group of each line, the newest first, and whether the line is about its progress."""
    lines: list[tuple[tuple[ScanRow, ...], bool]] = []
    for group in reversed(scan_groups(scene.scans)):
        lines.append((group, False))
        if width < _ONE_LINE_WIDTH and _progress(scene, group):
            lines.append((group, True))
    return lines


def _draw_group(canvas: Canvas, line: int, scene: Scene, group: Sequence[ScanRow]) -> None:
    look = scene.look
    is_here = scene.scan in group
    style = accent(look) if is_here else muted(look)
    if is_here:
        canvas.put(0, line, ">", style)
    elif any(row.scan_id == scene.selection.beside for row in group):
        canvas.put(0, line, "=", strong(look))
    text, state_style = state_text(_word(group), look)
    share = sum(row.share for row in group) / len(group)
    text += f" {100 * share:.0f}%" if _word(group) == "running" else ""
    places = [row.place for row in group if row.place]
    text += f" {min(places)}" if places and _word(group) == "queued" else ""
    name = _group_name(scene, group)
    if canvas.width >= _ONE_LINE_WIDTH and (progress := _progress(scene, group)):
        # Where there is no room for the name as well, the rate gives way, not the time left.
        room = canvas.width - len(text) - len(name) - 5
        text += f", {progress if len(progress) <= room else progress.rpartition(', ')[2]}"
    canvas.put_right(canvas.width, line, text, state_style)
    room_for_name = canvas.width - len(text) - 3
    name = clean_text(name, room_for_name, ascii_only=look.is_ascii)
    canvas.put(1, line, name, style)


def _progress(scene: Scene, group: Sequence[ScanRow]) -> str:
    """How fast a scan under way goes, and how long it still takes."""
    row = next((row for row in group if row.word == "running"), None)
    if row is None:
        return ""
    words: list[str] = []
    if row.images_per_second > 0:
        words.append(f"{row.images_per_second:,.0f} images/s")
    left = seconds_left(scene, row)
    if math.isfinite(left):
        words.append(f"{duration_text(left)} left")
    return ", ".join(words)


def seconds_left(scene: Scene, row: ScanRow) -> float:
    """How long a scan under way still takes; NaN where nobody knows.

    By the images that are left where they are known: later chunks are larger than the first.
    """
    pictures = (scene.picture, *scene.siblings, scene.beside)
    picture = next((one for one in pictures if one and one.scan_id == row.scan_id), None)
    if picture is not None and row.images_per_second > 0:
        examples = picture.result.geometry.examples
        left = sum(
            examples[name] * split.num_seen.size - int(split.num_seen.sum())
            for name, split in picture.result.splits.items()
        )
        return left / row.images_per_second
    if row.items_per_second > 0:
        return (row.total - row.done) / row.items_per_second
    return math.nan


def _word(group: Sequence[ScanRow]) -> str:
    """The state of a series: that of the scan most in need of being looked at."""
    return min((row.word for row in group), key=_WORST_FIRST.index)


def _group_name(scene: Scene, group: Sequence[ScanRow]) -> str:
    first = group[0]
    if len(group) == 1 or first.request is None:
        return scan_name(scene, first)
    request = first.request
    epochs = [row.request.epoch for row in group if row.request is not None]
    times = "x" if scene.look.is_ascii else "×"
    if len(set(epochs)) > 1:
        words = (
            f"{len(group)}{times}",
            *_what(scene, request),
            f"e{min(epochs)}..{max(epochs)}",
            _grid(request),
        )
    else:
        words = (
            f"{len(group)}{times}",
            *_what(scene, request),
            f"e{epochs[0]}",
            _grid(request),
        )
    return " ".join(words)


def scan_name(scene: Scene, row: ScanRow) -> str:
    """A scan in a few words: kinds, classes, span, epoch, points."""
    if row.request is None or scene.view is None:
        return row.scan_id
    request = row.request
    return " ".join((*_what(scene, request), f"e{request.epoch}", _grid(request)))


def _what(scene: Scene, request: ScanRequest) -> list[str]:
    """Kinds, classes and span."""
    names = () if scene.view is None else scene.view.description.class_names
    classes = "/".join(clean_text(names[c], 8) for c in request.classes if c < len(names))
    kinds = "/".join(dict.fromkeys(spec.kind for spec in request.directions))
    runs = (spec.toward_run for spec in request.directions if spec.toward_run is not None)
    others = "/".join(clean_text(Path(run).stem, 12) for run in runs)
    return [word for word in (kinds, classes, others, _span(scene, request)) if word]


def _span(scene: Scene, request: ScanRequest) -> str:
    if request.auto_span:
        return "auto"
    low, high = request.ranges[0]
    plus_minus = "+-" if scene.look.is_ascii else "±"
    return f"{plus_minus}{high:g}" if low == -high else f"{low:g}..{high:g}"


def _grid(request: ScanRequest) -> str:
    return "x".join(str(n) for n in request.points)
