"""The scan form: every choice on one page, the most interfering pair filled in."""

from dataclasses import dataclass
from typing import Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.events import Click, Key
from textual.screen import ModalScreen
from textual.widgets import Static

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.store.reader import RunReader
from lossviz_analysis.store.requests import (
    DEFAULT_DIMS,
    DEFAULT_NORMALISATION,
    DEFAULT_RANGE,
    DirectionKind,
    default_points,
)
from lossviz_tui.asking import ScanWish, complete
from lossviz_tui.launch import request_scan
from lossviz_tui.paint.cells import clean_text
from lossviz_tui.panels.texts import age_text
from lossviz_tui.scene import Scene

_KINDS: tuple[DirectionKind, ...] = ("ego", "gaussian", "gradient", "toward")
_POINTS = (5, 7, 11, 15, 19, 25, 31, 41, 51, 75, 101, 151, 201)
_SPANS = tuple(round(digit * 10.0**power, 6) for power in range(-5, 3) for digit in (1, 2, 5))
_EXAMPLES = (None, 500, 1_000, 2_000, 5_000, 10_000)


@dataclass
class Field:
    """One line of the form: a label and the values to step through."""

    name: str
    label: str
    values: tuple[Any, ...]
    index: int = 0

    @property
    def value(self) -> Any:  # noqa: ANN401  # a field holds what its kind of choice needs
        """The value chosen."""
        return self.values[self.index]

    def choose(self, value: object) -> None:
        """Choose a value, or the nearest number to it."""
        if value in self.values:
            self.index = self.values.index(value)
        elif isinstance(value, int | float):
            self.index = min(
                range(len(self.values)), key=lambda k: abs(float(self.values[k]) - value)
            )

    def step(self, count: int) -> None:
        """Another value, around the ends."""
        self.index = (self.index + count) % len(self.values)


class ScanForm(ModalScreen[str | None]):
    """Asks for a scan; gives its id, or None when left."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss(None)", "Leave"),
        Binding("enter,s", "start", "Start"),
        Binding("up,k,shift+tab", "line(-1)", "Up"),
        Binding("down,j,tab", "line(1)", "Down"),
        Binding("left,h", "change(-1)", "Less"),
        Binding("right,l", "change(1)", "More"),
        Binding("minus", "span(-1)", "Span /10"),
        Binding("plus,equals_sign", "span(1)", "Span x10"),
    ]
    DEFAULT_CSS = """
    ScanForm { align: center middle; }
    ScanForm > Vertical { width: 66; max-width: 100%; height: auto; max-height: 100%;
        border: round $primary; padding: 0 1; background: $surface; }
    """

    def __init__(self, scene: Scene, reader: RunReader) -> None:
        super().__init__()
        self._scene = scene
        self._reader = reader
        self._line = 0
        self._complaint = ""
        self._names = reader.description.class_names
        epochs = tuple(
            dict.fromkeys(str(i.epoch) for i in reversed(reader.checkpoints()) if i.step == 0)
        )
        numbers = tuple(range(len(self._names)))
        self._fields = {
            field.name: field
            for field in (
                Field("kind", "kind", _KINDS),
                Field("first", "first class", numbers),
                Field("second", "second class", numbers),
                Field("dims", "dimensions", (1, 2)),
                Field("points", "points a side", _POINTS),
                Field("span", "span +/-", _SPANS),
                Field("normalise", "normalise", ("none", "model", "layer", "filter")),
                Field("seed", "seed", tuple(range(10))),
                Field("toward", "toward epoch", epochs or ("0",)),
                Field("checkpoint", "checkpoint", ("last", "best", *epochs)),
                Field("batch_norm", "batch norm", ("frozen", "recompute")),
                Field("split", "split", ("train", "test", "both")),
                Field("examples", "examples", _EXAMPLES),
                Field("precision", "precision", ("exact", "float64")),
            )
        }
        pair = scene.pair or (0, 1)
        self._fields["first"].choose(pair[0])
        self._fields["second"].choose(pair[1])
        self._fields["toward"].index = len(epochs) - 1 if epochs else 0
        self._fields["checkpoint"].choose(self._epoch_in_focus())
        self._take_defaults()

    def _epoch_in_focus(self) -> str:
        """The epoch held on the screen, where it has a checkpoint; else the last."""
        held = self._scene.selection.epoch
        return str(held) if held is not None else "last"

    def _take_defaults(self) -> None:
        """The defaults of the kind chosen."""
        kind: DirectionKind = self._fields["kind"].value
        self._fields["dims"].choose(DEFAULT_DIMS[kind])
        self._fields["normalise"].choose(DEFAULT_NORMALISATION[kind])
        self._fields["span"].choose(DEFAULT_RANGE[kind][1])
        self._fields["points"].choose(default_points(kind, self._fields["dims"].value))

    def compose(self) -> ComposeResult:
        """One text; it is small, so it is painted whole."""
        with Vertical():
            yield Static(id="form", markup=False)

    def on_mount(self) -> None:
        """Show the form."""
        self._show()

    def _visible(self) -> list[Field]:
        kind = self._fields["kind"].value
        hidden = {
            "ego": {"seed", "toward"},
            "gaussian": {"first", "second", "toward"},
            "gradient": {"first", "second", "toward", "seed"},
            "toward": {"first", "second", "seed"},
        }[kind]
        if kind == "ego" and self._fields["dims"].value == 1:
            hidden = hidden | {"second"}
        return [field for field in self._fields.values() if field.name not in hidden]

    def _shown_value(self, field: Field) -> str:
        match field.name:
            case "first" | "second":
                return clean_text(self._names[field.value], 24)
            case "examples":
                return "all" if field.value is None else f"{field.value:,}"
            case "span":
                return f"{field.value:g}"
            case _:
                return str(field.value)

    def _show(self) -> None:
        fields = self._visible()
        self._line = min(self._line, len(fields) - 1)
        text = Text()
        text.append("Scan the loss landscape\n", style="bold")
        for line, field in enumerate(fields):
            is_here = line == self._line
            text.append(f"{'>' if is_here else ' '} {field.label:14} ")
            value = self._shown_value(field)
            text.append(f"< {value} >" if is_here else f"  {value}", "bold" if is_here else "")
            text.append("\n")
        text.append(f"{self._cost()}\n", style="dim")
        if self._complaint:
            text.append(f"{clean_text(self._complaint, 240)}\n", style="bold")
        text.append("↑↓ field  ←→ value  +/- span x10, /10  enter start  esc leave")
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
        points = self._fields["points"].value ** self._fields["dims"].value
        if not whole:  # a recorded run does not say how many its factory makes
            return f"{points:,} points x every example"
        text = f"{points:,} points x {sum(whole):,} images"
        rate, source = self._measured_rate()
        if rate <= 0:
            return text
        return f"{text}, about {age_text(points * sum(whole) / rate)} ({source})"

    def _measured_rate(self) -> tuple[float, str]:
        """Images a second in the forward direction, and where that number is from."""
        picture, scan = self._scene.picture, self._scene.scan
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

    def action_change(self, step: int) -> None:
        """Another value of the field."""
        field = self._visible()[self._line]
        field.step(step)
        self._complaint = ""
        if field.name == "kind":
            self._take_defaults()
        if field.name == "dims":
            kind = self._fields["kind"].value
            self._fields["points"].choose(default_points(kind, field.value))
        self._show()

    def action_span(self, power: int) -> None:
        """Ten times the span, or a tenth of it."""
        self._fields["span"].choose(self._fields["span"].value * 10.0**power)
        self._show()

    def on_key(self, event: Key) -> None:
        """A letter in a class field goes to the next class that begins with it."""
        field = self._visible()[self._line]
        letter = event.character
        if field.name not in ("first", "second") or not letter or not letter.isalnum():
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
        """Queue the scan, or say why it cannot be."""
        chosen = {name: field.value for name, field in self._fields.items()}
        dims = chosen["dims"]
        classes = (chosen["first"], chosen["second"])[:dims] if chosen["kind"] == "ego" else ()
        is_toward = chosen["kind"] == "toward"
        wish = ScanWish(
            kind=chosen["kind"],
            classes=tuple(self._names[number] for number in classes),
            dims=dims,
            points=chosen["points"],
            span=None if is_toward else chosen["span"],
            normalise=chosen["normalise"],
            seed=chosen["seed"],
            toward=chosen["toward"] if is_toward else None,
            checkpoint=chosen["checkpoint"],
            batch_norm=chosen["batch_norm"],
            split=chosen["split"],
            examples=chosen["examples"],
            precision=chosen["precision"],
        )
        try:
            scan_id = request_scan(self._reader.path, complete(wish, self._reader))
        except LossvizError as error:
            self._complaint = str(error)
            self._show()
            return
        self.dismiss(scan_id)
