"""The scan form: the choices that matter on one page, the rest on another."""

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.events import Click, Key
from textual.screen import ModalScreen
from textual.widgets import Static

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.store.reader import RunReader
from lossviz_analysis.store.requests import DEFAULT_RANGE
from lossviz_tui.asking import complete
from lossviz_tui.launch import request_scan
from lossviz_tui.paint.cells import clean_text
from lossviz_tui.panels.texts import age_text
from lossviz_tui.scene import Scene
from lossviz_tui.screens.form_fields import PRESETS, Field, Fields

_VALUE_WIDTH = 40
_WORDS = {
    "examples": "all",
    "points_across": "the same",
    "span_across": "the same",
    "film": "no",
    "clip": "never",
}
"""What None means in a field."""


class ScanForm(ModalScreen[str | None]):
    """Asks for a scan; gives its id, of a series that of the first, or None when left."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss(None)", "Leave"),
        Binding("enter,s", "start", "Start"),
        Binding("up,k", "line(-1)", "Up"),
        Binding("down,j", "line(1)", "Down"),
        Binding("tab,shift+tab", "turn_page", "More"),
        Binding("left,h", "change(-1)", "Less"),
        Binding("right,l", "change(1)", "More"),
        Binding("minus", "span(-1)", "Span /10"),
        Binding("plus,equals_sign", "span(1)", "Span x10"),
    ]
    DEFAULT_CSS = """
    ScanForm { align: center middle; }
    ScanForm > Vertical { width: 68; max-width: 100%; height: auto; max-height: 100%;
        border: round $primary; padding: 0 1; background: $surface; }
    """

    def __init__(self, scene: Scene, reader: RunReader) -> None:
        super().__init__()
        self._scene = scene
        self._reader = reader
        self._line = 0
        self._is_second_page = False
        self._complaint = ""
        self._names = reader.description.class_names
        self._fields = Fields(reader, self._names)
        pair = scene.pair or (0, 1)
        self._fields["class"].choose(pair[0])
        self._fields["second_class"].choose(pair[1])
        # The epoch held on the screen, where it has a checkpoint; else the last.
        held = scene.selection.epoch
        self._fields["checkpoint"].choose("last" if held is None else str(held))

    def compose(self) -> ComposeResult:
        """One text; it is small, so it is painted whole."""
        with Vertical():
            yield Static(id="form", markup=False)

    def on_mount(self) -> None:
        """Show the form."""
        self._show()

    def _visible(self) -> list[Field]:
        return self._fields.visible(more=self._is_second_page)

    def _shown_value(self, field: Field) -> str:
        value = field.value
        match field.name:
            case "class" | "second_class":
                return clean_text(self._names[value], 24)
            case "kind" if value in PRESETS:
                return f"{value} (preset)"
            case "toward" | "second_toward" if value.isdecimal():
                return f"epoch {value}"
            case "film" if value is not None:
                return "every kept checkpoint" if value == 1 else f"every {value} epochs"
            case "range" if value is not None:
                return f"{value[0]:g} to {value[1]:g}"
            case "clip" if value is not None:
                return f"loss {2 * value:g}, as at least {value:g}"
            case _:
                pass
        match value:
            case None:
                return _WORDS[field.name]
            case bool():
                return "yes" if value else "no"
            case int():
                return f"{value:,}"
            case float():
                return f"{value:g}"
            case _:
                return _shortened(str(value)) or "none found"

    def _show(self) -> None:
        fields = self._visible()
        self._line = min(self._line, len(fields) - 1)
        text = Text()
        text.append("Scan the loss landscape", style="bold")
        text.append("  (more)\n" if self._is_second_page else "\n", style="bold")
        for line, field in enumerate(fields):
            is_here = line == self._line
            text.append(f"{'>' if is_here else ' '} {field.label:14} ")
            value = self._shown_value(field)
            text.append(f"< {value} >" if is_here else f"  {value}", "bold" if is_here else "")
            text.append("\n")
        text.append(f"{self._cost()}\n", style="dim")
        if self._complaint:
            text.append(f"{clean_text(self._complaint, 240)}\n", style="bold")
        page = "back" if self._is_second_page else "more"
        text.append(f"↑↓ field  ←→ value  tab {page}  +/- span  enter start  esc leave")
        self.query_one("#form", Static).update(text)

    def _cost(self) -> str:
        """How much work it is, and how long that took elsewhere."""
        data = self._reader.description.dataset
        splits = {"train": ("num_train",), "test": ("num_test",)}.get(
            self._fields["split"].value, ("num_train", "num_test")
        )
        limit = self._fields["examples"].value
        sizes = [data.get(name) for name in splits]
        whole = [
            size if limit is None else min(size, limit)
            for size in sizes
            if isinstance(size, int)
        ]
        points, scans = self._fields.num_points, self._fields.num_scans
        many = f"{scans} scans x " if scans > 1 else ""
        if not whole:  # a recorded run does not say how many its factory makes
            return f"{many}{points:,} points x every example"
        text = f"{many}{points:,} points x {sum(whole):,} images"
        rate, source = self._measured_rate()
        if rate <= 0:
            return text
        return f"{text}, about {age_text(scans * points * sum(whole) / rate)} ({source})"

    def _measured_rate(self) -> tuple[float, str]:
        """Images a second in the forward direction, and where that number is from."""
        picture, scan = self._scene.shown_picture, self._scene.scan
        if picture is not None and picture.report.images_per_second > 0:
            return picture.report.images_per_second, "at the last scan's rate"
        if picture is not None and scan is not None and scan.items_per_second > 0:
            geometry = picture.result.geometry
            images = sum(geometry.examples.values()) / max(1, sum(geometry.chunks.values()))
            return scan.items_per_second * images, "at the last scan's rate"
        pulse = self._scene.standing.pulse if self._scene.standing else None
        if pulse is not None and pulse.images_per_second > 0:
            return 3 * pulse.images_per_second, "guessed from training"
        return 0.0, ""

    def action_line(self, step: int) -> None:
        """Another field."""
        self._line = (self._line + step) % len(self._visible())
        self._show()

    def action_turn_page(self) -> None:
        """The other page."""
        self._is_second_page = not self._is_second_page
        self._line = 0
        self._show()

    def action_change(self, step: int) -> None:
        """Another value of the field."""
        field = self._visible()[self._line]
        field.step(step)
        self._complaint = ""
        if field.name == "kind":
            self._fields.take_defaults()
        if field.name == "second":
            self._fields.take_grid_defaults()
        self._show()

    def action_span(self, power: int) -> None:
        """Ten times the span, or a tenth of it; of an automatic one the usual span's."""
        span = self._fields["span"]
        if span not in self._fields.visible(more=False):
            return
        usual = DEFAULT_RANGE[self._fields.kind or "gaussian"][1]
        value: float = usual if span.value == "auto" else span.value
        span.choose(value * 10.0**power)
        self._show()

    def on_key(self, event: Key) -> None:
        """A letter in a class field goes to the next class that begins with it."""
        field = self._visible()[self._line]
        letter = event.character
        if field.name not in ("class", "second_class") or not letter or not letter.isalnum():
            return
        if letter in "hjklqs":
            return
        for offset in range(1, len(self._names) + 1):
            index = (field.index + offset) % len(self._names)
            if self._names[index].lower().startswith(letter.lower()):
                field.index = index
                break
        event.stop()
        self._show()

    def on_click(self, event: Click) -> None:
        """A click on a line goes there; on the same line again, to the next value."""
        form = self.query_one("#form", Static)
        line = event.screen_y - form.region.y - 1
        if not form.region.contains(event.screen_x, event.screen_y):
            return
        if 0 <= line < len(self._visible()):
            if line == self._line:
                self.action_change(1)
            self._line = line
            self._show()

    def action_start(self) -> None:
        """Queue the scans, or say why it cannot be."""
        try:
            requests = complete(self._fields.wish(), self._reader)
            ids = [request_scan(self._reader.path, request) for request in requests]
        except LossvizError as error:
            self._complaint = str(error)
            self._show()
            return
        self.dismiss(ids[0])


def _shortened(value: str) -> str:
    """The end of a long path, which tells more than its beginning."""
    text = clean_text(value, 400)
    return text if len(text) <= _VALUE_WIDTH else f"…{text[1 - _VALUE_WIDTH :]}"
