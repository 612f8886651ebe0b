"""Choosing which classes the CCTM shows, by part of their names."""

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from lossviz_tui.class_order import fitting
from lossviz_tui.paint.cells import clean_text

_MAX_SHOWN = 12


class ClassFilter(ModalScreen[str | None]):
    """Parts of names separated by commas; how many classes fit is shown while typing."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Leave")]
    DEFAULT_CSS = """
    ClassFilter { align: center bottom; }
    ClassFilter > Vertical { width: 70; max-width: 95%; height: auto;
        border: round $primary; padding: 0 1; background: $surface; }
    ClassFilter #fits { height: auto; max-height: 3; color: $text-muted; }
    """

    def __init__(self, names: Sequence[str], text: str) -> None:
        super().__init__()
        self._names = names
        self._start = text

    def compose(self) -> ComposeResult:
        """One line to type in, one to show what fits."""
        with Vertical():
            yield Static("Show classes with this in their names (commas; nothing: all)")
            yield Input(value=self._start, compact=True)
            yield Static("", id="fits", markup=False)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Say which classes fit."""
        found = fitting(self._names, event.value)
        numbers = range(len(self._names)) if found is None else found
        shown = "  ".join(clean_text(self._names[c], 20) for c in numbers[:_MAX_SHOWN])
        text = f"{len(numbers):,} of {len(self._names):,} classes: {shown}"
        self.query_one("#fits", Static).update(text)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Take the text."""
        self.dismiss(event.value.strip())
