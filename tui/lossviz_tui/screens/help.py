"""Every key, and how to read the view at hand; one page at 80 x 24."""

import itertools
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from lossviz_tui.keys import KEYS, MAX_HELP, VIEW_NAMES, VIEW_TITLES, Key

_KEYS_WIDTH = 7
_TWO_COLUMNS = 80
"""Columns of the terminal from which on the keys stand in two."""
_ARROWS = {"←": "<-", "→": "->", "↑": "up", "↓": "down"}


class HelpScreen(ModalScreen[None]):
    """Help for one view, from the table of keys."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark,enter", "dismiss(None)", "Close")
    ]
    DEFAULT_CSS = """
    HelpScreen { align: center middle; }
    HelpScreen > VerticalScroll { width: 100%; max-width: 80; height: auto; max-height: 100%;
        border: round $primary; padding: 0 1; background: $surface; }
    """

    def __init__(
        self, view: str, how_to_read: str, *, readonly: bool, ascii_only: bool = False
    ) -> None:
        super().__init__()
        self._ascii_only = ascii_only
        self._view = view
        self._how_to_read = how_to_read
        self._readonly = readonly

    def compose(self) -> ComposeResult:
        """The text."""
        with VerticalScroll():
            columns = 2 if self.app.size.width >= _TWO_COLUMNS else 1
            yield Static(self._text(columns), markup=False)

    def _text(self, columns: int = 2) -> Text:
        text = Text()
        title = VIEW_TITLES[VIEW_NAMES.index(self._view)]
        text.append(f"{title}\n", style="bold")
        text.append(f"{self._how_to_read}\n")
        rows = [
            key
            for key in KEYS
            if self._view in key.views and not (key.starts_work and self._readonly)
            if not key.action.startswith("view(")
        ]
        half = -(-len(rows) // columns)
        text.append(f"{'1-6':{_KEYS_WIDTH}}", style="bold")
        text.append("the views; ctrl+p every command\n")
        for left, right in itertools.zip_longest(rows[:half], rows[half:]):
            text.append(f"{self._shown(left):{_KEYS_WIDTH}}", style="bold")
            text.append(f"{left.help:{MAX_HELP}}")
            if right is not None:
                text.append(f"{self._shown(right):{_KEYS_WIDTH}}", style="bold")
                text.append(right.help)
            text.append("\n")
        text.rstrip()
        return text

    def _shown(self, key: Key) -> str:
        """The keys, their arrows in words where there are no arrows."""
        if not self._ascii_only:
            return key.shown
        for arrow, word in _ARROWS.items():
            key_shown = key.shown.replace(arrow, word)
            if key_shown != key.shown:
                return key_shown
        return key.shown
