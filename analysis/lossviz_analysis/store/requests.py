"""What a scan is asked to be: frozen, checked, and stored as attributes of the scan.

A request says everything that determines the numbers, so that two scans with equal requests are
equal.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal, cast, get_args

from lossviz_analysis.store import fields
from lossviz_analysis.store.fields import StoreError

DirectionKind = Literal["ego", "gaussian", "gradient", "toward", "pca", "file"]
Normalisation = Literal["none", "model", "layer", "filter"]
BatchNormMode = Literal["frozen", "recompute", "interpolate"]
SplitChoice = Literal["train", "test", "both"]
Precision = Literal["exact", "fast", "float64"]

DEFAULT_NORMALISATION: dict[DirectionKind, Normalisation] = {
    "ego": "none",
    "gaussian": "filter",
    "gradient": "none",
    "toward": "none",
    "pca": "none",
    "file": "none",
}
DEFAULT_RANGE: dict[DirectionKind, tuple[float, float]] = {
    "ego": (-0.1, 0.1),
    "gaussian": (-1.0, 1.0),
    "gradient": (-1.0, 1.0),
    "toward": (-0.5, 1.5),
    "pca": (-1.0, 1.0),
    "file": (-1.0, 1.0),
}
"""Diao et al. for ego planes; Xu et al. and Li et al. for the others."""

DEFAULT_DIMS: dict[DirectionKind, int] = {
    "ego": 2,
    "gaussian": 2,
    "gradient": 1,
    "toward": 1,
    "pca": 2,
    "file": 1,
}
MAX_POINTS = 2_001
MAX_TRAJECTORY = 512
MAX_SERIES_LETTERS = 120


def default_points(kind: DirectionKind, dims: int) -> int:
    """Points along an axis: 41 on a line (Xu), 19 on an ego plane (Diao), 51 on others (Li)."""
    if dims == 1:
        return 41
    return 19 if kind == "ego" else 51


@dataclass(frozen=True, kw_only=True)
class DirectionSpec:
    """One direction, so that it can be made again."""

    kind: DirectionKind
    normalise: Normalisation
    class_index: int | None = None
    """Of an ego direction."""
    seed: int | None = None
    """Of a gaussian direction."""
    toward_run: str | None = None
    """Of a toward direction: the other run's path, or None for this run."""
    toward_checkpoint: int | None = None
    """Of a toward direction: the number of the other checkpoint."""
    component: int | None = None
    """Of a pca direction: which principal component; of a file: which of its directions; from
    1."""
    file: str | None = None
    """Of a file direction: path of a scan's folder or of an HDF5 file in the layout of Li et
    al.'s code."""
    scale_bias_and_bn: bool = False
    """Whether layer and filter normalisation keep biases and BN parameters (dimension one or
    less) instead of setting them to zero."""

    def __post_init__(self) -> None:
        """Refuse what no direction can be.

        Raises:
            StoreError: A field the kind needs is missing.
        """
        needed = {
            "ego": self.class_index,
            "gaussian": self.seed,
            "gradient": 0,
            "toward": self.toward_checkpoint,
            "pca": self.component,
            "file": self.component if self.file else None,
        }
        if needed[self.kind] is None:
            raise StoreError(f"a direction of kind {self.kind!r} misses what it is made from")
        if self.component is not None and not 1 <= self.component <= MAX_TRAJECTORY:
            raise StoreError(f"component is a number from 1; got {self.component!r}")

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> "DirectionSpec":
        """Check and read one direction.

        Args:
            found: What a request holds for it.

        Returns:
            The direction.

        Raises:
            StoreError: A field is missing or malformed.
        """
        run: object = found.get("toward_run")
        file: object = found.get("file")
        return cls(
            kind=cast("DirectionKind", choice(found, "kind", get_args(DirectionKind))),
            normalise=cast(
                "Normalisation", choice(found, "normalise", get_args(Normalisation))
            ),
            class_index=_optional(found, "class_index"),
            seed=_optional(found, "seed"),
            toward_run=None if run is None else fields.text(found, "toward_run"),
            toward_checkpoint=_optional(found, "toward_checkpoint"),
            component=_optional(found, "component"),
            file=None if file is None else fields.text(found, "file"),
            scale_bias_and_bn=found.get("scale_bias_and_bn") is True,
        )


@dataclass(frozen=True, kw_only=True)
class ScanRequest:
    """A scan, before anything is computed."""

    directions: tuple[DirectionSpec, ...]
    """One for a line, two for a plane; the first runs along rows."""
    points: tuple[int, ...]
    """Points along each direction."""
    ranges: tuple[tuple[float, float], ...]
    """First and last coordinate along each direction, both included."""
    checkpoint: int
    """Number of the checkpoint at the origin."""
    epoch: int
    """Epochs that checkpoint had completed."""
    batch_norm: BatchNormMode = "frozen"
    split: SplitChoice = "train"
    examples: int | None = None
    """Evaluate on the first so many of each split's class-balanced order; None means all."""
    precision: Precision = "exact"
    device: str = "auto"
    """`auto`, a device, or several with commas: processes that share the scan."""
    orthonormalise: bool = False
    """Whether the axes of a plane are made orthogonal and of unit length, the first first;
    coordinates are then distances."""
    auto_span: bool = False
    """Whether the span is searched for, see `surfaces.span`; the ranges then count only where
    there is none to find, as the model is hardly better than chance."""
    is_final: bool = False
    """Whether each point is finished before the next; no coarse picture comes first."""
    clip: float | None = None
    """A loss; a point whose running mean is above twice that is given up as "at least"."""
    refine: bool = False
    """Whether points are left out where their neighbours predict them."""
    trajectory: tuple[int, ...] = ()
    """Numbers of the checkpoints that define pca directions and are drawn on the plane."""
    series: str = ""
    """Scans of one name belong together: curves of one chart, or the frames of a film."""

    def __post_init__(self) -> None:
        """Refuse what no scan can be.

        Raises:
            StoreError: Lengths differ, or a number is out of bounds.
        """
        if not 1 <= len(self.directions) == len(self.points) == len(self.ranges) <= 2:
            raise StoreError("a scan has one or two directions, each with points and a range")
        for number in self.points:
            if not 2 <= number <= MAX_POINTS:
                raise StoreError(f"points is a number from 2 to {MAX_POINTS}; got {number!r}")
        for low, high in self.ranges:
            if not -1e9 <= low < high <= 1e9:
                raise StoreError(
                    f"a range needs low < high, both finite; got {low!r} and {high!r}"
                )
        if self.examples is not None and self.examples < 1:
            raise StoreError(f"examples is a positive number; got {self.examples!r}")
        if self.clip is not None and not 0 < self.clip <= 1e9:
            raise StoreError(f"clip is a positive loss; got {self.clip!r}")
        if len(self.trajectory) > MAX_TRAJECTORY or min(self.trajectory, default=1) < 1:
            raise StoreError(f"a trajectory names at most {MAX_TRAJECTORY} checkpoints")
        if len(self.series) > MAX_SERIES_LETTERS:
            raise StoreError(f"a series has a name of at most {MAX_SERIES_LETTERS} letters")
        kinds = {direction.kind for direction in self.directions}
        if "pca" in kinds and len(self.trajectory) < 2:
            raise StoreError("a pca direction needs a trajectory of two checkpoints or more")
        if self.batch_norm == "interpolate" and (kinds != {"toward"} or self.dims != 1):
            raise StoreError("batch norm interpolates only on a line toward another model")
        if (self.clip is not None or self.refine) and self.is_final:
            raise StoreError("a final scan leaves nothing out; drop clip and refine")

    @property
    def pinned(self) -> tuple[int, ...]:
        """Numbers of the checkpoints of its own run that it needs."""
        toward = (
            d.toward_checkpoint
            for d in self.directions
            if d.toward_run is None and d.toward_checkpoint is not None
        )
        return tuple(dict.fromkeys((self.checkpoint, *toward, *self.trajectory)))

    @property
    def kind(self) -> DirectionKind:
        """The kind of the first direction, by which people name the scan."""
        return self.directions[0].kind

    @property
    def dims(self) -> int:
        """1 for a line, 2 for a plane."""
        return len(self.directions)

    @property
    def num_points(self) -> int:
        """Points of the whole grid."""
        product = 1
        for number in self.points:
            product *= number
        return product

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits evaluated, in stored order."""
        return ("train", "test") if self.split == "both" else (self.split,)

    @property
    def classes(self) -> tuple[int, ...]:
        """The classes of its ego directions."""
        return tuple(d.class_index for d in self.directions if d.class_index is not None)

    def to_json(self) -> dict[str, Any]:
        """The request as stored and as `show --json` prints it."""
        return {"kind": self.kind, "dims": self.dims, "classes": list(self.classes)} | asdict(
            self
        )

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> "ScanRequest":
        """Check and read a stored request.

        Args:
            found: What the scan's attributes hold under `request`.

        Returns:
            The request.

        Raises:
            StoreError: A field is missing or malformed.
        """
        directions = fields.sequence(found, "directions", limit=2)
        ranges = fields.sequence(found, "ranges", limit=2)
        points = fields.sequence(found, "points", limit=2)
        if not all(isinstance(item, dict) for item in directions):
            raise StoreError("field 'directions' should be a list of objects")
        if not all(isinstance(item, list) and len(item) == 2 for item in ranges):
            raise StoreError("field 'ranges' should be a list of pairs")
        return cls(
            directions=tuple(DirectionSpec.from_json(item) for item in directions),
            points=tuple(fields.integer({"points": item}, "points") for item in points),
            ranges=tuple(
                (fields.number({"low": a}, "low"), fields.number({"high": b}, "high"))
                for a, b in ranges
            ),
            checkpoint=fields.integer(found, "checkpoint", low=1),
            epoch=fields.integer(found, "epoch"),
            batch_norm=cast(
                "BatchNormMode", choice(found, "batch_norm", get_args(BatchNormMode))
            ),
            split=cast("SplitChoice", choice(found, "split", get_args(SplitChoice))),
            examples=_optional(found, "examples"),
            precision=cast("Precision", choice(found, "precision", get_args(Precision))),
            device=fields.text(found, "device", "auto"),
            orthonormalise=found.get("orthonormalise") is True,
            auto_span=found.get("auto_span") is True,
            is_final=found.get("is_final") is True,
            clip=None if found.get("clip") is None else fields.number(found, "clip"),
            refine=found.get("refine") is True,
            trajectory=tuple(
                fields.integer({"trajectory": n}, "trajectory", low=1)
                for n in (
                    fields.sequence(found, "trajectory", limit=MAX_TRAJECTORY)
                    if "trajectory" in found
                    else ()
                )
            ),
            series=fields.text(found, "series", ""),
        )


def choice(found: dict[str, Any], name: str, options: tuple[str, ...]) -> str:
    """A field that must be one of some words.

    Args:
        found: The object.
        name: The field.
        options: The words.

    Returns:
        The word.

    Raises:
        StoreError: It is something else.
    """
    value = fields.text(found, name)
    if value not in options:
        raise StoreError(f"{name} is one of {', '.join(options)}; got {value!r}")
    return value


def _optional(found: dict[str, Any], name: str) -> int | None:
    return None if found.get(name) is None else fields.integer(found, name)
