"""The end of what the daemon and the scan worker printed, followed while they print."""

from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Static

from lossviz_tui.paint.cells import clean_text

FOLLOW_SECONDS = 1.0
MAX_LINES = 1_000
_MAX_INDENT = 40
_MAX_LINE = 2_000

ReadLogs = Callable[[], Sequence[str]]
"""The present text of each log, its end; empty where there is none."""


class LogScreen(ModalScreen[None]):
    """One log at a time; stays at its end unless somebody scrolls up."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,w,enter", "dismiss(None)", "Close"),
        Binding("tab,left,right,h,l", "other", "The other log"),
        Binding("up,k", "by(-1)", "Up"),
        Binding("down,j", "by(1)", "Down"),
        Binding("pageup", "page(-1)", "Page up"),
        Binding("pagedown,space", "page(1)", "Page down"),
        Binding("home", "to_start", "Start"),
        Binding("end", "to_end", "End"),
    ]
    DEFAULT_CSS = """
    LogScreen { align: center middle; }
    LogScreen > #frame { width: 100%; height: 100%; border: round $primary; padding: 0 1;
        background: $surface; }
    LogScreen #which { height: 1; }
    LogScreen #log { height: 1fr; scrollbar-size-vertical: 1; }
    LogScreen #lines { height: auto; }
    LogScreen #keys { height: 1; color: $text-muted; }
    """

    class Read(Message):
        """The logs were read."""

        def __init__(self, texts: Sequence[str]) -> None:
            self.texts = texts
            super().__init__()

    def __init__(self, names: Sequence[str], read: ReadLogs, *, first: int = 0) -> None:
        super().__init__()
        self._names = names
        self._read = read
        self._here = first
        self._texts: Sequence[str] | None = None

    def compose(self) -> ComposeResult:
        """Which log, its lines, and the keys."""
        with Vertical(id="frame"):
            yield Static(self._heading(), id="which", markup=False)
            with VerticalScroll(id="log", can_focus=False):
                yield Static("reading", id="lines", markup=False)
            yield Static("↑↓ scroll  end follow  tab the other  esc leave", id="keys")

    def on_mount(self) -> None:
        """Read at once, and again every second."""
        self._look()
        self.set_interval(FOLLOW_SECONDS, self._look)

    @work(thread=True, exclusive=True, group="log")
    def _look(self) -> None:
        self.post_message(self.Read(self._read()))

    def on_log_screen_read(self, message: Read) -> None:
        """Show what is new."""
        message.stop()
        if self._texts is None or message.texts[self._here] != self._texts[self._here]:
            self._texts = message.texts
            self._show(follow=self._is_at_end())
        self._texts = message.texts

    def _show(self, *, follow: bool) -> None:
        if self._texts is None:
            return
        self.query_one("#which", Static).update(self._heading())
        self.query_one("#lines", Static).update(self._content(self._texts[self._here]))
        if follow:
            self.call_after_refresh(self.action_to_end)

    def _heading(self) -> Text:
        text = Text()
        for number, name in enumerate(self._names):
            is_here = number == self._here
            text.append(f"[{name}]" if is_here else f" {name} ", "bold" if is_here else "dim")
            text.append(" ")
        return text

    def _content(self, text: str) -> Text:
        lines = log_lines(text)
        if not lines:
            return Text(f"nothing was printed to {self._names[self._here]}", "dim")
        return Text("\n").join(Text(line) for line in lines)

    def _is_at_end(self) -> bool:
        return self.query_one("#log", VerticalScroll).is_vertical_scroll_end

    def action_other(self) -> None:
        """The other log."""
        self._here = (self._here + 1) % len(self._names)
        self._show(follow=True)

    def action_by(self, lines: int) -> None:
        """A line up or down."""
        self.query_one("#log").scroll_relative(y=lines, animate=False)

    def action_page(self, pages: int) -> None:
        """A page up or down."""
        log = self.query_one("#log")
        log.scroll_relative(y=pages * max(1, log.size.height - 1), animate=False)

    def action_to_start(self) -> None:
        """The oldest line there is."""
        self.query_one("#log").scroll_home(animate=False)

    def action_to_end(self) -> None:
        """Follow the newest line."""
        self.query_one("#log").scroll_end(animate=False)


def log_lines(text: str) -> list[str]:
    """The last lines of a log, harmless: indents stay, of a progress bar its last state."""
    lines: list[str] = []
    for line in text.rstrip().split("\n")[-MAX_LINES:]:
        last = line.rstrip("\r").rpartition("\r")[2]
        spaces = last.expandtabs(4)
        indent = min(_MAX_INDENT, len(spaces) - len(spaces.lstrip(" ")))
        lines.append(" " * indent + clean_text(last, _MAX_LINE))
    return lines if any(lines) else []
