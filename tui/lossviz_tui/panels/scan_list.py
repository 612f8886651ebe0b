"""The list of scans: one line for each, or for each series of them."""

from collections.abc import Sequence
from pathlib import Path

from textual.strip import Strip

from lossviz_analysis.store.requests import ScanRequest
from lossviz_tui.listing import ScanRow, scan_groups
from lossviz_tui.paint.cells import Canvas, Size, clean_text
from lossviz_tui.panels.texts import accent, muted, state_text, strong
from lossviz_tui.scene import Scene

_WORST_FIRST = ("failed", "damaged", "running", "interrupted", "queued", "cancelled", "done")


def scan_list(scene: Scene, size: Size) -> list[Strip]:
    """The scans, newest first, the one in focus marked; a series is one line."""
    canvas = Canvas(size)
    look = scene.look
    groups = list(reversed(scan_groups(scene.scans)))
    place = next((k for k, group in enumerate(groups) if scene.scan in group), 0)
    room = canvas.height - 1
    first = max(0, min(place - room // 2, len(groups) - room))
    canvas.put(0, 0, "scans", strong(look))
    canvas.put_right(canvas.width, 0, f"{place + 1} of {len(groups)}", muted(look))
    for line, group in enumerate(groups[first : first + room], start=1):
        is_here = scene.scan in group
        style = accent(look) if is_here else muted(look)
        if is_here:
            canvas.put(0, line, ">", style)
        text, state_style = state_text(_word(group), look)
        share = sum(row.share for row in group) / len(group)
        text += f" {100 * share:.0f}%" if _word(group) == "running" else ""
        places = [row.place for row in group if row.place]
        text += f" {min(places)}" if places and _word(group) == "queued" else ""
        canvas.put_right(canvas.width, line, text, state_style)
        room_for_name = canvas.width - len(text) - 3
        name = clean_text(_group_name(scene, group), room_for_name, ascii_only=look.is_ascii)
        canvas.put(1, line, name, style)
    return canvas.strips()


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
