"""The two lines at the top: what is true now, and which view this is."""

from functools import partial

from rich.cells import cell_len

from lossviz_analysis.store.reader import Pulse
from lossviz_analysis.store.schema import Phase
from lossviz_tui.keys import VIEW_NAMES, VIEW_TITLES
from lossviz_tui.navigation import view_chosen
from lossviz_tui.paint.cells import Canvas, Size, clean_text
from lossviz_tui.paint.targets import Lines, Target
from lossviz_tui.panels.overview import gpu_text
from lossviz_tui.panels.texts import EXPLAINED, accent, age_text, muted, state_text, strong
from lossviz_tui.scene import Scene

_GPU_WIDTH = 110
_GAP = "  "
_ENDED = ("finished", "stopped", "failed")
"""States after which no data are waited for."""
"""From this width on there is room for what the GPU does."""
_HINTS: dict[str, tuple[str, str]] = {
    "failed": ("log", "the log"),
    "crashed": ("log", "the log"),
    "paused": ("pause", "go on"),
}
"""Action and what it is for, by the state of a run."""
_PHASES: dict[int, str] = {Phase.EVALUATING: ", evaluating", Phase.SAVING: ", saving"}
"""What goes on between the last batch of an epoch and its record."""


def paint(scene: Scene, size: Size) -> Lines:
    """State, run, epoch, age of the data, scan; then the views by number."""
    canvas = Canvas(size)
    _draw_state(canvas, scene)
    column = 0
    tabs: list[Target] = []
    for number, (name, title) in enumerate(zip(VIEW_NAMES, VIEW_TITLES, strict=True), start=1):
        is_here = name == scene.selection.view
        text = f" {number} {title} "
        style = accent(scene.look) if is_here else muted(scene.look)
        canvas.put(column, 1, f"[{text.strip()}]" if is_here else text, style)
        choose = partial(view_chosen, name)
        tabs.append(Target(left=column, top=1, width=len(text), height=1, click=choose))
        column += len(text)
    room = max(0, canvas.width - column - 1)
    badge = clean_text(scene.trouble, room, ascii_only=scene.look.is_ascii)
    badge = badge or clean_text(scene.news, room) or _badge(scene, room)
    if badge:
        canvas.put_right(canvas.width, 1, f" {badge}", accent(scene.look))
    return Lines(canvas.strips(), tabs)


def _draw_state(canvas: Canvas, scene: Scene) -> None:
    look, view, standing = scene.look, scene.view, scene.standing
    if view is None or standing is None:
        text = f"{len(scene.runs)} runs below {scene.folder}"
        canvas.put(0, 0, clean_text(text, canvas.width, ascii_only=look.is_ascii), strong(look))
        return
    text, style = state_text(standing.word, look)
    canvas.put(0, 0, text, style)
    parts = _right(scene, with_gpu=canvas.width >= _GPU_WIDTH)
    while parts and cell_len(text) + 3 + cell_len(_GAP.join(parts)) > canvas.width:
        parts.pop(0)  # the age of the data stands last, and stays longest
    right = _GAP.join(parts)
    canvas.put_right(canvas.width, 0, right, muted(look))
    room = canvas.width - cell_len(right) - cell_len(text) - 3
    middle = f"{_epoch_text(scene)}  {view.path.name.removesuffix('.zarr')}"
    action, does = _HINTS.get(standing.word, ("", ""))
    key = scene.key(action)
    hint = f"  {key}: {does}" if key else ""
    if standing.word == "stalled" and len(standing.message) < room // 2:
        hint = f"  {standing.message}"
    if standing.message and standing.word in EXPLAINED:
        middle = standing.message
    # The middle is cut, not the hint: the rest of the sentence is in the log.
    words = clean_text(middle, room - len(hint), ascii_only=look.is_ascii)
    canvas.put(len(text) + 2, 0, words + hint, strong(look))


def _epoch_text(scene: Scene) -> str:
    view, standing = scene.view, scene.standing
    if view is None or standing is None:
        return ""
    planned = view.description.planned_epochs
    done = int(view.epochs[-1]) if len(view) else 0
    text = f"epoch {done}" + (f"/{planned}" if planned is not None else "")
    pulse = standing.pulse
    if standing.word == "live" and pulse is not None and pulse.epoch > done:
        text += _PHASES.get(pulse.phase, f" +{_percent_done(pulse)}%")
    return text


def _percent_done(pulse: Pulse) -> int:
    """Share of the epoch's batches that are done; the last one done is not the epoch's end."""
    return min(99, 100 * pulse.step // max(1, pulse.steps_per_epoch))


def _right(scene: Scene, *, with_gpu: bool) -> list[str]:
    """Age of the newest committed data, and what the scans are doing."""
    parts: list[str] = []
    going = [row for row in scene.scans if row.word in ("running", "queued", "interrupted")]
    if going:
        # What is computed says most; of what waits the one that comes next.
        first = min(going, key=lambda row: (row.word != "running", row.place))
        share = f" {100 * first.share:.0f}%" if first.word == "running" else ""
        more = f" +{len(going) - 1}" if len(going) > 1 else ""
        parts.append(f"scan {first.word}{share}{more}")
    if scene.view is not None and scene.view.num_waiting:
        have, total = len(scene.view.class_epochs), len(scene.view)
        parts.append(f"reading {have:,} of {total:,}")
    if scene.gpus and with_gpu:
        parts.append(gpu_text(scene))
    if scene.trouble:
        parts.append("store unreadable")
    if scene.view is not None and len(scene.view) and scene.standing is not None:
        age = age_text(scene.now - scene.standing.data_seen)
        has_ended = scene.standing.word in _ENDED
        parts.append(f"ended {age} ago" if has_ended else f"data {age} old")
    return parts


def _badge(scene: Scene, room: int) -> str:
    """Where the epoch is held, and what came since, in fewer words where there is no room."""
    if scene.view is None or scene.selection.epoch is None or scene.epoch is None:
        return ""
    newer = int((scene.view.epochs > scene.epoch).sum())
    text = f"HELD at {scene.epoch}" + (f", {newer} newer" if newer else "")
    return (
        text if len(text) <= room else f"HELD {scene.epoch}" + (f" +{newer}" if newer else "")
    )
