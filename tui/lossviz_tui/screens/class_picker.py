"""Choosing classes by name, for any number of them."""

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from lossviz_analysis.errors import LossvizError
from lossviz_tui.choosing import class_number
from lossviz_tui.paint.cells import clean_text
from lossviz_tui.selection import MAX_CLASSES

_MAX_SHOWN = 12


class ClassPicker(ModalScreen[tuple[int, ...] | None]):
    """Names separated by commas; matches are shown while typing."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Leave")]
    DEFAULT_CSS = """
    ClassPicker { align: center middle; }
    ClassPicker > Vertical { width: 70; max-width: 95%; height: auto;
        border: round $primary; padding: 0 1; background: $surface; }
    ClassPicker #matches { height: auto; max-height: 6; color: $text-muted; }
    """

    def __init__(self, names: Sequence[str], chosen: Sequence[int]) -> None:
        super().__init__()
        self._names = names
        self._chosen = chosen

    def compose(self) -> ComposeResult:
        """One line to type in, one to show what it means."""
        with Vertical():
            yield Static(
                "Classes, the first two are the pair (2 to 8 names or numbers, commas)"
            )
            start = ", ".join(clean_text(self._names[c], 40) for c in self._chosen)
            line = Input(value=start, compact=True)
            line.cursor_blink = False  # over a slow line nothing moves by itself
            yield line
            yield Static("", id="matches", markup=False)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Show the classes the last word may mean."""
        word = event.value.rpartition(",")[2].strip().lower()
        fits = [name for name in self._names if word in name.lower()][:_MAX_SHOWN]
        shown = "  ".join(clean_text(name, 20) for name in fits)
        self.query_one("#matches", Static).update(shown)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Take the classes, or say which word is none."""
        words = [word.strip() for word in event.value.split(",") if word.strip()]
        try:
            numbers = tuple(dict.fromkeys(class_number(word, self._names) for word in words))
        except LossvizError as error:
            self.query_one("#matches", Static).update(clean_text(str(error), 300))
            return
        if len(numbers) < 2:
            self.query_one("#matches", Static).update("a pair needs two different classes")
            return
        if len(numbers) > MAX_CLASSES:
            sentence = f"{MAX_CLASSES} classes at most can be told apart; got {len(numbers)}"
            self.query_one("#matches", Static).update(sentence)
            return
        self.dismiss(numbers)
