"""Marked runs beside the open one: who they are, and which curve is whose."""

import os
from dataclasses import dataclass

from rich.cells import cell_len
from rich.style import Style
from textual.strip import Strip

from lossviz_analysis.store.schema import RUN_SUFFIX
from lossviz_tui.history import RunView
from lossviz_tui.paint.cells import Canvas, clean_text
from lossviz_tui.paint.palettes import Look, category_style, marker_for
from lossviz_tui.panels.texts import muted
from lossviz_tui.scene import Scene
from lossviz_tui.selection import OPEN_SLOT

_MAX_NAME = 60
_MAX_LINES = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class DrawnRun:
    """One of several runs in the same charts."""

    name: str
    """As a person reads it; not cut yet."""
    slot: int
    """Its colour and glyph."""
    is_open: bool
    view: RunView | None
    note: str = ""
    """Why it is not drawn, or a number of its own."""


def drawn_runs(scene: Scene) -> tuple[DrawnRun, ...]:
    """The open run, then the marked ones; none where no other than the open one is marked."""
    view, overlays = scene.view, {one.path: one for one in scene.overlays}
    if view is None:
        return ()
    slots = {mark.path: mark.slot for mark in scene.selection.marks}
    others = [path for path in slots if path != view.path]
    if not others:
        return ()
    names = [path.name.removesuffix(RUN_SUFFIX) for path in (view.path, *others)]
    if len(set(names)) < len(names):  # the same name in several folders
        paths = (view.path, *others)
        names = [os.path.relpath(path, scene.folder).removesuffix(RUN_SUFFIX) for path in paths]
    found = [
        DrawnRun(name=names[0], slot=slots.get(view.path, OPEN_SLOT), is_open=True, view=view)
    ]
    for name, path in zip(names[1:], others, strict=True):
        overlay = overlays.get(path)
        other = None if overlay is None else overlay.view
        note = "" if other is not None else "reading"
        if overlay is not None and overlay.trouble:
            note = "unreadable"
        found.append(
            DrawnRun(name=name, slot=slots[path], is_open=False, view=other, note=note)
        )
    return tuple(found)


def run_legend(runs: tuple[DrawnRun, ...], width: int, look: Look) -> list[Strip]:
    """Glyph and name of each run, in as few lines as hold them, the open one in bold."""
    names = [clean_text(run.name, _MAX_NAME, ascii_only=look.is_ascii) for run in runs]
    notes = [f" {run.note}" if run.note else "" for run in runs]
    rest = 4  # glyph, blank, and two blanks to the next
    room = max(1, _MAX_LINES * width // max(1, len(runs)) - rest - max(map(len, notes)) - 2)
    if sum(cell_len(name) + rest for name in names) > width:
        names = _told_apart(names, look)
    entries: list[tuple[str, str, Style]] = []
    for run, name, note in zip(runs, names, notes, strict=True):
        text = (
            f"{marker_for(look, run.slot)} {clean_text(name, room, ascii_only=look.is_ascii)}"
        )
        entries.append((text, note, category_style(look, run.slot, bold=run.is_open)))
    places: list[tuple[int, int]] = []
    row = column = 0
    for text, note, _ in entries:
        length = cell_len(text) + cell_len(note)
        if column and column + length > width:
            row, column = row + 1, 0
        places.append((column, row))
        column += length + 2
    canvas = Canvas((width, row + 1))
    for (column, row), (text, note, style) in zip(places, entries, strict=True):
        canvas.put(column, row, text, style)
        canvas.put(column + cell_len(text), row, note, muted(look))
    return canvas.strips()


def _told_apart(names: list[str], look: Look) -> list[str]:
    """Names without the beginning that all of them share, up to the last whole word of it."""
    shared = os.path.commonprefix(names)
    shared = shared[: max((shared.rfind(sign) + 1 for sign in "-_./ "), default=0)]
    if len(shared) < 4:
        return names
    ellipsis = "~" if look.is_ascii else "…"
    return [ellipsis + name[len(shared) :] for name in names]
