"""The data behind the screen: takes what the tail tells, and paints it on request.

Everything slow to import (numpy, zarr, the painters) hangs on this module, which the app loads
after its first frame.
"""

import contextlib
import locale
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

from rich.console import Console
from textual.message import Message
from textual.strip import Strip

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.files import read_text
from lossviz_analysis.store.reader import RunReader, find_runs, standing
from lossviz_analysis.store.scan_queue import set_order
from lossviz_analysis.store.scan_writer import revive
from lossviz_analysis.store.scans import ScanReader, cancel, scan_folder
from lossviz_analysis.store.schema import LOG_NAME, RUN_SUFFIX
from lossviz_tui import navigation
from lossviz_tui.attention import Attention
from lossviz_tui.exporting import (
    DATA_OF_VIEW,
    export_run,
    export_scan,
    write_anew,
    write_screen,
)
from lossviz_tui.figures.drawing import has_matplotlib
from lossviz_tui.figures.figure import write_figure
from lossviz_tui.formats import FORMATS, Format
from lossviz_tui.history import RunView
from lossviz_tui.keys import KEYS, VIEW_NAMES, VIEW_TITLES, Key
from lossviz_tui.launch import WORKER_LOG, ensure_worker, pause_run, resume_run, stop_run
from lossviz_tui.listing import RunRow, moved_in_queue, with_places
from lossviz_tui.messages import (
    GpusSampled,
    OverlaysAdvanced,
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
from lossviz_tui.panels.scan_list import scan_name
from lossviz_tui.panels.texts import centred
from lossviz_tui.scene import Scene
from lossviz_tui.screens.class_filter import ClassFilter
from lossviz_tui.screens.class_picker import ClassPicker
from lossviz_tui.screens.export_form import ExportForm
from lossviz_tui.screens.log import LogScreen
from lossviz_tui.screens.scan_form import ScanForm
from lossviz_tui.screens.train_form import TrainForm
from lossviz_tui.selection import Selection
from lossviz_tui.tail import Tail
from lossviz_tui.terminal import glyphs_of
from lossviz_tui.widgets.filter_line import FilterLine

_LOG_BYTES = 65_536
STATUS_ROWS = 2
"""Of the lines at the top."""

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
_ASCII_SIGNS = str.maketrans("▼↓┼◆○●≥×", "v!+vO@>x")
"""The signs of the sentences as the painters draw them in ASCII."""


class Stage:
    """The present scene and the tail that feeds it."""

    def __init__(
        self,
        path: Path,
        look: Look,
        post: Callable[[Message], object],
        *,
        readonly: bool = False,
        keys: tuple[Key, ...] = KEYS,
    ) -> None:
        run, self._folder = _run_and_folder(path)
        self._look = look
        self._scene = Scene(look=look, folder=self._folder, readonly=readonly, keys=keys)
        self._run = run
        self._painted: tuple[tuple[object, ...], list[Strip]] | None = None
        self._rows_read = 0
        self._format = FORMATS[0]
        self._attention = Attention()
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
                self._list(message.runs)
                if self._run is None and len(message.runs) == 1:
                    self.open_run()
            case RowsRead():
                self._rows_read += 1
            case OverlaysAdvanced():
                self._scene = replace(self._scene, overlays=message.overlays)
            case GpusSampled():
                self._scene = replace(self._scene, gpus=message.gpus)
            case TroubleChanged():
                self._scene = replace(self._scene, trouble=message.sentence)
            case RunAdvanced() | RunStirred() | ScansListed() | ScanFilled():
                if message.run == self._run:  # not a late word of the run before
                    self._take_of_run(message)
            case _:
                pass

    def _list(self, runs: tuple[RunRow, ...]) -> None:
        """Take another list of runs; the cursor stays on the run that it is on."""
        focus, scene = self._scene.run_in_focus, replace(self._scene, runs=runs)
        paths = [row.path for row in scene.shown_runs]
        if focus is not None and focus.path in paths:
            chosen = replace(scene.selection, run_row=paths.index(focus.path))
            scene = replace(scene, selection=chosen)
        self._scene = scene
        listed = {row.path for row in runs}
        marks = tuple(mark for mark in self.selection.marks if mark.path in listed)
        if marks != self.selection.marks:
            self._scene = replace(self._scene, selection=replace(self.selection, marks=marks))
            self._focus()

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
                    self._scene,
                    picture=message.picture,
                    siblings=message.siblings,
                    beside=message.beside,
                    unreadable=message.unreadable,
                )

    def _forget_if_replaced(self, view: RunView) -> None:
        """Where another run was put in this one's place, keep only which view is looked at."""
        old, selection = self._scene.view, self.selection
        if old is None or old.head.nonce == view.head.nonce:
            return
        self.select(selection.of_another_run(selection.view))
        self._scene = replace(
            self._scene,
            scans=(),
            picture=None,
            siblings=(),
            unreadable={},
            news="another run is here",
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
        if name == "landscape" and scene.scan is not None and scene.scan.word == "queued":
            return (scene, landscape.waits_for_worker(replace(scene, now=time.monotonic())))
        if view is None or len(view) < 2 or name not in DATA_OF_VIEW:
            return (scene,)
        gpus = scene.gpus if name == "overview" else ()
        return (scene.selection, view, self._rows_read, scene.overlays, gpus)

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
        text = _HELP[self.selection.view]
        if self._look.is_ascii:
            text = text.translate(_ASCII_SIGNS)
        return text

    def open_run(self) -> None:
        """Open the run in focus in the list."""
        row = self._scene.run_in_focus
        if row is None:
            return
        if row.path != self._run:
            self._turn_to(row.path)
        self.select(replace(self.selection, view="overview"))

    def _turn_to(self, run: Path) -> None:
        """Another run: nothing is known of it yet, what belongs to none stays."""
        old = self._scene
        self._scene = Scene(
            look=self._look,
            folder=self._folder,
            readonly=old.readonly,
            keys=old.keys,
            runs=old.runs,
            overlays=old.overlays,
            gpus=old.gpus,
        )
        self._run = run
        self.select(old.selection.of_another_run("overview"))

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
            case "landscape" if self.selection.point is None:
                self.select(navigation.inspection_toggled(self.scene))
            case _:
                pass

    def scan_form(self) -> ScanForm:
        """A form for the next scan, with the pair in focus filled in."""
        scene = self.scene
        if scene.view is None:
            raise StoreError("open a run first")
        return ScanForm(scene, RunReader(scene.view.path))

    def filter_line(self) -> FilterLine:
        """A line to type in which runs are listed, with the present words filled in."""
        return FilterLine(self.selection.run_filter)

    def class_picker(self) -> ClassPicker:
        """A line to type class names in, with the present ones filled in."""
        scene = self.scene
        if scene.view is None:
            raise StoreError("open a run first")
        return ClassPicker(scene.view.description.class_names, scene.chosen_classes)

    def class_filter(self) -> ClassFilter:
        """A line to type part of class names in, with the present one filled in."""
        scene = self.scene
        if scene.view is None:
            raise StoreError("open a run first")
        return ClassFilter(scene.view.description.class_names, self.selection.class_filter)

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

    def stop(self) -> tuple[str, Callable[[], str]]:
        """The question before the training of the run in focus is ended, and how it is done."""
        run = self._run_in_focus()
        name = clean_text(run.name.removesuffix(".zarr"), 40)
        reader = RunReader(run)
        word = standing(reader, reader.head()).word
        if word not in ("live", "waiting", "disk full", "paused"):
            raise StoreError(f"{name} is {word}; there is nothing to stop")

        def deed() -> str:
            stop_run(run)
            on = self.scene.hint("goes on from its last checkpoint", "pause")
            return "; ".join(filter(None, (f"{name} has stopped", on)))

        return f"Stop the training of {name}? It writes a checkpoint first, and leaves.", deed

    def train_form(self) -> TrainForm:
        """A form for a new training run in the folder of the runs."""
        return TrainForm(self._folder, ascii_only=self._look.is_ascii)

    def training_started(self, run: Path) -> None:
        """Look at a run that was just made."""
        self._turn_to(run)

    def _run_in_focus(self) -> Path:
        """The run under the cursor in the list of runs; elsewhere the open one."""
        row = self._scene.run_in_focus
        if self.selection.view == "runs" and row is not None:
            return row.path
        if self._run is None:
            raise StoreError("open a run first")
        return self._run

    def attend(self) -> None:
        """Have a scan under way compute first what lies under the cursor."""
        scene = self._scene
        if scene.view is not None and scene.selection.view == "landscape":
            self._attention.turn_to(scene, time.monotonic())

    def scan_started(self, scan_id: str) -> None:
        """Look at a scan that was just asked for."""
        self._scene = replace(self._scene, worker_asked=time.monotonic())
        self.select(replace(self.selection, scan_id=scan_id, view="landscape"))

    def resume_scan(self) -> str:
        """See to it that somebody goes on with the scans that wait; a sentence about it.

        The scan in focus is one of them if it was cancelled.
        """
        scene = self.scene
        row = scene.scan
        if scene.view is not None and row is not None and row.word == "cancelled":
            revive(scan_folder(scene.view.path, row.scan_id))
            self._start_worker(scene.view.path)
            return "the scan goes on from what is done"
        if scene.view is None or not any(
            row.word in ("queued", "interrupted") for row in scene.scans
        ):
            raise StoreError("no scan waits for a worker")
        self._start_worker(scene.view.path)
        return "the scan worker goes on with what waits"

    def _start_worker(self, run: Path) -> None:
        ensure_worker(run)
        self._scene = replace(self._scene, worker_asked=time.monotonic())

    def cancel_scan(self) -> tuple[str, Callable[[], str]]:
        """The question before the scan in focus is cancelled, and how that one is."""
        scene = self.scene
        row = scene.scan
        if scene.view is None or row is None:
            raise StoreError("there is no scan to cancel")
        _refuse_ended(row.word)
        scan = ScanReader(scene.view.path, row.scan_id)

        def deed() -> str:
            word = scan.state_word(scan.head())
            _refuse_ended(word)  # while the question stood there
            cancel(scan.folder)
            return "asked the scan to stop; what is done is kept"

        name = self.printable(scan_name(scene, row))
        return f"Cancel the scan {name}? What is done is kept.", deed

    def move_scan(self, step: int) -> str:
        """Have the scan in focus, or its series, computed sooner or later; a sentence."""
        scene = self.scene
        if scene.view is None or scene.scan is None:
            raise StoreError("there is no scan to move")
        order = moved_in_queue(scene.scans, scene.scan.scan_id, step)
        set_order(scene.view.path, order)
        self._scene = replace(self._scene, scans=with_places(scene.scans, order))
        moved = self.scene.scan
        place = moved.place if moved is not None else 0
        return f"number {place} of {len(order)} in the queue" if place else "moved in the queue"

    def export_form(self) -> ExportForm:
        """The formats in which the view in focus can be written, the last one first."""
        what = VIEW_TITLES[VIEW_NAMES.index(self.selection.view)]
        self._file_stem(self.scene)  # or why there is nothing to write
        title = f"Write {what} to a file in this folder"
        return ExportForm(title, self._format, has_figures=has_matplotlib())

    def export(self, how: Format, size: Size) -> Path:
        """Write the view in focus to a new file in the present folder.

        The screen is that of a view of `size`, with the lines of status over it.
        """
        self._format = how
        scene = self.scene
        stem = self._file_stem(scene)
        write = partial(self._write, scene, how, size, stem)
        try:
            return write_anew(Path.cwd(), stem, how.suffix, write)
        except (LossvizError, OSError):
            raise
        except Exception as error:  # a store may not take the screen down
            why = f"{type(error).__name__}: {error}"
            raise LossvizError(f"{stem}{how.suffix}: {why}") from error

    def _write(self, scene: Scene, how: Format, size: Size, title: str, out: Path) -> None:
        match how.kind:
            case "screen":
                top = status.paint(scene, (size[0], STATUS_ROWS))
                lines = [*top, *_PAINTERS[scene.selection.view](scene, size)]
                write_screen(lines, out, dark=self._look.dark, title=title)
            case "figure":
                write_figure(scene, out)
            case "data":
                self._export_data(scene, out)

    def _file_stem(self, scene: Scene) -> str:
        """Run, view, and epoch or scan: what a file of a view is called."""
        view = scene.selection.view
        if view == "runs":
            return f"{clean_text(scene.folder.name, 60) or 'folder'}-runs"
        if scene.view is None:
            raise StoreError("open a run first")
        name = clean_text(scene.view.path.name.removesuffix(".zarr"), 60) or "run"
        name = name.replace("/", "-").replace("\\", "-")
        if view != "landscape":
            return f"{name}-{view}-epoch{scene.epoch or 0}"
        if scene.scan is None:
            raise StoreError("there is no scan to export")
        return f"{name}-landscape-{clean_text(scene.scan.scan_id, 80)}"

    def _export_data(self, scene: Scene, out: Path) -> None:
        if scene.selection.view == "runs":
            raise StoreError("the numbers of the list are what `lossviz-tui runs --json` says")
        if scene.view is None:
            raise StoreError("open a run first")
        reader = RunReader(scene.view.path)
        if scene.selection.view == "landscape" and scene.scan is not None:
            export_scan(reader, scene.scan.scan_id, out)
        else:
            export_run(reader, DATA_OF_VIEW[scene.selection.view], out, epoch=scene.epoch)

    def _focus(self) -> None:
        self.tail.focus(self._run, self.selection.scan_id, self.selection.beside)
        paths = (mark.path for mark in self.selection.marks)
        self.tail.overlay(tuple(path for path in paths if path != self._run))


def _run_and_folder(path: Path) -> tuple[Path | None, Path]:
    """The run a path means, if it means one, and the folder to list runs of."""
    # What may not be looked into, or has a name that is too long, is told by the tail.
    path = path.absolute()
    with_ending = path.with_name(path.name + RUN_SUFFIX) if path.name else path
    with contextlib.suppress(OSError):
        for candidate in (path, with_ending):
            if (candidate / "records").is_dir():
                return candidate, candidate.parent
        if path.is_dir():
            below = find_runs(path)
            return (below[0].absolute() if len(below) == 1 else None), path
    if path.suffix == RUN_SUFFIX:
        return path, path.parent  # it may appear later
    return None, path


def _encoding() -> str:
    """What the terminal is written in: the locale's, unless PYTHONIOENCODING says less."""
    usual = locale.getpreferredencoding(do_setlocale=False)
    said = getattr(sys.__stderr__, "encoding", None) or usual
    return usual if "utf" in said.lower() else said


def _refuse_ended(word: str) -> None:
    if word not in ("queued", "running", "interrupted"):
        raise StoreError(f"the scan is {word} already")


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
    if charset == "auto":
        charset = glyphs_of(os.environ, _encoding())
    return Look(charset=charset, color=depth, dark=dark)
