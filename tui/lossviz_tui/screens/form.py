"""A form: lines with a value each, to step through or to type, on screens of any size.

It is one text, painted whole: the fields in a window around the one in focus, what the choices
cost, a complaint, and the keys. What the fields are is the business of who derives from it.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, TypeVar

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.events import Click, Key, MouseScrollDown, MouseScrollUp, Paste, Resize
from textual.screen import ModalScreen
from textual.widgets import Static

from lossviz_tui.paint.cells import clean_text

WIDTH = 68
_FRAME = 4
"""Columns of border and padding; the border takes two rows as well."""
_MIN_FIELDS = 1
_VALUE_WIDTH = 40
_MAX_TYPED = {"text": 400, "number": 9, "decimal": 9}
_HINT_ROWS = 22
"""A smaller terminal has no room for the sentence about the field in focus."""
_MAX_COMPLAINT_LINES = 4
ARROWS = "↑↓ field ←→ value"
_ASCII_ARROWS = "arrows choose"

Answer = TypeVar("Answer")


@dataclass
class Field:
    """One line of a form: a label and the values to step through."""

    name: str
    label: str
    values: tuple[Any, ...]
    index: int = 0
    takes: Literal["", "text", "number", "decimal"] = ""
    """What can be typed instead of choosing."""
    typed: str | None = None
    """What was typed; None while one of the values is chosen."""

    @property
    def value(self) -> Any:  # noqa: ANN401  # a field holds what its kind of choice needs
        """The value chosen or typed."""
        if self.typed is not None and self.takes == "text":
            return self.typed
        if self.typed and self.typed != ".":
            return float(self.typed) if self.takes == "decimal" else int(self.typed)
        return self.values[self.index]

    def could_give(self, value: object) -> bool:
        """Whether a value that somebody remembered is one that the field could have given."""
        match self.takes:
            case "text":
                if not isinstance(value, str) or len(value) > _MAX_TYPED["text"]:
                    return False
                return value.isprintable()
            case "number" if type(value) is int:
                return 0 <= value < 10 ** _MAX_TYPED["number"]
            case "decimal" if type(value) is float:
                return 0 <= value < 10 ** _MAX_TYPED["decimal"]
            case _:  # True is 1, but not chosen by it
                return any(type(one) is type(value) and one == value for one in self.values)

    def choose(self, value: object) -> None:
        """Choose a value, or the nearest number; what could be typed is taken as it is."""
        self.typed = None
        kind = {"text": str, "number": int, "decimal": float}.get(self.takes)
        if value not in self.values and kind is not None and isinstance(value, kind):
            self.values = (*self.values, value)
        if value in self.values:
            self.index = self.values.index(value)
        elif isinstance(value, int | float):
            numbers = [k for k, one in enumerate(self.values) if isinstance(one, int | float)]
            self.index = min(numbers, key=lambda k: abs(float(self.values[k]) - value))

    def step(self, count: int) -> None:
        """Another value, around the ends; what was typed is forgotten."""
        self.typed = None
        self.index = (self.index + count) % len(self.values)

    def type(self, text: str) -> None:
        """Add to what was typed, or begin anew where a value was chosen."""
        if self.takes in ("number", "decimal"):
            text = "".join(c for c in text if self.takes_letter(c))
        if self.takes == "decimal" and (self.typed or "").count(".") + text.count(".") > 1:
            return
        if text and self.takes:
            self.typed = ((self.typed or "") + text)[: _MAX_TYPED[self.takes]]

    def takes_letter(self, letter: str) -> bool:
        """Whether a letter can be typed here."""
        match self.takes:
            case "text":
                return letter.isprintable()
            case "number":
                return letter.isascii() and letter.isdecimal()
            case "decimal":
                return letter == "." or (letter.isascii() and letter.isdecimal())
            case _:
                return False

    def erase(self) -> None:
        """Take the last letter away, of a value that was chosen too.

        A number without any is the first of the values, which is what nobody has to say.
        """
        value = self.value if self.typed is None else self.typed
        text = f"{value:.9g}" if isinstance(value, float) else str(value)
        is_number = self.takes in ("number", "decimal")
        if value is None or (is_number and not all(map(self.takes_letter, text))):
            text = ""  # what stands there is a word, or a number that cannot be typed
        self.typed = text[:-1]
        if self.takes in ("number", "decimal") and not self.typed:
            self.index = 0


class Form(ModalScreen[Answer | None], Generic[Answer]):
    """Fields, one of them in focus; gives an answer, or None when left."""

    KEYS: ClassVar[dict[str, str]] = {
        "escape": "dismiss(None)",
        "q": "dismiss(None)",
        "enter": "start",
        "s": "start",
        "up": "line(-1)",
        "k": "line(-1)",
        "down": "line(1)",
        "j": "line(1)",
        "left": "change(-1)",
        "h": "change(-1)",
        "right": "change(1)",
        "l": "change(1)",
        "ctrl+r": "defaults",
        "backspace": "defaults",  # where it takes no letter away
    }
    """Actions by key. They are no bindings, which the app looks up in a queue of its own: of
    keys that come quickly, a letter would overtake the arrow before it, into another field."""
    DEFAULT_CSS = f"""
    Form {{ align: center middle; }}
    Form > Vertical {{ width: {WIDTH}; max-width: 100%; height: auto; max-height: 100%;
        border: round $primary; padding: 0 1; background: $surface; }}
    """

    def __init__(self, *, ascii_only: bool) -> None:
        super().__init__()
        self._ascii_only = ascii_only
        self._line = 0
        self._first = 0
        self._complaint = ""

    # What a form is made of.

    def title_text(self) -> str:
        """What the form is for."""
        raise NotImplementedError

    def fields_here(self) -> Sequence[Field]:
        """The fields of the page at hand."""
        raise NotImplementedError

    def shown_value(self, field: Field) -> str:
        """A value in words."""
        raise NotImplementedError

    def notes(self) -> Sequence[str]:
        """Sentences below the fields."""
        return ()

    def hint(self, field: Field) -> str:
        """What a field is about, in a sentence; empty: its label says it."""
        del field
        return ""

    def keys_text(self) -> str:
        """The keys, in one line of a small terminal."""
        raise NotImplementedError

    def changed(self, field: Field) -> None:
        """What follows from another value of a field."""

    def take_defaults(self) -> None:
        """Choose everything as if nothing had been remembered."""

    # How it is shown and changed.

    def compose(self) -> ComposeResult:
        """One text; it is small, so it is painted whole."""
        with Vertical():
            yield Static(id="form", markup=False)

    def on_mount(self) -> None:
        """Show the form."""
        self.show()

    def on_resize(self, _event: Resize) -> None:
        """Show what fits now."""
        self.show()

    @property
    def field(self) -> Field:
        """The field in focus."""
        fields = self.fields_here()
        return fields[min(self._line, len(fields) - 1)]

    def complain(self, sentence: str) -> None:
        """Show why something cannot be."""
        self._complaint = sentence
        self.show()

    def show(self) -> None:
        """Paint the form as it stands."""
        fields = self.fields_here()
        self._line = min(self._line, len(fields) - 1)
        width = max(20, min(WIDTH, self.app.size.width) - _FRAME)
        hint = self.hint(self.field) if self.app.size.height >= _HINT_ROWS else ""
        hints = self._wrapped(hint, width)
        notes = [line for note in self.notes() for line in self._wrapped(note, width)]
        notes = [*hints, *notes]
        complaint = self._wrapped(clean_text(self._complaint, 320), width)
        complaint = complaint[:_MAX_COMPLAINT_LINES]
        below = len(notes) + len(complaint) + len(self._wrapped(self.keys_text(), width))
        room = max(_MIN_FIELDS, self.app.size.height - 3 - below)
        self._first = min(self._line, max(self._first, self._line - room + 1))
        self._first = max(0, min(self._first, len(fields) - room))
        title = self.title_text()
        if len(fields) > room:
            title += f"  ({self._line + 1} of {len(fields)})"
        text = Text(f"{title}\n", style="bold")
        for line, field in enumerate(fields[self._first : self._first + room], self._first):
            self._draw(text, field, width, is_here=line == self._line)
        text.append("".join(f"{line}\n" for line in notes), "dim not bold")
        text.append("".join(f"{line}\n" for line in complaint), "bold")
        text.append("\n".join(self._wrapped(self.keys_text(), width)), "not bold")
        for static in self.query("#form").results(Static):  # a resize may come before it
            static.update(text)

    def _draw(self, text: Text, field: Field, width: int, *, is_here: bool) -> None:
        text.append(f"{'>' if is_here else ' '} {field.label:14} ", "not bold")
        value = self.shown_value(field)
        if is_here and field.typed is not None:
            meant = f" ({value})" if value and not field.typed else ""
            value = f"{field.typed[-_VALUE_WIDTH:]}_{meant}"
        value = clean_text(value, width - 21, ascii_only=self._ascii_only)
        style = "bold" if is_here else "not bold"
        text.append(f"< {value} >\n" if is_here else f"  {value}\n", style)

    def _wrapped(self, sentence: str, width: int) -> list[str]:
        if self._ascii_only:
            plain = sentence.replace(ARROWS, _ASCII_ARROWS)
            sentence = clean_text(plain, 4 * width, ascii_only=True)
        return textwrap.wrap(sentence, width, break_long_words=True)

    def action_line(self, step: int) -> None:
        """Another field."""
        self._line = (self._line + step) % len(self.fields_here())
        self.show()

    def action_change(self, step: int) -> None:
        """Another value of the field."""
        field = self.field
        field.step(step)
        self._complaint = ""
        self.changed(field)
        self.show()

    def action_defaults(self) -> None:
        """Forget what was remembered."""
        self.take_defaults()
        self._complaint = ""
        self.show()

    def action_start(self) -> None:
        """Do what the form is for, or complain."""
        raise NotImplementedError

    async def on_key(self, event: Key) -> None:
        """Type into a field that takes it, or do what the key means."""
        if self.takes_key(event):
            event.stop()
            self._complaint = ""
            self.changed(self.field)
            self.show()
        elif event.key in self.KEYS:
            event.stop()
            await self.run_action(self.KEYS[event.key])

    def takes_key(self, event: Key) -> bool:
        """Whether the field in focus takes a key as something typed."""
        field, letter = self.field, event.character or ""
        if not field.takes:
            return False
        if event.key == "backspace":
            field.erase()
        elif letter and field.takes_letter(letter) and event.is_printable:
            field.type(letter)
        else:
            return False
        return True

    def on_paste(self, event: Paste) -> None:
        """Type what is pasted, its first line."""
        event.stop()
        self.field.type(clean_text((event.text.splitlines() or [""])[0], 400))
        self.changed(self.field)
        self.show()

    def on_click(self, event: Click) -> None:
        """A click on a line goes there; on the same line again, to the next value."""
        form = self.query_one("#form", Static)
        line = self._first + event.screen_y - form.region.y - 1
        if not form.region.contains(event.screen_x, event.screen_y):
            return
        if self._first <= line < len(self.fields_here()) and event.screen_y > form.region.y:
            if line == self._line:
                self.action_change(1)
            self._line = line
            self.show()

    def on_mouse_scroll_down(self, event: MouseScrollDown) -> None:
        """The next field."""
        event.stop()
        self.action_line(1)

    def on_mouse_scroll_up(self, event: MouseScrollUp) -> None:
        """The field before."""
        event.stop()
        self.action_line(-1)


def end_of(value: str, width: int = _VALUE_WIDTH) -> str:
    """The end of a long path, which tells more than its beginning."""
    text = clean_text(value, 400)
    return text if len(text) <= width else f"…{text[1 - width :]}"
