"""In which format the view is written to a file: one key."""

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from lossviz_tui.formats import FORMATS, Format

_SIGNS = {True: ">", False: " "}


class ExportForm(ModalScreen[Format | None]):
    """The formats with their keys; enter takes the one that was chosen last."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(one.key, f"choose('{one.key}')", one.label) for one in FORMATS),
        Binding("enter,e", "again", "The same as before"),
        Binding("escape,q", "dismiss(None)", "Leave"),
    ]
    DEFAULT_CSS = """
    ExportForm { align: center middle; }
    ExportForm > Vertical { width: auto; max-width: 95%; height: auto; max-height: 100%;
        border: round $primary; padding: 0 1; background: $surface; }
    ExportForm Static { width: auto; }
    """

    def __init__(self, title: str, last: Format, *, has_figures: bool) -> None:
        super().__init__()
        self._title = title
        self._last = last
        self._has_figures = has_figures

    def compose(self) -> ComposeResult:
        """A line for each format."""
        with Vertical():
            yield Static(self._text(), markup=False)

    def _text(self) -> Text:
        text = Text(no_wrap=True)
        text.append(f"{self._title}\n", style="bold")
        for one in FORMATS:
            text.append(f"{_SIGNS[one == self._last]} {one.key}  ", style="bold")
            text.append(f"{one.label}{self._remark(one)}\n")
        text.append(f"enter {self._last.suffix} again   esc leave")
        return text

    def _remark(self, one: Format) -> str:
        return "" if self._has_figures or one.kind != "figure" else " (needs matplotlib)"

    def action_choose(self, key: str) -> None:
        """Take the format of a key."""
        self.dismiss(next(one for one in FORMATS if one.key == key))

    def action_again(self) -> None:
        """Take the format of last time."""
        self.dismiss(self._last)
