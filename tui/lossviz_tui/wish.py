"""A scan as a person asks for it, and the words it is asked for with."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar, cast, get_args

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.store.requests import (
    BatchNormMode,
    DirectionKind,
    Normalisation,
    Precision,
    SplitChoice,
)

Preset = Literal["v-basin", "v-side", "w-basin", "interpolate"]
Span = tuple[float, ...] | Literal["auto"]

_RANGE = re.compile(r"\s*(.+?)\s*\.\.\s*(.+?)\s*")
_FILM = re.compile(r"(\d*)\.\.(\d*)(?::(\d+))?", re.ASCII)
_Value = TypeVar("_Value")


@dataclass(frozen=True, kw_only=True)
class DirectionWish:
    """One direction as a person asks for it: KIND or KIND:ARG."""

    kind: DirectionKind
    argument: str = ""
    """A class, a seed, an epoch or a run, a component, a file; empty: the default."""


@dataclass(frozen=True, kw_only=True)
class FilmWish:
    """Which epochs the frames of a film are from; both ends included."""

    first: int = 0
    last: int | None = None
    step: int = 1
    """Frames are at least so many epochs apart."""


@dataclass(frozen=True, kw_only=True)
class ScanWish:
    """A scan, or several that belong together; None means the default of its kind."""

    kind: DirectionKind | None = None
    preset: Preset | None = None
    """Fills in what is not said, instead of a kind."""
    classes: tuple[str, ...] = ()
    """Names or numbers of the classes of an ego scan."""
    seed: int = 0
    toward: str | None = None
    """EPOCH of this run, RUN, or RUN:EPOCH."""
    component: int = 1
    """Of a pca direction: the first; a plane takes the next one too."""
    file: str | None = None
    """FOLDER[:N] of a scan, RUN#SCAN[:N], or FILE.h5[:N]."""
    second: DirectionWish | None = None
    """The second direction of a plane; None takes the one that goes with the first."""
    dims: int | None = None
    points: int | tuple[int, ...] | None = None
    span: float | Span | None = None
    """Coordinates run from -span to span; `auto` lets the scan choose."""
    ranges: tuple[tuple[float, float], ...] = ()
    """First and last coordinate, for one or all directions."""
    normalise: Normalisation | tuple[Normalisation, ...] | None = None
    scale_bias_and_bn: bool = False
    orthonormalise: bool = False
    checkpoint: str | None = None
    """`last` (the default), `best`, or an epoch."""
    batch_norm: BatchNormMode | None = None
    split: SplitChoice | None = None
    examples: int | None = None
    precision: Precision = "exact"
    device: str = "auto"
    is_final: bool = False
    clip: float | None = None
    refine: bool = False
    trajectory: bool = False
    film: FilmWish | None = None
    seeds: int | None = None
    """So many Gaussian lines in one chart."""


def direction_wish(text: str) -> DirectionWish:
    """KIND or KIND:ARG as typed."""
    kind, _, argument = text.strip().partition(":")
    kinds = get_args(DirectionKind)
    if kind not in kinds:
        raise LossvizError(f"a direction is one of {', '.join(kinds)}; got {kind!r}")
    return DirectionWish(kind=cast("DirectionKind", kind), argument=argument.strip())


def with_kind(wish: ScanWish, text: str) -> ScanWish:
    """The wish with the kind and argument of KIND or KIND:ARG."""
    first = direction_wish(text)
    if not first.argument:
        return replace(wish, kind=first.kind)
    is_said = {
        "ego": bool(wish.classes),
        "gaussian": wish.seed != 0,
        "toward": wish.toward is not None,
        "file": wish.file is not None,
    }
    if is_said.get(first.kind):
        raise LossvizError(f"{text} says already what another option says; give one of them")
    values: dict[DirectionKind, dict[str, Any]] = {
        "ego": {"classes": (first.argument,)},
        "gaussian": {"seed": first.argument},
        "toward": {"toward": first.argument},
        "pca": {"component": first.argument},
        "file": {"file": first.argument},
    }
    if first.kind not in values:
        raise LossvizError(f"{first.kind} takes no argument; got {first.argument!r}")
    (name, value), *_ = values[first.kind].items()
    if name in ("seed", "component"):
        if not (value.isascii() and value.isdecimal() and len(value) <= 18):
            raise LossvizError(f"{first.kind} takes a whole number; got {value!r}")
        value = int(value)
    return replace(wish, kind=first.kind, **{name: value})


def points_wish(text: str) -> tuple[int, ...]:
    """N or NxM as typed."""
    return _one_or_two(text, int, "points is N or NxM")


def span_wish(text: str) -> Span:
    """S, SxS or auto as typed."""
    if text.strip() == "auto":
        return "auto"
    return _one_or_two(text, float, "span is S, SxS or auto")


def _one_or_two(
    text: str, number: Callable[[str], _Value], expected: str
) -> tuple[_Value, ...]:
    words = text.split("x")
    try:
        found = tuple(number(word) for word in words)
    except ValueError:
        found = ()
    if not 1 <= len(found) <= 2:
        raise LossvizError(f"{expected}; got {text!r}")
    return found


def ranges_wish(text: str) -> tuple[tuple[float, float], ...]:
    """LOW..HIGH, or two of them with a comma, as typed."""
    pairs: list[tuple[float, float]] = []
    for word in text.split(","):
        found = _RANGE.fullmatch(word)
        try:
            if found is not None:
                pairs.append((float(found[1]), float(found[2])))
        except ValueError:
            break
    if not 1 <= len(pairs) == len(text.split(",")) <= 2:
        raise LossvizError(f"range is LOW..HIGH, or two of them with a comma; got {text!r}")
    return tuple(pairs)


def film_wish(text: str) -> FilmWish:
    """FIRST..LAST[:STEP] as typed; an end that is left out is the first or last there is."""
    found = _FILM.fullmatch(text.strip())
    if found is None or found[3] == "0":
        raise LossvizError(f"film is FIRST..LAST or FIRST..LAST:STEP, in epochs; got {text!r}")
    return FilmWish(
        first=int(found[1] or 0),
        last=int(found[2]) if found[2] else None,
        step=int(found[3] or 1),
    )


def normalise_wish(text: str) -> tuple[Normalisation, ...]:
    """One normalisation, or two with a comma, as typed."""
    words = tuple(word.strip() for word in text.split(","))
    options = get_args(Normalisation)
    if len(words) > 2 or not set(words) <= set(options):
        raise LossvizError(
            f"normalise is one of {', '.join(options)}, or two with a comma; got {text!r}"
        )
    return cast("tuple[Normalisation, ...]", words)
