"""The app: a switchboard between keys, the tail and the views.

Nothing slow is imported here. What the views need (numpy, zarr, the painters) comes with
`stage`, loaded on a thread after the first frame.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual import actions, constants, on, work
from textual.app import App, ComposeResult, SystemCommand
from textual.driver import Driver
from textual.events import Resize
from textual.geometry import Size
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Footer

from lossviz_analysis.errors import LossvizError
from lossviz_tui.messages import DeedDone, Painted, Replaceable
from lossviz_tui.options import AppOptions
from lossviz_tui.screens.confirm import ConfirmScreen
from lossviz_tui.screens.help import HelpScreen
from lossviz_tui.selection import Selection
from lossviz_tui.terminal import refuse_no_terminal
from lossviz_tui.widgets.budget import ByteBudget
from lossviz_tui.widgets.rowdiff import RowDiffView
from lossviz_tui.wire import WireDriver, on_a_wire

if TYPE_CHECKING:
    from lossviz_tui.formats import Format
    from lossviz_tui.stage import Stage
    from lossviz_tui.widgets.filter_line import FilterLine

EXIT_HANGUP = 128 + signal.SIGHUP
POLL_SECONDS = 0.25
READING_SECONDS = 0.05
"""Between two looks while there is more to read at once; the screen needs the processor too."""
BYTES_PER_SECOND = 30_000.0
SLOW_FACTOR = 0.5
FRAME_SECONDS = 0.6
"""For how long each frame of a film is shown."""


class StageSet(Message):
    """Everything the views need has been loaded."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        super().__init__()


class LossvizApp(App[None]):
    """Watches one run, or lets one be picked."""

    TITLE = "lossviz-tui"
    CSS = """
    Screen { layout: vertical; }
    #status { height: 2; }
    #view { height: 1fr; }
    LossvizApp.-ascii ModalScreen > * { border: ascii $primary; }
    """

    def __init__(self, path: Path, options: AppOptions) -> None:
        super().__init__()
        self._path = path
        self._options = options
        self._stage: Stage | None = None
        self._paint_number = 0
        self._shown_number = 0
        self._is_urgent = False
        self._leaving = threading.Event()
        rate = BYTES_PER_SECOND * (SLOW_FACTOR if options.slow else 1.0)
        self._budget = ByteBudget(rate, time.monotonic, burst_bytes=3 * rate)
        for key in filter(lambda key: key.keys, options.keys):
            self.bind(
                key.keys,
                key.action,
                description=key.label,
                show=key.in_footer,
                key_display=key.shown,
            )

    def get_driver_class(self) -> type[Driver]:
        """Textual's choice of a driver, on a wire that sends only what differs.

        Who names a driver in TEXTUAL_DRIVER gets that one as it is.
        """
        found = super().get_driver_class()
        return found if constants.DRIVER else on_a_wire(found)

    def on_resize(self, _: Resize) -> None:
        """A terminal of another size may have moved or dropped what it showed."""
        if isinstance(self._driver, WireDriver):
            self._driver.forget()

    def compose(self) -> ComposeResult:
        """Two lines of status, one view, the keys."""
        yield RowDiffView(id="status")
        yield RowDiffView(id="view", budget=self._budget, placeholder=" loading")
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        """Restore the terminal on signals that would leave it broken, then load the rest."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._leave, 128 + number)
        self.theme = "textual-light" if self._options.light else "textual-dark"
        self.call_after_refresh(self._load)

    def _leave(self, code: int) -> None:
        self.exit(return_code=code)

    def on_unmount(self) -> None:
        """Let the thread that polls go."""
        self._leaving.set()

    @work(thread=True, group="tail")
    def _load(self) -> None:
        """Load the stage, then follow the run until the app leaves."""
        module: Any = importlib.import_module("lossviz_tui.stage")
        look = module.look_for(
            self._options.color,
            self._options.charset,
            dark=not self._options.light,
            console=self.console,
        )
        if self._options.trust:
            importlib.import_module("lossviz_tui.launch").trust_factories()
        stage: Stage = module.Stage(
            self._path,
            look,
            self.post_message,
            readonly=self._options.readonly,
            keys=self._options.keys,
        )
        self.post_message(StageSet(stage))
        usual = POLL_SECONDS / (SLOW_FACTOR if self._options.slow else 1.0)
        pause = usual
        while not self._leaving.wait(pause):
            if isinstance(self._driver, WireDriver) and self._driver.is_cut:
                # Textual would wait for ever to write the rest, and spin where it reads.
                os._exit(EXIT_HANGUP)
            pause = READING_SECONDS if stage.tail.step() else usual

    def on_stage_set(self, message: StageSet) -> None:
        """From here on there is something to show."""
        self._stage = message.stage
        self.set_class(message.stage.scene.look.is_ascii, "-ascii")
        self.set_interval(1.0, self._tick)
        self.set_interval(FRAME_SECONDS, self._play)
        self._repaint(urgent=True)
        self.refresh_bindings()

    @on(Replaceable)
    def take(self, message: Replaceable) -> None:
        """Take what the tail told, and show it."""
        if self._stage is not None:
            self._stage.take(message)
            self._repaint()

    def on_row_diff_view_size_changed(self, message: RowDiffView.SizeChanged) -> None:
        """Paint for the new size."""
        message.stop()
        self._repaint(urgent=True)

    def _tick(self) -> None:
        """What happens every second, whatever else does."""
        # Textual 8 waits with a resize for a timer that is never called where the machine
        # stops the program for 8 ms at the wrong moment, and then follows no other resize.
        self._check_resize()
        self._repaint()

    def _repaint(self, *, urgent: bool = False) -> None:
        """Paint the present scene on a thread; an older painting under way is dropped."""
        if self._stage is None or not self.is_running:
            return
        self._paint_number += 1
        # The answer to a key press stays urgent when a newer painting overtakes it.
        self._is_urgent = urgent = urgent or self._is_urgent
        status, view = (self.query_one(f"#{name}", RowDiffView) for name in ("status", "view"))
        self._paint(self._paint_number, status.content_size, view.content_size, urgent)

    @work(thread=True, group="paint", exclusive=True)
    def _paint(self, number: int, status: Size, view: Size, urgent: bool) -> None:
        stage = self._stage
        if stage is None or number < self._paint_number:
            return
        if not self._options.readonly:
            stage.attend()
        try:
            lines = stage.paint(view)
        except Exception as error:  # noqa: BLE001  # nor may what is in it
            lines = stage.paint_failure(view, error)
        self.post_message(Painted(number, stage.paint_status(status), lines, urgent))

    def on_painted(self, message: Painted) -> None:
        """Show what was painted, unless something newer is on its way."""
        if message.number < self._shown_number:  # a slower thread's
            return
        if message.number < self._paint_number and not message.urgent:
            return
        self._shown_number = message.number
        self._is_urgent = self._is_urgent and message.number < self._paint_number
        self.query_one("#status", RowDiffView).show(message.status, urgent=message.urgent)
        self.query_one("#view", RowDiffView).show(message.view, urgent=message.urgent)

    # Actions: each is one line of the table of keys.

    def _select(self, selection: Selection) -> None:
        if self._stage is not None:
            self._stage.select(selection)
            self._repaint(urgent=True)
            self.refresh_bindings()
            if selection.view != "runs":
                self.query("#filter").remove()

    def action_view(self, name: str) -> None:
        """Another view."""
        if self._stage is not None:
            self._select(replace(self._stage.selection, view=name))

    def on_row_diff_view_clicked(self, message: RowDiffView.Clicked) -> None:
        """Do what a click means there; a second one may open what was chosen."""
        message.stop()
        if self._stage is not None and message.target.click is not None:
            self._select(message.target.click(self._stage.scene, message.x, message.y))
            opens = message.is_double and message.target.opens
            if opens and self.check_action("open", ()):
                self.action_open()

    def on_row_diff_view_wheeled(self, message: RowDiffView.Wheeled) -> None:
        """Do what the wheel means there."""
        message.stop()
        target = message.target
        if self._stage is None:
            return
        if target is not None and target.wheel is not None:
            self._select(target.wheel(self._stage.scene, message.step))
        else:
            self._navigate("wheeled", message.step)

    def _navigate(self, how: str, *steps: int) -> None:
        """A step of `navigation`, named because that module is loaded late."""
        if self._stage is not None:
            step = getattr(importlib.import_module("lossviz_tui.navigation"), how)
            self._select(step(self._stage.scene, *steps))

    def action_epoch(self, step: int) -> None:
        """Another epoch, by the keys that move within the CCTM."""
        self._navigate("epoch_moved", step)

    def action_step(self, step: int) -> None:
        """Another epoch, in every view of epochs."""
        self._navigate("epoch_moved", step)

    def action_column(self, step: int) -> None:
        """The entry beside in the CCTM."""
        self._navigate("cell_moved", 0, step)

    def action_first(self) -> None:
        """The first epoch."""
        self._navigate("first_epoch")

    def action_hold(self) -> None:
        """Hold this epoch, or follow again."""
        self._navigate("epoch_held")

    def action_move(self, step: int) -> None:
        """Another line of the list at hand."""
        self._navigate("moved", step)

    def on_key(self) -> None:
        """A sentence told has been read when the next key comes; it covers what is below."""
        if self._notifications:
            self.clear_notifications()

    def action_help_quit(self) -> None:
        """What ctrl+c does, since many mean to leave by it."""
        leave = next((key.shown for key in self._options.keys if key.action == "quit"), "")
        self._say(f"{leave or 'ctrl+q'} leaves; training and scans go on")

    def action_set(self, change: str) -> None:
        """A switch of the selection."""
        try:
            self._navigate(change)
        except LossvizError as error:
            self._say(str(error), is_warning=True)

    def action_mark(self) -> None:
        """Mark the run in focus to be drawn with others, or no longer."""
        self.action_set("run_marked")

    def action_filter_runs(self) -> None:
        """Narrow the list of runs by typing."""
        if self._stage is not None and not self.query("#filter"):
            line = self._stage.filter_line()
            self.mount(line, before=self.query_one(Footer))
            line.focus()

    def on_filter_line_typed(self, message: FilterLine.Typed) -> None:
        """List the runs that match what stands there now."""
        if self._stage is not None:
            navigation: Any = importlib.import_module("lossviz_tui.navigation")
            self._select(navigation.runs_narrowed(self._stage.scene, message.text))

    def action_turn(self, step: int) -> None:
        """Turn the cut."""
        self._navigate("cut_turned", step)

    def action_frame(self, step: int) -> None:
        """Another frame of the film, or another curve of the chart."""
        self._navigate("frame_moved", step)

    def action_aside(self, step: int) -> None:
        """The cursor of the Landscape beside, or another frame."""
        self._navigate("aside_moved", step)

    def _play(self) -> None:
        """The next frame, where a film plays and can be seen."""
        stage = self._stage
        if stage is None or not stage.selection.is_playing:
            return
        if stage.selection.view == "landscape" and len(self.screen_stack) == 1:
            navigation: Any = importlib.import_module("lossviz_tui.navigation")
            stage.select(navigation.frame_played(stage.scene))
            self._repaint()

    def action_open(self) -> None:
        """What enter means here."""
        if self._stage is not None:
            self._stage.opened()
            self._select(self._stage.selection)

    def action_classes(self) -> None:
        """Choose classes by name."""
        self._ask("class_picker", self._classes_chosen)

    def _classes_chosen(self, chosen: tuple[int, ...] | None) -> None:
        if self._stage is not None and chosen is not None:
            pair, first = (chosen[0], chosen[1]), chosen[0]
            kept = self._stage.selection
            self._select(replace(kept, pair=pair, classes=chosen, note_class=first))

    def action_filter_classes(self) -> None:
        """Choose which classes the CCTM shows."""
        self._ask("class_filter", self._classes_filtered)

    def _classes_filtered(self, text: str | None) -> None:
        if self._stage is not None and text is not None:
            navigation: Any = importlib.import_module("lossviz_tui.navigation")
            self._select(navigation.classes_filtered(self._stage.scene, text))

    def action_scan(self) -> None:
        """Ask for a scan."""
        self._ask("scan_form", self._scan_asked)

    def _scan_asked(self, scan_id: str | None) -> None:
        if self._stage is not None and scan_id is not None:
            self._stage.scan_started(scan_id)
            self._select(self._stage.selection)

    def _ask(self, screen: str, then: Callable[[Any], None]) -> None:
        """Bring up one of the stage's screens."""
        if self._stage is None:
            return
        try:
            self.push_screen(getattr(self._stage, screen)(), then)
        except (LossvizError, OSError) as error:
            self._say(str(error), is_warning=True)

    def action_cancel_scan(self) -> None:
        """Cancel the scan in focus, after a question."""
        self._do_if_answered("cancel_scan", self._tell)

    def action_resume_scan(self) -> None:
        """Go on with interrupted scans."""
        if self._stage is not None:
            self._tell(self._stage.resume_scan)

    def action_queue(self, step: int) -> None:
        """Have the scan in focus computed sooner or later than others that wait."""
        stage = self._stage
        if stage is not None:
            self._tell(lambda: stage.move_scan(step))
            self._repaint(urgent=True)

    def action_train(self) -> None:
        """Ask for a new training run."""
        self._ask("train_form", self._training_started)

    def _training_started(self, run: Path | None) -> None:
        if self._stage is not None and run is not None:
            self._stage.training_started(run)
            self._select(self._stage.selection)

    def action_pause(self) -> None:
        """Pause the training of the run in focus or let it go on, after a question."""
        self._do_if_answered("pause_or_resume")

    def action_stop(self) -> None:
        """End the training of the run in focus, after a question."""
        self._do_if_answered("stop")

    def _do_if_answered(
        self, what: str, do: Callable[[Callable[[], str]], None] | None = None
    ) -> None:
        """Ask the question of one of the stage's deeds, then do it: on a thread, or as told."""
        if self._stage is None:
            return
        try:
            question, deed = getattr(self._stage, what)()
        except (LossvizError, OSError) as error:
            self._say(str(error), is_warning=True)
            return

        def answered(yes: bool | None) -> None:
            if yes:
                (do or self._do)(deed)

        self.push_screen(ConfirmScreen(question), answered)

    def _do(self, deed: Callable[[], str]) -> None:
        """Do something that may take a minute, and say how it went.

        On a thread that nobody waits for: who leaves meanwhile leaves at once.
        """

        def run() -> None:
            try:
                told = DeedDone(deed(), is_warning=False)
            except (LossvizError, OSError) as error:
                told = DeedDone(str(error), is_warning=True)
            with contextlib.suppress(RuntimeError):  # the app has left
                self.post_message(told)

        threading.Thread(target=run, daemon=True).start()

    def on_deed_done(self, message: DeedDone) -> None:
        """Say how it went."""
        self._say(message.sentence, is_warning=message.is_warning)

    def _say(self, sentence: str, *, is_warning: bool = False) -> None:
        """Tell something in a sentence that may hold names from a store."""
        if self._stage is not None:
            severity = "warning" if is_warning else "information"
            self.notify(self._stage.printable(sentence), severity=severity, markup=False)

    def action_log(self) -> None:
        """What the daemon and the scan worker printed."""
        self._ask("log_screen", _nothing)

    def action_export(self) -> None:
        """Write this view to a file, in a format that is asked for."""
        self._ask("export_form", self._format_chosen)

    def _format_chosen(self, how: Format | None) -> None:
        stage = self._stage
        if stage is not None and how is not None:
            size = self.query_one("#view", RowDiffView).content_size
            self._do(lambda: f"wrote {stage.export(how, size)}")

    def _tell(self, deed: Callable[[], str]) -> None:
        """Do something and say how it went."""
        try:
            self._say(deed())
        except (LossvizError, OSError) as error:
            self._say(str(error), is_warning=True)

    def action_redraw(self) -> None:
        """Send every cell again, where something else has written to the terminal."""
        if isinstance(self._driver, WireDriver):
            self._driver.forget()
        self.refresh()

    def action_help(self) -> None:
        """Every key, and how to read this view."""
        if self._stage is not None:
            view, text = self._stage.selection.view, self._stage.how_to_read()
            readonly, keys = self._options.readonly, self._options.keys
            plain = self._stage.scene.look.is_ascii
            self.push_screen(
                HelpScreen(view, text, readonly=readonly, keys=keys, ascii_only=plain)
            )

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer only the keys that mean something in this view."""
        wanted = f"{action}({', '.join(map(repr, parameters))})" if parameters else action
        keys = [key for key in self._options.keys if key.action == wanted]
        if not keys:
            return True
        if self._stage is None:
            return wanted == "quit"
        view, has_run = self._stage.selection.view, self._stage.has_run
        return any(
            view in key.views
            and not (key.starts_work and self._options.readonly)
            and (has_run or action != "view" or parameters == ("runs",))
            for key in keys
        )

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Everything a key can do here, by name."""
        yield from super().get_system_commands(screen)
        for key in self._options.keys:
            name, parameters = actions.parse(key.action)[1:]
            if self.check_action(name, parameters):
                run = functools.partial(self.run_action, key.action)
                title = f"{key.label} ({key.shown})" if key.shown else key.label
                yield SystemCommand(title, key.help, run)


def _nothing(_: object) -> None:
    """What follows from leaving a page that only shows something."""


def run_app(path: Path, options: AppOptions) -> int:
    """Run the app until it is left; the exit code.

    Raises LossvizError where there is no terminal to run it on.
    """
    refuse_no_terminal(os.environ)
    app = LossvizApp(path, options)
    app.run(mouse=options.mouse)
    return app.return_code or 0
