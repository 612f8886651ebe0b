"""Every key, and how to read the view at hand; one page at 80 x 24."""

import textwrap
from collections.abc import Sequence
from typing import ClassVar

from rich.cells import cell_len
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from lossviz_tui.keys import ASCII_ARROWS, KEYS, MAX_HELP, VIEW_NAMES, VIEW_TITLES, Key
from lossviz_tui.words import WORDS

_KEYS_WIDTH = 7
_TWO_COLUMNS = 80
"""Columns of the terminal from which on the keys stand in two, if their names are short."""
_TEXT_WIDTH = 76
"""80 columns less frame and padding."""


class HelpScreen(ModalScreen[None]):
    """Help for one view, from the table of keys."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter", "dismiss(None)", "Close"),
        Binding("question_mark,tab", "turn", "Words"),
    ]
    DEFAULT_CSS = """
    HelpScreen { align: center middle; }
    HelpScreen > VerticalScroll { width: 100%; max-width: 80; height: auto; max-height: 100%;
        border: round $primary; padding: 0 1; background: $surface; }
    """

    def __init__(
        self,
        view: str,
        how_to_read: str,
        *,
        readonly: bool,
        keys: Sequence[Key] = KEYS,
        ascii_only: bool = False,
    ) -> None:
        super().__init__()
        self._ascii_only = ascii_only
        self._keys = keys
        self._view = view
        self._how_to_read = how_to_read
        self._readonly = readonly
        self._has_words = False

    def compose(self) -> ComposeResult:
        """The text."""
        with VerticalScroll():
            yield Static(self._page(), markup=False)

    def action_turn(self) -> None:
        """The other page: the words of the view, or its keys."""
        self._has_words = not self._has_words
        self.query_one(Static).update(self._page())

    def _page(self) -> Text:
        if self._has_words:
            return self._words()
        return self._text(2 if self.app.size.width >= _TWO_COLUMNS else 1)

    def _heading(self, other: str) -> Text:
        """The name of the view, and what the other page is about."""
        title = VIEW_TITLES[VIEW_NAMES.index(self._view)]
        text = Text()
        text.append(title, "bold")
        text.append(f"{f'? {other}':>{_TEXT_WIDTH - len(title)}}\n", "dim")
        return text

    def _words(self) -> Text:
        """What the words of the view mean."""
        text = self._heading("keys")
        words = WORDS[self._view]
        width = max(len(word) for word, _ in words) + 1
        for word, meaning in words:
            text.append(f"{word:{width}}", "bold")
            lines = textwrap.wrap(meaning, _TEXT_WIDTH - width)
            text.append(f"\n{'':{width}}".join(lines) + "\n")
        text.rstrip()
        if self._ascii_only:
            text = Text(text.plain.replace("±", "+-"))
        return text

    def _text(self, columns: int = 2) -> Text:
        text = self._heading("what the words mean")

        def shown(key: Key) -> str:
            return key.shown.translate(ASCII_ARROWS) if self._ascii_only else key.shown

        text.append(f"{self._how_to_read}\n")
        rows = [
            key
            for key in self._keys
            if key.keys
            if self._view in key.views and not (key.starts_work and self._readonly)
            if not key.action.startswith("view(")
        ]
        width = max(_KEYS_WIDTH, *(cell_len(shown(key)) + 1 for key in rows))
        # Keys of the user's own may have names too long for two columns.
        is_wide = 2 * (width + MAX_HELP) > _TEXT_WIDTH
        text.append(f"{_view_keys(self._keys):{width - 1}} ", style="bold")
        line = "the views; ctrl+p every command"
        redraw = next((key for key in rows if key.action == "redraw"), None)
        if redraw is not None:
            longer = f"{line}; {shown(redraw)} {redraw.help}"
            if columns > 1 and width + cell_len(longer) <= _TEXT_WIDTH:
                line = longer
                rows.remove(redraw)
        text.append(f"{line}\n")
        half = len(rows) if is_wide else -(-len(rows) // columns)
        for left, right in zip(rows[:half], [*rows[half:], *[None] * half], strict=False):
            text.append(f"{shown(left):{width}}", style="bold")
            text.append(f"{left.help:{MAX_HELP}}")
            if right is not None:
                text.append(f"{shown(right):{width}}", style="bold")
                text.append(right.help)
            text.append("\n")
        text.rstrip()
        return text


def _view_keys(keys: Sequence[Key]) -> str:
    """The keys of the views: 1-6, unless they were remapped."""
    shown = [key.shown for key in keys if key.action.startswith("view(") and key.keys]
    usual = [str(number) for number in range(1, len(VIEW_NAMES) + 1)]
    return f"1-{len(VIEW_NAMES)}" if shown == usual else " ".join(shown)
