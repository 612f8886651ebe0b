"""One line to type in what a list is narrowed by."""

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Input

MAX_LENGTH = 80


class FilterLine(Input):
    """Says with each letter what stands there; enter keeps it, escape clears it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "submit", "Keep", key_display="enter"),
        Binding("escape", "clear", "Clear"),
    ]

    class Typed(Message):
        """Other words stand in the line."""

        def __init__(self, text: str) -> None:
            self.text = text
            super().__init__()

    def __init__(self, text: str) -> None:
        super().__init__(
            value=text,
            placeholder="filter: part of a name, state, model or data; escape clears",
            compact=True,
            select_on_focus=False,
            id="filter",
        )
        self.cursor_blink = False  # over a slow line nothing moves by itself

    def validate_value(self, value: str) -> str:
        """Without what a terminal would obey, however it was pasted."""
        return "".join(character for character in value if character.isprintable())[:MAX_LENGTH]

    def on_input_changed(self, event: Input.Changed) -> None:
        """Say so."""
        event.stop()
        self.post_message(self.Typed(event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Keep the words and give the keys back."""
        event.stop()
        self.remove()

    def action_clear(self) -> None:
        """Show everything again."""
        self.post_message(self.Typed(""))
        self.remove()
