"""The data behind the screen: takes what the tail tells, and paints it on request.

Everything slow to import (numpy, zarr, the painters) hangs on this module, which the app loads
after its first frame.
"""

import locale
import os
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

from rich.console import Console
from textual.message import Message
from textual.strip import Strip

from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.files import read_text
from lossviz_analysis.store.reader import RunReader, find_runs, standing
from lossviz_analysis.store.scan_writer import revive
from lossviz_analysis.store.scans import cancel, scan_folder
from lossviz_analysis.store.schema import LOG_NAME
from lossviz_tui import navigation
from lossviz_tui.exporting import RunData, export_run, export_scan
from lossviz_tui.history import RunView
from lossviz_tui.launch import WORKER_LOG, ensure_worker, pause_run, resume_run
from lossviz_tui.messages import (
    RowsRead,
    RunAdvanced,
    RunsListed,
    RunStirred,
    ScanFilled,
    ScansListed,
    TroubleChanged,
)
from lossviz_tui.paint.cells import Size, clean_text
from lossviz_tui.paint.palettes import Charset, ColorDepth, Look
from lossviz_tui.panels import cctm, dance, landscape, notes, overview, runs, status
from lossviz_tui.panels.texts import centred
from lossviz_tui.scene import Scene
from lossviz_tui.screens.class_picker import ClassPicker
from lossviz_tui.screens.log import LogScreen
from lossviz_tui.screens.scan_form import ScanForm
from lossviz_tui.selection import Selection
from lossviz_tui.tail import Tail

_LOG_BYTES = 65_536

Painter = Callable[[Scene, Size], list[Strip]]

_PAINTERS: dict[str, Painter] = {
    "runs": runs.paint,
    "overview": overview.paint,
    "dance": dance.paint,
    "notes": notes.paint,
    "cctm": cctm.paint,
    "landscape": landscape.paint,
}
_HELP: dict[str, str] = {
    "runs": runs.HELP,
    "overview": overview.HELP,
    "dance": dance.HELP,
    "notes": notes.HELP,
    "cctm": cctm.HELP,
    "landscape": landscape.HELP,
}
_EXPORTED: dict[str, RunData] = {
    "overview": "scalars",
    "dance": "recall",
    "notes": "notes",
    "cctm": "cctm",
}


class Stage:
    """The present scene and the tail that feeds it."""

    def __init__(self, path: Path, look: Look, post: Callable[[Message], object]) -> None:
        run, self._folder = _run_and_folder(path)
        self._look = look
        self._scene = Scene(look=look, folder=self._folder)
        self._run = run
        self._painted: tuple[tuple[object, ...], list[Strip]] | None = None
        self._rows_read = 0
        self.tail = Tail(self._folder, post)
        if run is not None:
            self.select(replace(self.selection, view="overview"))
        self._focus()

    @property
    def selection(self) -> Selection:
        """What is being looked at."""
        return self._scene.selection

    def select(self, selection: Selection) -> None:
        """Look at something else."""
        self._scene = replace(self._scene, selection=selection, news="")
        self._focus()

    @property
    def scene(self) -> Scene:
        """This moment."""
        return replace(self._scene, now=time.monotonic())

    def take(self, message: Message) -> None:
        """Take in what the tail told."""
        match message:
            case RunsListed():
                self._scene = replace(self._scene, runs=message.runs)
                if self._run is None and len(message.runs) == 1:
                    self.open_run()
            case RowsRead():
                self._rows_read += 1
            case TroubleChanged():
                self._scene = replace(self._scene, trouble=message.sentence)
            case RunAdvanced() | RunStirred() | ScansListed() | ScanFilled():
                if message.run == self._run:  # not a late word of the run before
                    self._take_of_run(message)
            case _:
                pass

    def _take_of_run(
        self, message: RunAdvanced | RunStirred | ScansListed | ScanFilled
    ) -> None:
        match message:
            case RunAdvanced():
                self._forget_if_replaced(message.view)
                self._scene = replace(self._scene, view=message.view)
            case RunStirred():
                self._scene = replace(self._scene, standing=message.standing)
            case ScansListed():
                self._scene = replace(self._scene, scans=message.scans)
            case ScanFilled():
                self._scene = replace(
                    self._scene, picture=message.picture, siblings=message.siblings
                )

    def _forget_if_replaced(self, view: RunView) -> None:
        """Where another run was put in this one's place, keep only which view is looked at."""
        old, selection = self._scene.view, self.selection
        if old is None or old.head.nonce == view.head.nonce:
            return
        kept = Selection(view=selection.view, run_row=selection.run_row)
        self.select(kept)
        self._scene = replace(
            self._scene, scans=(), picture=None, siblings=(), news="another run is here"
        )

    def paint(self, size: Size) -> list[Strip]:
        """The view in focus; painted anew only when something it shows may have changed."""
        scene = self._scene
        subject = (*self._subject(scene), tuple(size))
        painted = self._painted
        if painted is not None and painted[0] == subject:
            return painted[1]
        lines = _PAINTERS[scene.selection.view](replace(scene, now=time.monotonic()), size)
        if scene.selection.view != "runs":  # which shows ages
            self._painted = (subject, lines)
        return lines

    def _subject(self, scene: Scene) -> tuple[object, ...]:
        """What the view in focus shows: curves of epochs do not follow signs of life."""
        view, name = scene.view, scene.selection.view
        if view is None or len(view) < 2 or name not in _EXPORTED:
            return (scene,)
        return (scene.selection, view, self._rows_read)

    def paint_failure(self, size: Size, error: Exception) -> list[Strip]:
        """What stands where a view could not be drawn."""
        why = clean_text(f"{type(error).__name__}: {error}", 200)
        return centred(size, ["this view cannot be drawn", why], self._look)

    def paint_status(self, size: Size) -> list[Strip]:
        """The lines at the top."""
        return status.paint(self.scene, size)

    def printable(self, sentence: str) -> str:
        """A sentence without what a terminal would obey or a person could not read."""
        return clean_text(sentence, 400, ascii_only=self._look.is_ascii)

    def how_to_read(self) -> str:
        """One sentence or two about the view in focus."""
        return _HELP[self.selection.view]

    def open_run(self) -> None:
        """Open the run in focus in the list."""
        rows = self._scene.runs
        if not rows:
            return
        row = rows[min(self.selection.run_row, len(rows) - 1)]
        if row.path != self._run:
            kept = Selection(view="overview", run_row=self.selection.run_row)
            self._scene = Scene(look=self._look, folder=self._folder, runs=rows, selection=kept)
            self._run = row.path
        self.select(replace(self.selection, view="overview"))

    @property
    def has_run(self) -> bool:
        """Whether a run is open."""
        return self._run is not None

    def opened(self) -> None:
        """What enter does in the view in focus."""
        match self.selection.view:
            case "runs":
                self.open_run()
            case "cctm":
                self.select(navigation.pair_of_cell(self.scene))
            case "overview":
                self.select(replace(self.selection, view="dance"))
            case _:
                pass

    def scan_form(self) -> ScanForm:
        """A form for the next scan, with the pair in focus filled in."""
        scene = self.scene
        if scene.view is None:
            raise StoreError("open a run first")
        return ScanForm(scene, RunReader(scene.view.path))

    def class_picker(self) -> ClassPicker:
        """A line to type class names in, with the present ones filled in."""
        scene = self.scene
        if scene.view is None:
            raise StoreError("open a run first")
        return ClassPicker(scene.view.description.class_names, notes.chosen_classes(scene))

    def log_screen(self) -> LogScreen:
        """What the daemon and the scan worker of the run in focus printed, as it stands."""
        run = self._run_in_focus()
        reader = RunReader(run)

        def read() -> tuple[str, str]:
            worker = read_text(run / "scans" / WORKER_LOG, limit=_LOG_BYTES)
            return reader.log_tail(_LOG_BYTES), worker

        return LogScreen(
            (LOG_NAME, f"scans/{WORKER_LOG}"),
            read,
            first=1 if self.selection.view == "landscape" else 0,
        )

    def pause_or_resume(self) -> tuple[str, Callable[[], str]]:
        """What can be asked of the training of the run in focus, and how it is done."""
        run = self._run_in_focus()
        name = clean_text(run.name.removesuffix(".zarr"), 40)
        reader = RunReader(run)
        word = standing(reader, reader.head()).word
        match word:
            case "live" | "waiting" | "disk full":
                question = f"Pause the training of {name}? It writes a checkpoint first."
                return question, partial(pause_run, run)
            case "paused":
                return f"Let the training of {name} go on?", partial(resume_run, run)
            case "never ran":
                return f"Start the training of {name}?", partial(resume_run, run)
            case "stopped" | "crashed" | "failed":
                question = f"Start the training of {name} again, from its last checkpoint?"
                return question, partial(resume_run, run)
            case _:
                raise StoreError(f"{name} is {word}; there is nothing to pause")

    def _run_in_focus(self) -> Path:
        """The run under the cursor in the list of runs; elsewhere the open one."""
        rows = self._scene.runs
        if self.selection.view == "runs" and rows:
            return rows[min(self.selection.run_row, len(rows) - 1)].path
        if self._run is None:
            raise StoreError("open a run first")
        return self._run

    def scan_started(self, scan_id: str) -> None:
        """Look at a scan that was just asked for."""
        self.select(replace(self.selection, scan_id=scan_id, view="landscape"))

    def resume_scan(self) -> str:
        """See to it that somebody goes on with the scans that wait; a sentence about it.

        The scan in focus is one of them if it was cancelled.
        """
        scene = self.scene
        row = scene.scan
        if scene.view is not None and row is not None and row.word == "cancelled":
            revive(scan_folder(scene.view.path, row.scan_id))
            ensure_worker(scene.view.path)
            return "the scan goes on from what is done"
        if scene.view is None or not any(
            row.word in ("queued", "interrupted") for row in scene.scans
        ):
            raise StoreError("no scan waits for a worker")
        ensure_worker(scene.view.path)
        return "the scan worker goes on with what waits"

    def cancel_scan(self) -> str:
        """Ask for the scan in focus to stop; a sentence about it."""
        scene = self.scene
        row = scene.scan
        if scene.view is None or row is None:
            raise StoreError("there is no scan to cancel")
        if row.word not in ("queued", "running", "interrupted"):
            raise StoreError(f"the scan is {row.word} already")
        cancel(scan_folder(scene.view.path, row.scan_id))
        if row.word == "interrupted":
            ensure_worker(scene.view.path)  # a dead worker's scan needs one to end it
        return "asked the scan to stop; what is done is kept"

    def export(self) -> Path:
        """Write the data of the view in focus to a file in the present folder."""
        scene = self.scene
        if scene.view is None:
            raise StoreError("open a run first")
        reader = RunReader(scene.view.path)
        name = clean_text(scene.view.path.name.removesuffix(".zarr"), 100) or "run"
        if self.selection.view == "landscape":
            if scene.scan is None:
                raise StoreError("there is no scan to export")
            out = Path(f"{name}-{scene.scan.scan_id}.npz")
            export_scan(reader, scene.scan.scan_id, out)
        else:
            what = _EXPORTED[self.selection.view]
            out = Path(
                f"{name}-{what}-epoch{scene.view.epochs[-1] if len(scene.view) else 0}.csv"
            )
            export_run(reader, what, out)
        return out.absolute()

    def _focus(self) -> None:
        self.tail.focus(self._run, self.selection.scan_id)


def _run_and_folder(path: Path) -> tuple[Path | None, Path]:
    """The run a path means, if it means one, and the folder to list runs of."""
    for candidate in (path, path.with_name(path.name + ".zarr")):
        if candidate.name and (candidate / "records").is_dir():
            return candidate.absolute(), candidate.absolute().parent
    if path.is_dir():
        below = find_runs(path)
        return (below[0].absolute() if len(below) == 1 else None), path.absolute()
    if path.suffix == ".zarr":
        return path.absolute(), path.absolute().parent  # it may appear later
    return None, path.absolute()


def look_for(
    color: str, charset: Literal["auto"] | Charset, *, dark: bool, console: Console
) -> Look:
    """How to draw on this terminal."""
    depths: dict[str | None, ColorDepth] = {
        "truecolor": "truecolor",
        "256": "256",
        "standard": "16",
        "16": "16",
        "windows": "16",
        "none": "none",
        None: "none",
    }
    depth = depths.get(console.color_system if color == "auto" else color, "256")
    if "NO_COLOR" in os.environ:
        depth = "none"
    return Look(charset=_charset(charset), color=depth, dark=dark)


def _charset(wanted: Literal["auto"] | Charset) -> Charset:
    if wanted != "auto":
        return wanted
    if "utf" not in locale.getpreferredencoding(do_setlocale=False).lower():
        return "ascii"
    # The Linux console has block glyphs but no braille.
    return "blocks" if os.environ.get("TERM") == "linux" else "braille"
