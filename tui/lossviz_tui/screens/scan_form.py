"""The scan form: the choices that matter on one page, the rest on another."""

import math
from collections.abc import Sequence
from typing import ClassVar

from textual.events import Key

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.store.fields import StoreError, integer
from lossviz_analysis.store.reader import RunReader
from lossviz_analysis.store.requests import DEFAULT_RANGE
from lossviz_analysis.store.schema import RunState
from lossviz_tui.asking import complete
from lossviz_tui.costing import (
    Measured,
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
_KINDS = {
    "ego": "along minus the gradients of two classes: the plane in which they interfere",
    "gaussian": "along random directions, scaled like the weights (Li et al. 2018)",
    "gradient": "along minus the gradient of the whole loss",
    "toward": "from this model to another: an earlier epoch, or another run",
    "pca": "along the way the checkpoints took, its principal components",
    "file": "along directions of another scan, or of an HDF5 file",
    "v-basin": "lines in random directions through the model: how narrow its valley is",
    "v-side": "a line from an early checkpoint to the last one: down the side of the valley",
    "w-basin": "a line through two runs: is there a wall between them",
    "interpolate": "a line between two runs, batch norms recomputed: their barrier",
}
_HINTS = {
    "class": "the first axis descends for this class; a letter goes to its name",
    "second_class": "the second axis descends for this class; a letter goes to its name",
    "second": "the second axis of a plane, or none for a line",
    "toward": "where coordinate 1 lies",
    "seeds": "so many lines, each in a random direction of its own",
    "points": "of the grid, on each axis; so many squared in a plane",
    "span": "from minus to plus so much of a direction; auto: until half-way to chance",
    "checkpoint": "the model in the centre",
    "split": "whose images are evaluated; both takes twice as long",
    "examples": "so many of the split, the same share of each class; fewer are quicker",
    "device": "auto, cpu, cuda:0, or several with commas between",
    "normalise": "how long a direction is: as the model, its layers or its filters",
    "bias": "whether biases and batch norms move too",
    "orthonormalise": "right angles and unit lengths, so that coordinates are distances",
    "trajectory": "the way of the checkpoints drawn into the plane",
    "film": "the same scan at checkpoint after checkpoint, to be played with space",
    "batch_norm": "running averages frozen, recomputed at each point, or interpolated",
    "precision": "fast is half precision where that changes nothing, float64 is slow",
    "order": "coarse to fine shows a whole picture early",
    "clip": "points that are surely worse than this are left early",
    "refine": "evaluate where it bends, estimate the rest",
}
_LONG_SECONDS = 600.0
"""A scan that takes longer is asked about once more."""
_MOST_EXAMPLES = 2**40
"""Of a split; as many as a scan's own geometry may claim."""


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
        self._is_sure = False
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
            case "checkpoint" if value == "last" and self._fields["kind"].value == "v-side":
                return "an early one"
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
        typing = " or type" if self.field.takes else ""
        return f"{ARROWS}{typing} tab {page} +- span enter start esc leave"

    def hint(self, field: Field) -> str:
        """What the field in focus is about; of the kind what the chosen one shows."""
        return _KINDS[field.value] if field.name == "kind" else _HINTS.get(field.name, "")

    def notes(self) -> Sequence[str]:
        """How much work it is, how long that will take, and where the choices are from."""
        found = [self._work(), self._cost()]
        if self._is_remembered:
            found.append("as the last time; ctrl+r goes back to the defaults")
        return found

    def _examples(self) -> int | None:
        """Examples at each point; a recorded run does not say how many its factory makes."""
        data = self._reader.description.dataset
        splits = {"train": ("num_train",), "test": ("num_test",)}.get(
            self._fields["split"].value, ("num_train", "num_test")
        )
        limit = self._fields["examples"].value
        try:
            sizes = [integer(data, name, high=_MOST_EXAMPLES) for name in splits]
        except StoreError:
            return None
        return sum(size if limit is None else min(size, limit) for size in sizes)

    def _work(self) -> str:
        points, scans, examples = (
            self._fields.num_points,
            self._fields.num_scans,
            self._examples(),
        )
        many = f"{scans} scans x " if scans > 1 else ""
        images = "every example" if examples is None else f"{examples:,} images"
        return f"{many}{points:,} points x {images}"

    def _measured(self) -> tuple[Measured | None, float]:
        """What an earlier scan of this kind has cost, and how long this one takes; or NaN."""
        examples = self._examples()
        one = fitting(
            self._costs,
            precision=self._fields["precision"].value,
            recomputes=self._fields.recomputes,
            examples=examples or 0,
            device=self._device,
        )
        if one is None or examples is None:
            return None, math.nan
        count, points = self._fields.num_scans, self._fields.num_points
        share = share_beside_training(one, is_trained=self._is_trained)
        return one, scan_seconds(one, count, points, examples, share=share)

    @property
    def _device(self) -> str:
        return ",".join(word.strip() for word in str(self._fields["device"].value).split(","))

    def _cost(self) -> str:
        """Time and memory, as measured by an earlier scan; or that nothing is measured yet."""
        one, seconds = self._measured()
        if one is None:
            precision, device = self._fields["precision"].value, self._device
            how = f" in {precision}" if self._costs else ""
            how += " with batch norm recomputed" * bool(self._costs and self._fields.recomputes)
            how += f" on {clean_text(device, 30)}" if self._costs and device != "auto" else ""
            return f"time and memory: not measured yet{how}"
        share = share_beside_training(one, is_trained=self._is_trained)
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
        self._is_sure = False
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
        span.choose(float(f"{value * 10.0**power:.6g}"))  # 0.01, not 0.010000000000000002
        self.changed(span)
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
        """Queue the scans, or say why it cannot be; a long one is asked about first."""
        _, seconds = self._measured()
        if seconds > _LONG_SECONDS and not self._is_sure:
            self._is_sure = True
            self.complain(f"this takes about {duration_text(seconds)}; enter again starts it")
            return
        try:
            requests = complete(self._fields.wish(), self._reader)
            ids = [request_scan(self._reader.path, request) for request in requests]
        except (LossvizError, OSError) as error:
            self.complain(str(error))
            return
        remember(FORM, self._fields.choices(), self._reader.description.run_id)
        self.dismiss(ids[0])
