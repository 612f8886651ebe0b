"""The choices of the scan form: what there is to choose from, what shows, what it asks for."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.reader import RunReader, find_runs
from lossviz_analysis.store.requests import (
    DEFAULT_DIMS,
    DEFAULT_NORMALISATION,
    DEFAULT_RANGE,
    DirectionKind,
    Normalisation,
    default_points,
)
from lossviz_analysis.store.scans import find_scans
from lossviz_tui.choosing import HDF5_SUFFIXES, is_number, way
from lossviz_tui.devices import device_choices
from lossviz_tui.screens.form import Field
from lossviz_tui.wish import DirectionWish, Preset, ScanWish, film_wish

KINDS: tuple[DirectionKind, ...] = ("ego", "gaussian", "gradient", "toward", "pca", "file")
PRESETS: tuple[Preset, ...] = ("v-basin", "v-side", "w-basin", "interpolate")
_POINTS = (5, 7, 11, 15, 19, 25, 31, 41, 51, 75, 101, 151, 201)
_SPANS = tuple(round(digit * 10.0**power, 6) for power in range(-5, 3) for digit in (1, 2, 5))
_EXAMPLES = (None, 500, 1_000, 2_000, 5_000, 10_000)
_RANGES = ((-0.5, 1.5), (-1.0, 2.0), (-1.0, 1.0), (0.0, 1.0))
_CLIPS = (None, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
_MAX_LISTED = 50
_TOWARD_RUNS = ("toward", "second_toward", "other_run")

_MORE = (
    "normalise",
    "bias",
    "points_across",
    "span_across",
    "orthonormalise",
    "trajectory",
    "film",
    "batch_norm",
    "precision",
    "order",
    "clip",
    "refine",
)
"""The fields of the second page."""

_OF_THE_MOMENT = ("class", "second_class", "checkpoint")
"""Fields that follow what is on the screen instead of what was chosen the last time."""


class Fields:
    """All choices, the ones without meaning for the kind included."""

    def __init__(self, reader: RunReader, names: Sequence[str]) -> None:
        self.names = names
        self._by_name = {field.name: field for field in _fields(reader, len(names))}
        self._film_epochs = [info.epoch for info in way(reader)]
        self.take_defaults()

    def __getitem__(self, name: str) -> Field:
        """One field."""
        return self._by_name[name]

    @property
    def kind(self) -> DirectionKind | None:
        """The kind chosen; None where it is a preset."""
        value = self["kind"].value
        return value if value in KINDS else None

    @property
    def second(self) -> DirectionKind | None:
        """The kind of the second direction; None on a line."""
        value = self["second"].value
        return None if self.kind is None or value == "none" else value

    @property
    def dims(self) -> int:
        """1 for a line, 2 for a plane."""
        return 1 if self.second is None else 2

    def take_defaults(self) -> None:
        """The defaults of the kind chosen."""
        kind = self.kind
        self._take_toward()
        if kind is None:
            presets: dict[str, Normalisation] = {"v-basin": "model"}
            self["normalise"].choose(presets.get(self["kind"].value, "none"))
            self["seeds"].choose(5)
            self["split"].choose("both" if self["kind"].value == "interpolate" else "train")
        else:
            if DEFAULT_DIMS[kind] == 1:
                self["second"].choose("none")
            else:
                self["second"].choose(kind)
            self["normalise"].choose(DEFAULT_NORMALISATION[kind])
            self["seeds"].choose(1)
            self["split"].choose("train")
        self.take_grid_defaults()

    def _take_toward(self) -> None:
        """Toward the oldest epoch; a side of a valley is looked at toward the newest."""
        epochs = [value for value in self["toward"].values if is_number(value)]
        if epochs:
            self["toward"].choose(epochs[0 if self["kind"].value == "v-side" else -1])

    def take_grid_defaults(self) -> None:
        """The usual points and span of the directions chosen."""
        kind = self.kind
        if kind is None:
            self["points"].choose(61 if self["kind"].value == "w-basin" else 41)
            self["span"].choose(DEFAULT_RANGE["gaussian"][1])
            return
        self["points"].choose(default_points(kind, self.dims))
        kinds = {kind, self.second or kind}
        is_auto = kinds == {"ego"} or ("pca" in kinds and "toward" not in kinds)
        usual = DEFAULT_RANGE[kind][1]
        self["span"].choose("auto" if is_auto and self.dims == 2 else usual)

    def visible(self, *, more: bool) -> list[Field]:
        """The fields of a page that mean something for what is chosen."""
        shown = self._shown()
        return [
            field
            for field in self._by_name.values()
            if field.name in shown and (field.name in _MORE) == more
        ]

    def _shown(self) -> set[str]:
        shown = {"kind", "points", "checkpoint", "split", "examples", "batch_norm", "device"}
        shown |= {"precision", "order", "clip", "refine"}
        kind = self.kind
        if kind is None:
            of_preset = {
                "v-basin": {"seed", "seeds", "span", "normalise", "bias"},
                "v-side": {"toward"},
                "w-basin": {"other_run"},
                "interpolate": {"other_run"},
            }
            return shown | of_preset[self["kind"].value]
        shown |= _first_fields(kind) | {"second", "film", "normalise"}
        if self["normalise"].value in ("layer", "filter"):
            shown |= {"bias"}
        if self.second is not None:
            shown |= {f"second_{name}" for name in _first_fields(self.second) if name != "file"}
            shown |= {"points_across", "orthonormalise", "trajectory"}
            if "pca" in (kind, self.second):
                shown -= {"trajectory"}
        elif kind == "gaussian":
            shown |= {"seeds"}
        if self._has_range:
            shown |= {"range"}
        else:
            shown |= {"span", "span_across"} if self.second else {"span"}
        return shown

    @property
    def _has_range(self) -> bool:
        """Whether coordinates run between two models instead of around one."""
        return self.kind == "toward" and not self["orthonormalise"].value

    @property
    def num_points(self) -> int:
        """Points of the grid of each scan."""
        across = self["points_across"].value or self["points"].value
        return self["points"].value * (1 if self.second is None else across)

    @property
    def num_scans(self) -> int:
        """Scans of the series asked for."""
        shown = self._shown()
        if "film" in shown and self["film"].value is not None:
            step = self["film"].value
            chosen: list[int] = []
            for epoch in self._film_epochs:
                if not chosen or epoch >= chosen[-1] + step:
                    chosen.append(epoch)
            return max(1, len(chosen))
        return self["seeds"].value if "seeds" in shown else 1

    @property
    def recomputes(self) -> bool:
        """Whether batch-norm statistics will be computed anew at each point."""
        shown = self._shown()
        chosen = self["batch_norm"].value
        ends = (self[name].value for name in _TOWARD_RUNS if name in shown)
        is_between = any(end and not is_number(end) for end in ends)
        return chosen == "recompute" or (chosen == "usual" and is_between)

    def choices(self) -> dict[str, Any]:
        """What is chosen, as JSON keeps it; what follows from the screen is left out."""
        kept = self._by_name.keys() - set(_OF_THE_MOMENT)
        return {name: self[name].value for name in sorted(kept)}

    def restore(self, choices: Mapping[str, Any]) -> bool:
        """Choose again what was chosen once, as far as it can still be; whether anything was.

        Nothing is trusted: a value that a field could not have given is left out.
        """
        if choices.get("kind") not in self["kind"].values:
            return False
        self["kind"].choose(choices["kind"])
        self.take_defaults()
        for name in choices.keys() & (self._by_name.keys() - set(_OF_THE_MOMENT)):
            field, kept = self[name], choices[name]
            value: Any = tuple(kept) if isinstance(kept, list) else kept
            if field.could_give(value):
                field.choose(value)
        return True

    def wish(self) -> ScanWish:
        """What is asked for."""
        shown = self._shown()
        value: dict[str, Any] = {name: self[name].value for name in shown}
        kind, film = self.kind, value.get("film")
        for name in ("other_run", "toward", "file"):
            if value.get(name) == "":
                raise LossvizError("there is nothing to go toward, or to take directions from")
        return ScanWish(
            kind=kind,
            preset=None if kind else value["kind"],
            classes=(self._class_name(value["class"]),) if "class" in value else (),
            seed=value.get("seed", 0),
            toward=value.get("other_run", value.get("toward")),
            component=value.get("component", 1),
            file=value.get("file"),
            second=self._second_wish(value),
            dims=self.dims if kind else None,
            points=self._points(value),
            span=self._span(value),
            ranges=self._ranges(value),
            normalise=value.get("normalise"),
            scale_bias_and_bn=value.get("bias", False),
            orthonormalise=value.get("orthonormalise", False),
            checkpoint=self._checkpoint(value),
            batch_norm=None if value["batch_norm"] == "usual" else value["batch_norm"],
            split=value["split"],
            examples=value["examples"],
            precision=value["precision"],
            device=value["device"],
            is_final=value["order"] == "point by point",
            clip=value["clip"],
            refine=value["refine"],
            trajectory=value.get("trajectory", False),
            film=None if film is None else film_wish(f"..:{film}"),
            seeds=self._seeds(value),
        )

    def _class_name(self, number: int) -> str:
        return self.names[number]

    def _second_wish(self, value: Mapping[str, Any]) -> DirectionWish | None:
        second = self.second
        if second is None:
            return None
        (name, *_) = (*_first_fields(second), "")
        argument = value.get(f"second_{name}", "")
        if second == "ego":
            argument = self._class_name(argument)
        return DirectionWish(kind=second, argument=str(argument))

    def _points(self, value: Mapping[str, Any]) -> int | tuple[int, ...]:
        across = value.get("points_across")
        return value["points"] if across is None else (value["points"], across)

    def _span(self, value: Mapping[str, Any]) -> Any:  # noqa: ANN401  # as the wish has it
        span, across = value.get("span"), value.get("span_across")
        if span is None or across is None:
            return span
        if span == "auto":
            raise LossvizError("a span across goes with a span that is a number, not auto")
        return (span, across)

    def _ranges(self, value: Mapping[str, Any]) -> tuple[tuple[float, float], ...]:
        if "range" not in value:
            return ()
        second = self.second
        return (value["range"],) if second is None else (value["range"], DEFAULT_RANGE[second])

    def _checkpoint(self, value: Mapping[str, Any]) -> str | None:
        chosen: str = value["checkpoint"]
        is_open = value.get("film") is not None or value["kind"] == "v-side"
        return None if is_open and chosen == "last" else chosen

    def _seeds(self, value: Mapping[str, Any]) -> int | None:
        count: int = value.get("seeds", 1)
        return count if count > 1 or value["kind"] == "v-basin" else None


def _first_fields(kind: DirectionKind) -> set[str]:
    """The fields that say what a direction of a kind is made from."""
    return {
        "ego": {"class"},
        "gaussian": {"seed"},
        "gradient": set[str](),
        "toward": {"toward"},
        "pca": {"component"},
        "file": {"file"},
    }[kind]


def _fields(reader: RunReader, num_classes: int) -> tuple[Field, ...]:
    epochs = tuple(
        dict.fromkeys(str(i.epoch) for i in reversed(reader.checkpoints()) if i.step == 0)
    )
    runs = _other_runs(reader.path)
    numbers, seeds, components = tuple(range(num_classes)), tuple(range(10)), (1, 2, 3, 4, 5)
    toward = (*epochs, *runs) or ("",)
    first_epoch = max(0, len(epochs) - 1)
    second_kinds = tuple(kind for kind in KINDS if kind != "file")
    return (
        Field("kind", "kind", (*KINDS, *PRESETS)),
        Field("class", "first class", numbers),
        Field("seed", "seed", seeds, takes="number"),
        Field("toward", "toward", toward, first_epoch),
        Field("other_run", "toward run", runs or ("",)),
        Field("component", "component", components),
        Field("file", "directions of", _files(reader.path)),
        Field("second", "second", ("none", *second_kinds)),
        Field("second_class", "second class", numbers),
        Field("second_seed", "second seed", seeds, 1, takes="number"),
        Field("second_toward", "second toward", toward, first_epoch),
        Field("second_component", "component", components, 1),
        Field("seeds", "curves", (1, 2, 3, 5, 10)),
        Field("points", "points a side", (*_POINTS[:9], 61, *_POINTS[9:]), takes="number"),
        Field("span", "span +/-", ("auto", *_SPANS), takes="decimal"),
        Field("range", "range", _RANGES),
        Field("checkpoint", "checkpoint", ("last", "best", *epochs)),
        Field("split", "split", ("train", "test", "both")),
        Field("examples", "examples", _EXAMPLES, takes="number"),
        Field("device", "device", device_choices(several=True), takes="text"),
        Field("normalise", "normalise", get_args(Normalisation)),
        Field("bias", "biases and BN", (False, True)),
        Field("points_across", "points across", (None, *_POINTS), takes="number"),
        Field("span_across", "span across", (None, *_SPANS), takes="decimal"),
        Field("orthonormalise", "orthonormal", (False, True)),
        Field("trajectory", "trajectory", (False, True)),
        Field("film", "film", (None, 1, 2, 5, 10, 20, 50)),
        Field("batch_norm", "batch norm", ("usual", "frozen", "recompute", "interpolate")),
        Field("precision", "precision", ("exact", "fast", "float64")),
        Field("order", "order", ("coarse to fine", "point by point")),
        Field("clip", "give up above", _CLIPS),
        Field("refine", "refine", (False, True)),
    )


def _other_runs(path: Path) -> tuple[str, ...]:
    """Runs beside this one."""
    found = (str(run) for run in find_runs(path.parent) if run.absolute() != path.absolute())
    return tuple(found)[:_MAX_LISTED]


def _files(path: Path) -> tuple[str, ...]:
    """Directions of the run's scans, the newest first, and HDF5 files beside the run."""
    found: list[str] = []
    for scan in reversed(find_scans(path)):
        try:
            geometry = scan.geometry()
        except StoreError:
            continue
        count = 0 if geometry is None else len(geometry.direction_norms)
        found += [f"{scan.folder}:{number}" for number in range(1, count + 1)]
        if len(found) >= _MAX_LISTED:
            break
    try:
        beside = sorted(p for p in path.parent.iterdir() if p.suffix in HDF5_SUFFIXES)
    except OSError:
        beside = []
    return (*found, *map(str, beside[:_MAX_LISTED])) or ("",)
