"""From what a person says of a scan to complete requests: names, defaults, checkpoints."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar, assert_never
from uuid import uuid4

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
    ScanRequest,
    default_points,
)
from lossviz_tui.choosing import (
    choose_checkpoint,
    class_number,
    direction_file,
    is_number,
    other_run,
    trajectory,
    way,
)
from lossviz_tui.presets import with_preset
from lossviz_tui.wish import DirectionWish, ScanWish

_Value = TypeVar("_Value")

MAX_SERIES = 200
"""Scans of one film or one chart; more are hardly meant."""


def complete(wish: ScanWish, reader: RunReader) -> tuple[ScanRequest, ...]:
    """The requests a wish amounts to, for a run as it stands: one, or those of a series.

    The second direction of a gradient, toward or file plane is Gaussian and filter-normalised
    unless another is asked for. A film is one request for each kept checkpoint in its range.
    """
    wish = with_preset(wish, reader)
    kind = wish.kind
    if kind is None:
        raise LossvizError("a scan needs --kind or --preset")
    _refuse_idle_options(wish, kind)
    if wish.film is not None:
        return _film(wish, kind, reader)
    if wish.seeds is not None:
        return _seeds(wish, kind, reader)
    return (_request(wish, kind, choose_checkpoint(reader, wish.checkpoint or "last"), reader),)


def complete_one(wish: ScanWish, reader: RunReader) -> ScanRequest:
    """The one request a wish amounts to; refuses a series."""
    requests = complete(wish, reader)
    if len(requests) != 1:
        raise LossvizError(f"one scan is expected here; got a series of {len(requests)}")
    return requests[0]


def _film(wish: ScanWish, kind: DirectionKind, reader: RunReader) -> tuple[ScanRequest, ...]:
    film = wish.film
    if film is None:
        return ()
    if wish.checkpoint is not None:
        raise LossvizError("a film goes from checkpoint to checkpoint; drop --checkpoint")
    if wish.seeds is not None:
        raise LossvizError("a film has one seed; drop --seeds")
    kinds = {kind, wish.second.kind if wish.second else kind}
    is_open = wish.span is None and not wish.ranges and (wish.orthonormalise or "pca" in kinds)
    if wish.span == "auto" or is_open:
        raise LossvizError("the frames of a film share one span; give --span S or --range")
    chosen: list[CheckpointInfo] = []
    for info in way(reader):
        is_inside = film.first <= info.epoch and (film.last is None or info.epoch <= film.last)
        if is_inside and (not chosen or info.epoch >= chosen[-1].epoch + film.step):
            chosen.append(info)
    if len(chosen) < 2:
        kept = ", ".join(str(info.epoch) for info in way(reader)[-12:])
        raise LossvizError(
            f"a film needs two checkpoints or more in its range; kept are (last) {kept}"
        )
    if len(chosen) > MAX_SERIES:
        raise LossvizError(f"a film has at most {MAX_SERIES} frames; got {len(chosen)}")
    series = f"film-{uuid4().hex[:8]}"
    return tuple(
        replace(_request(wish, kind, info, reader, series=series), auto_span=False)
        for info in chosen
    )


def _seeds(wish: ScanWish, kind: DirectionKind, reader: RunReader) -> tuple[ScanRequest, ...]:
    count = wish.seeds or 0
    if not 1 <= count <= MAX_SERIES:
        raise LossvizError(f"seeds is a number from 1 to {MAX_SERIES}; got {wish.seeds}")
    if kind != "gaussian" or wish.second is not None or wish.dims == 2:
        raise LossvizError(
            "seeds are Gaussian lines in one chart; use --kind gaussian --dims 1"
        )
    info = choose_checkpoint(reader, wish.checkpoint or "last")
    series = f"seeds-{uuid4().hex[:8]}" if count > 1 else ""
    lines = (replace(wish, dims=1, seed=wish.seed + k) for k in range(count))
    return tuple(_request(line, kind, info, reader, series=series) for line in lines)


def _request(
    wish: ScanWish,
    kind: DirectionKind,
    origin: CheckpointInfo,
    reader: RunReader,
    *,
    series: str = "",
) -> ScanRequest:
    specs = _directions(wish, kind, origin, reader)
    kinds = {spec.kind for spec in specs}
    if wish.orthonormalise and len(specs) == 1:
        raise LossvizError("orthonormalise makes the axes of a plane; a line has only one")
    if wish.trajectory and len(specs) == 1:
        raise LossvizError("a trajectory is drawn on a plane; add --second or --dims 2")
    ranges, is_auto = _ranges(wish, specs)
    return ScanRequest(
        directions=specs,
        points=_points(wish, kind, len(specs)),
        ranges=ranges,
        checkpoint=origin.number,
        epoch=origin.epoch,
        batch_norm=wish.batch_norm or _default_batch_norm(specs),
        split=wish.split or "train",
        examples=wish.examples,
        precision=wish.precision,
        device=_devices(wish.device),
        orthonormalise=wish.orthonormalise,
        auto_span=is_auto,
        is_final=wish.is_final,
        clip=wish.clip,
        refine=wish.refine,
        trajectory=trajectory(reader) if wish.trajectory or "pca" in kinds else (),
        series=series,
    )


def _refuse_idle_options(wish: ScanWish, kind: DirectionKind) -> None:
    """Refuse what the kind of scan would leave unused, or no scan could use."""
    for name, is_given in (
        ("classes", bool(wish.classes)),
        ("toward", wish.toward is not None),
        ("file", wish.file is not None),
    ):
        owner = "ego" if name == "classes" else name
        verb = "belong" if name == "classes" else "belongs"
        if is_given and kind != owner:
            raise LossvizError(f"{name} {verb} to a scan of kind {owner}; got kind {kind}")
    if wish.second is not None and wish.dims == 1:
        raise LossvizError("a second direction makes a plane; drop --dims 1")
    if not 0 <= wish.seed < 2**62:
        raise LossvizError(f"seed is a whole number from 0 to 2**62; got {wish.seed}")
    if wish.span is not None and wish.ranges:
        raise LossvizError("span and range both say where to scan; give one of them")


def _dims(wish: ScanWish, kind: DirectionKind) -> int:
    if wish.second is not None:
        return 2
    if wish.dims is None:
        is_line = kind == "ego" and len(wish.classes) == 1
        return 1 if is_line else DEFAULT_DIMS[kind]
    if wish.dims not in (1, 2):
        raise LossvizError(f"dims is 1 or 2; got {wish.dims}")
    return wish.dims


def _directions(
    wish: ScanWish, kind: DirectionKind, origin: CheckpointInfo, reader: RunReader
) -> tuple[DirectionSpec, ...]:
    dims = _dims(wish, kind)
    wishes = [_first(wish, kind)]
    if kind == "ego":
        classes = _ego_classes(wish, dims if wish.second is None else 1)
        wishes = [DirectionWish(kind="ego", argument=name) for name in classes]
    if wish.second is not None:
        wishes.append(wish.second)
    elif len(wishes) < dims:
        wishes.append(_companion(wish, kind))
    given = wish.normalise
    if isinstance(given, tuple) and len(given) == 2 and dims == 1:
        raise LossvizError(f"a line has one normalisation; got {', '.join(given)}")
    found: list[DirectionSpec] = []
    for place, one in enumerate(wishes):
        normalise = DEFAULT_NORMALISATION[one.kind]
        if isinstance(given, tuple) and len(given) == 2:
            normalise = given[place]
        elif given is not None and one.kind == kind:
            normalise = given[0] if isinstance(given, tuple) else given
        found.append(_spec(one, wish, normalise, origin, reader))
    if len(found) == 2 and found[0] == found[1]:
        what = "classes" if found[0].kind == "ego" else "directions"
        name = "an ego plane" if found[0].kind == "ego" else "a plane"
        raise LossvizError(f"{name} needs two different {what}")
    return tuple(found)


def _first(wish: ScanWish, kind: DirectionKind) -> DirectionWish:
    match kind:
        case "ego" | "gradient":
            argument = ""
        case "gaussian":
            argument = str(wish.seed)
        case "toward":
            argument = wish.toward or ""
        case "pca":
            argument = str(wish.component)
        case "file":
            argument = wish.file or ""
        case _:
            assert_never(kind)
    return DirectionWish(kind=kind, argument=argument)


def _companion(wish: ScanWish, kind: DirectionKind) -> DirectionWish:
    """The second direction of a plane when none is named."""
    match kind:
        case "gaussian":
            return DirectionWish(kind="gaussian", argument=str(wish.seed + 1))
        case "pca":
            return DirectionWish(kind="pca", argument=str(wish.component + 1))
        case "ego" | "gradient" | "toward" | "file":
            return DirectionWish(kind="gaussian", argument=str(wish.seed))
        case _:
            assert_never(kind)


def _spec(
    one: DirectionWish,
    wish: ScanWish,
    normalise: Normalisation,
    origin: CheckpointInfo,
    reader: RunReader,
) -> DirectionSpec:
    bias = wish.scale_bias_and_bn and normalise in ("layer", "filter")
    match one.kind:
        case "ego":
            number = class_number(one.argument, reader.description.class_names)
            return DirectionSpec(
                kind="ego", normalise=normalise, class_index=number, scale_bias_and_bn=bias
            )
        case "gaussian":
            seed = _number(one, "seed", str(wish.seed))
            return DirectionSpec(
                kind="gaussian", normalise=normalise, seed=seed, scale_bias_and_bn=bias
            )
        case "gradient":
            if one.argument:
                raise LossvizError(f"gradient takes no argument; got {one.argument!r}")
            return DirectionSpec(kind="gradient", normalise=normalise, scale_bias_and_bn=bias)
        case "toward":
            return replace(
                _toward(one.argument, reader, origin, normalise), scale_bias_and_bn=bias
            )
        case "pca":
            component = _number(one, "component", "1")
            return DirectionSpec(
                kind="pca", normalise=normalise, component=component, scale_bias_and_bn=bias
            )
        case "file":
            if not one.argument:
                raise LossvizError("a direction from a file needs FOLDER, RUN#SCAN or FILE.h5")
            path, number = direction_file(one.argument)
            return DirectionSpec(
                kind="file",
                normalise=normalise,
                file=path,
                component=number,
                scale_bias_and_bn=bias,
            )
        case _:
            assert_never(one.kind)


def _number(one: DirectionWish, what: str, default: str) -> int:
    word = one.argument or default
    if not is_number(word) or len(word) > 18:
        raise LossvizError(f"{one.kind} takes a {what}, a whole number; got {word!r}")
    return int(word)


def _ego_classes(wish: ScanWish, count: int) -> Sequence[str]:
    if len(wish.classes) != count:
        plane = "" if wish.second is None else " beside its second direction"
        raise LossvizError(
            f"an ego scan of {count} dimension{'s' * (count > 1)} needs {count} "
            f"class{'es' * (count > 1)}{plane}; got {len(wish.classes)}"
        )
    return wish.classes


def _toward(
    text: str, reader: RunReader, origin: CheckpointInfo, normalise: Normalisation
) -> DirectionSpec:
    if not text:
        raise LossvizError("a scan of kind toward needs --toward EPOCH, RUN or RUN:EPOCH")
    if is_number(text) or text in ("last", "best"):
        other = choose_checkpoint(reader, text)
        if other.number == origin.number:
            raise LossvizError("toward needs another checkpoint than the one at the origin")
        return DirectionSpec(kind="toward", normalise=normalise, toward_checkpoint=other.number)
    run, info = other_run(text, reader)
    return DirectionSpec(
        kind="toward",
        normalise=normalise,
        toward_run=str(run.path),
        toward_checkpoint=info.number,
    )


def _points(wish: ScanWish, kind: DirectionKind, dims: int) -> tuple[int, ...]:
    if wish.points is None:
        return (default_points(kind, dims),) * dims
    points = (wish.points,) if isinstance(wish.points, int) else wish.points
    return _for_each(points, dims, "points")


def _ranges(
    wish: ScanWish, specs: tuple[DirectionSpec, ...]
) -> tuple[tuple[tuple[float, float], ...], bool]:
    """The ranges, and whether the scan is to choose the span itself."""
    usual = tuple(DEFAULT_RANGE[spec.kind] for spec in specs)
    kinds = {spec.kind for spec in specs}
    if wish.ranges:
        return _for_each(wish.ranges, len(specs), "range"), False
    if wish.span is None:
        if wish.orthonormalise and "toward" in kinds:
            raise LossvizError(
                "orthonormal axes measure distances; give --span S, --span auto or --range"
            )
        is_auto = kinds == {"ego"} or ("pca" in kinds and "toward" not in kinds)
        return usual, (is_auto or wish.orthonormalise) and len(specs) == 2
    if wish.span == "auto":
        if "toward" in kinds and not wish.orthonormalise:
            raise LossvizError(
                "a direction toward a model ends there; give --span S or --range, not auto"
            )
        return usual, True
    spans = (wish.span,) if isinstance(wish.span, int | float) else wish.span
    for span in spans:
        if not span > 0:
            raise LossvizError(f"span is a positive number; got {span}")
    return tuple((-span, span) for span in _for_each(spans, len(specs), "span")), False


def _for_each(found: tuple[_Value, ...], dims: int, what: str) -> tuple[_Value, ...]:
    """One for each direction; a single one is for all."""
    if len(found) == 1:
        return found * dims
    if len(found) != dims:
        raise LossvizError(
            f"a scan of {dims} dimension{'s' * (dims > 1)} has one {what} for each; "
            f"got {len(found)}"
        )
    return found


def _default_batch_norm(specs: tuple[DirectionSpec, ...]) -> BatchNormMode:
    """Recomputed between two runs, where the statistics of neither fit (Garipov 2018)."""
    is_between = any(spec.toward_run is not None for spec in specs)
    return "recompute" if is_between else "frozen"


def _devices(text: str) -> str:
    names = [name.strip() for name in text.split(",")]
    if "" in names or (len(names) > 1 and "auto" in names):
        raise LossvizError(
            f"devices are auto, or names such as cpu and cuda:0 with commas; got {text!r}"
        )
    return ",".join(names)
