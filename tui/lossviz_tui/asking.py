"""From what a person says of a scan to a complete request: names, defaults, checkpoints."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.store.checkpoints import CheckpointInfo
from lossviz_analysis.store.reader import RunReader
from lossviz_analysis.store.requests import (
    DEFAULT_DIMS,
    DEFAULT_NORMALISATION,
    DEFAULT_RANGE,
    BatchNormMode,
    DirectionKind,
    DirectionSpec,
    Normalisation,
    Precision,
    ScanRequest,
    SplitChoice,
    default_points,
)


@dataclass(frozen=True, kw_only=True)
class ScanWish:
    """A scan as a person asks for it; None means the default of its kind."""

    kind: DirectionKind
    classes: tuple[str, ...] = ()
    """Names or numbers of the classes of an ego scan."""
    dims: int | None = None
    points: int | None = None
    span: float | None = None
    """Coordinates run from -span to span along each direction."""
    normalise: Normalisation | None = None
    seed: int = 0
    toward: str | None = None
    """EPOCH of this run, RUN, or RUN:EPOCH."""
    checkpoint: str = "last"
    """`last`, `best`, or an epoch."""
    batch_norm: BatchNormMode = "frozen"
    split: SplitChoice = "train"
    examples: int | None = None
    precision: Precision = "exact"
    device: str = "auto"


def complete(wish: ScanWish, reader: RunReader) -> ScanRequest:
    """The request a wish amounts to, for a run as it stands.

    The second direction of a gradient or toward plane is Gaussian and filter-normalised.
    """
    _refuse_idle_options(wish)
    dims = wish.dims
    if dims is None:
        is_line = wish.kind == "ego" and len(wish.classes) == 1
        dims = 1 if is_line else DEFAULT_DIMS[wish.kind]
    if dims not in (1, 2):
        raise LossvizError(f"dims is 1 or 2; got {dims}")
    info = choose_checkpoint(reader, wish.checkpoint)
    normalise = wish.normalise or DEFAULT_NORMALISATION[wish.kind]
    match wish.kind:
        case "ego":
            numbers = _ego_classes(wish, reader.description.class_names, dims)
            specs = [
                DirectionSpec(kind="ego", normalise=normalise, class_index=number)
                for number in numbers
            ]
        case "gaussian":
            specs = [
                DirectionSpec(kind="gaussian", normalise=normalise, seed=wish.seed + k)
                for k in range(dims)
            ]
        case "gradient":
            specs = [DirectionSpec(kind="gradient", normalise=normalise)]
        case "toward":
            specs = [_toward(wish, reader, info, normalise)]
    if len(specs) < dims:
        specs.append(DirectionSpec(kind="gaussian", normalise="filter", seed=wish.seed))
    points = default_points(wish.kind, dims) if wish.points is None else wish.points
    return ScanRequest(
        directions=tuple(specs),
        points=(points,) * dims,
        ranges=tuple(_range(wish, spec) for spec in specs),
        checkpoint=info.number,
        epoch=info.epoch,
        batch_norm=wish.batch_norm,
        split=wish.split,
        examples=wish.examples,
        precision=wish.precision,
        device=wish.device,
    )


def _refuse_idle_options(wish: ScanWish) -> None:
    """Refuse what the kind of scan would leave unused, or no scan could use."""
    if wish.classes and wish.kind != "ego":
        raise LossvizError(f"classes belong to a scan of kind ego; got kind {wish.kind}")
    if wish.toward is not None and wish.kind != "toward":
        raise LossvizError(f"toward belongs to a scan of kind toward; got kind {wish.kind}")
    if not 0 <= wish.seed < 2**62:
        raise LossvizError(f"seed is a whole number from 0 to 2**62; got {wish.seed}")


def _range(wish: ScanWish, spec: DirectionSpec) -> tuple[float, float]:
    if wish.span is None:
        return DEFAULT_RANGE[spec.kind]
    if not wish.span > 0:
        raise LossvizError(f"span is a positive number; got {wish.span}")
    return (-wish.span, wish.span)


def choose_checkpoint(reader: RunReader, wanted: str) -> CheckpointInfo:
    """The checkpoint `last`, `best`, or of an epoch."""
    head = reader.head()
    infos = reader.checkpoints(head)
    ends = [info for info in infos if info.step == 0]
    if not infos:
        raise LossvizError(f"{reader.path} has no checkpoint yet; wait for the first")
    if wanted == "last":
        return infos[-1]
    if wanted == "best":
        best = [info for info in infos if info.number == head.best_checkpoint]
        if not best:
            raise LossvizError(f"{reader.path} has no best checkpoint yet")
        return best[0]
    if not wanted.isdecimal():
        raise LossvizError(f"a checkpoint is last, best, or an epoch; got {wanted!r}")
    matching = [info for info in ends if info.epoch == int(wanted)]
    if not matching:
        kept = ", ".join(str(info.epoch) for info in ends[-12:])
        raise LossvizError(f"there is no checkpoint of epoch {wanted}; kept are (last) {kept}")
    return matching[-1]


def _ego_classes(wish: ScanWish, names: Sequence[str], dims: int) -> tuple[int, ...]:
    numbers = tuple(class_number(word, names) for word in wish.classes)
    if len(numbers) != dims:
        raise LossvizError(
            f"an ego scan of {dims} dimension{'s' * (dims > 1)} needs {dims} "
            f"class{'es' * (dims > 1)}; got {len(numbers)}"
        )
    if len(set(numbers)) < len(numbers):
        raise LossvizError("an ego plane needs two different classes")
    return numbers


def class_number(word: str, names: Sequence[str]) -> int:
    """The class a person means: by its name, or by its number where no class has that name."""
    if word in names:
        return list(names).index(word)
    lowered = [name.lower() for name in names]
    if word.lower() in lowered:
        return lowered.index(word.lower())
    if word.isdecimal() and int(word) < len(names):
        return int(word)
    some = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    raise LossvizError(f"there is no class {word!r}; the classes are {some}")


def _toward(
    wish: ScanWish, reader: RunReader, origin: CheckpointInfo, normalise: Normalisation
) -> DirectionSpec:
    if wish.toward is None:
        raise LossvizError("a scan of kind toward needs --toward EPOCH, RUN or RUN:EPOCH")
    if wish.toward.isdecimal():
        other = choose_checkpoint(reader, wish.toward)
        if other.number == origin.number:
            raise LossvizError("toward needs another checkpoint than the one at the origin")
        return DirectionSpec(kind="toward", normalise=normalise, toward_checkpoint=other.number)
    path, epoch = wish.toward, "last"
    if not Path(path).exists() and ":" in path:
        path, _, epoch = path.rpartition(":")
    other_reader = RunReader(Path(path).absolute())
    if other_reader.description.num_classes != reader.description.num_classes:
        raise LossvizError(f"{path} has another number of classes than {reader.path}")
    return DirectionSpec(
        kind="toward",
        normalise=normalise,
        toward_run=str(other_reader.path),
        toward_checkpoint=choose_checkpoint(other_reader, epoch).number,
    )
