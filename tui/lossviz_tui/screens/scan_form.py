"""The scan form: the choices that matter on one page, the rest on another."""

from collections.abc import Sequence
from typing import ClassVar

from textual.events import Key

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.store.reader import RunReader
from lossviz_analysis.store.requests import DEFAULT_RANGE
from lossviz_analysis.store.schema import RunState
from lossviz_tui.asking import complete
from lossviz_tui.costing import (
    bytes_text,
    fitting,
    measured_costs,
    scan_seconds,
    share_beside_training,
)
from lossviz_tui.launch import request_scan
from lossviz_tui.paint.cells import clean_text
from lossviz_tui.panels.texts import duration_text
from lossviz_tui.remembering import recall, remember
from lossviz_tui.scene import Scene
from lossviz_tui.screens.form import ARROWS, Field, Form, end_of
from lossviz_tui.screens.form_fields import PRESETS, Fields

FORM = "scan"
"""The name under which choices are remembered."""
_WORDS = {
    "examples": "all",
    "points_across": "the same",
    "span_across": "the same",
    "film": "no",
    "clip": "never",
}
"""What None means in a field."""


class ScanForm(Form[str]):
    """Asks for a scan; gives its id, of a series that of the first, or None when left."""

    KEYS: ClassVar[dict[str, str]] = Form.KEYS | {
        "tab": "turn_page",
        "shift+tab": "turn_page",
        "minus": "span(-1)",
        "plus": "span(1)",
        "equals_sign": "span(1)",
    }

    def __init__(self, scene: Scene, reader: RunReader) -> None:
        super().__init__(ascii_only=scene.look.is_ascii)
        self._scene = scene
        self._reader = reader
        self._is_second_page = False
        self._names = reader.description.class_names
        self._fields = Fields(reader, self._names)
        self._costs = measured_costs(reader)
        self._is_trained = reader.head().state == RunState.RUNNING and reader.is_written()
        self._is_remembered = self._fields.restore(recall(FORM, reader.description.run_id))
        self._take_moment()

    def _take_moment(self) -> None:
        """The pair on the screen, and the epoch held there where it has a checkpoint."""
        pair = self._scene.pair or (0, 1)
        self._fields["class"].choose(pair[0])
        self._fields["second_class"].choose(pair[1])
        held = self._scene.selection.epoch
        self._fields["checkpoint"].choose("last" if held is None else str(held))

    def take_defaults(self) -> None:
        """Everything as if no scan had been asked for before."""
        self._fields = Fields(self._reader, self._names)
        self._is_remembered = False
        self._take_moment()

    def title_text(self) -> str:
        """What the form is for."""
        return "Scan the loss landscape" + ("  (more)" if self._is_second_page else "")

    def fields_here(self) -> Sequence[Field]:
        """The fields of the page at hand."""
        return self._fields.visible(more=self._is_second_page)

    def shown_value(self, field: Field) -> str:
        """A value in words."""
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
                return end_of(str(value)) or "none found"

    def keys_text(self) -> str:
        """The keys, in one line of a small terminal."""
        page = "back" if self._is_second_page else "more"
        return f"{ARROWS} tab {page} +- span enter start esc leave"

    def notes(self) -> Sequence[str]:
        """How much work it is, how long that will take, and where the choices are from."""
        found = [self._work(), self._cost()]
        if self._is_remembered:
            found.append("as the last time; backspace goes back to the defaults")
        return found

    def _examples(self) -> int | None:
        """Examples at each point; a recorded run does not say how many its factory makes."""
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
        return sum(whole) if len(whole) == len(sizes) else None

    def _work(self) -> str:
        points, scans, examples = (
            self._fields.num_points,
            self._fields.num_scans,
            self._examples(),
        )
        many = f"{scans} scans x " if scans > 1 else ""
        images = "every example" if examples is None else f"{examples:,} images"
        return f"{many}{points:,} points x {images}"

    def _cost(self) -> str:
        """Time and memory, as measured by an earlier scan; or that nothing is measured yet."""
        examples = self._examples()
        precision = self._fields["precision"].value
        device = ",".join(word.strip() for word in str(self._fields["device"].value).split(","))
        recomputes = self._fields.recomputes
        one = fitting(
            self._costs,
            precision=precision,
            recomputes=recomputes,
            examples=examples or 0,
            device=device,
        )
        if one is None or examples is None:
            how = f" in {precision}" if self._costs else ""
            how += " with batch norm recomputed" if self._costs and recomputes else ""
            how += f" on {clean_text(device, 30)}" if self._costs and device != "auto" else ""
            return f"time and memory: not measured yet{how}"
        share = share_beside_training(one, is_trained=self._is_trained)
        scans, points = self._fields.num_scans, self._fields.num_points
        seconds = scan_seconds(one, scans, points, examples, share=share)
        where = f" on {clean_text(one.hardware, 30)}" if one.hardware else ""
        memory = f", {bytes_text(one.num_bytes)} beside the data" if one.num_bytes else ""
        rate = f"{one.images_per_second:,.0f} images/s{where}, measured by an earlier scan"
        if share < 1:
            rate += f"; at rest {100 * (1 - share):.0f} % of the time, for the training"
        return f"about {duration_text(seconds)}{memory} ({rate})"

    def action_turn_page(self) -> None:
        """The other page."""
        self._is_second_page = not self._is_second_page
        self._line = 0
        self.show()

    def changed(self, field: Field) -> None:
        """Another kind has other defaults."""
        if field.name == "kind":
            self._fields.take_defaults()
        if field.name == "second":
            self._fields.take_grid_defaults()

    def action_span(self, power: int) -> None:
        """Ten times the span, or a tenth of it; of an automatic one the usual span's."""
        span = self._fields["span"]
        if span not in self._fields.visible(more=False):
            return
        usual = DEFAULT_RANGE[self._fields.kind or "gaussian"][1]
        value: float = usual if span.value == "auto" else span.value
        span.choose(value * 10.0**power)
        self.show()

    def takes_key(self, event: Key) -> bool:
        """A letter in a class field goes to the next class that begins with it."""
        field, letter = self.field, event.character
        if field.name not in ("class", "second_class"):
            return super().takes_key(event)
        if not letter or not letter.isalnum() or letter in "hjklqs":
            return False
        for offset in range(1, len(self._names) + 1):
            index = (field.index + offset) % len(self._names)
            if self._names[index].lower().startswith(letter.lower()):
                field.index = index
                break
        return True

    def action_start(self) -> None:
        """Queue the scans, or say why it cannot be."""
        try:
            requests = complete(self._fields.wish(), self._reader)
            ids = [request_scan(self._reader.path, request) for request in requests]
        except LossvizError as error:
            self.complain(str(error))
            return
        remember(FORM, self._fields.choices(), self._reader.description.run_id)
        self.dismiss(ids[0])
