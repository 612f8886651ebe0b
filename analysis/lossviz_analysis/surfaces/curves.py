"""Types of one-dimensional loss curves (Xu 2024, sec. 2.2-2.5, app. A.3-A.4)."""

from dataclasses import dataclass
from typing import Literal, TypeAlias, assert_never

import numpy as np
from jaxtyping import Float, Int

CurveKind: TypeAlias = Literal[
    "v-basin", "v-side", "w-basin", "w-peak", "vvv-basin", "other", "unknown"
]

_ON_THE_GRID = 1e-9
"""The model lies on a grid point when its coordinate is this near to 0, in steps."""

Sample: TypeAlias = Literal["minimum", "maximum", "slope", "flat", "unseen"]
"""What the curve does at the model."""


@dataclass(frozen=True, slots=True)
class CurveType:
    """What a curve looks like from where the model stands."""

    kind: CurveKind
    """Xu's name for it, `other`, or `unknown` with a gap or fewer than three points."""

    num_stationary: int
    """Its stationary points, a measure of roughness (Xu 2024, app. A.3)."""

    num_points: int
    """The points of the curve, missing ones included."""

    num_missing: int
    """Those that are NaN."""

    @property
    def name(self) -> str:
        """The name as it is shown; other curves carry their number of stationary points."""
        return (
            f"other ({self.num_stationary} stationary)" if self.kind == "other" else self.kind
        )

    def describe(self) -> str:
        """Say in one sentence what the type means, and which points it was read without.

        Returns:
            A sentence without a full stop that begins with the name.
        """
        missing = f"{self.num_missing} of {self.num_points} points missing"
        match self.kind:
            case "v-basin":
                meaning = "the model lies at the only minimum"
            case "v-side":
                meaning = "the model lies on a slope, the loss is lower on one side"
            case "w-basin":
                meaning = "two minima with a barrier between them"
            case "w-peak":
                meaning = "the model lies on a local maximum, the loss is lower on both sides"
            case "vvv-basin":
                meaning = "three minima with two barriers between them"
            case "other":
                meaning = "none of the named shapes"
            case "unknown":
                return (
                    f"unknown: {missing}"
                    if self.num_missing
                    else "unknown: fewer than 3 points"
                )
            case _:
                assert_never(self.kind)
        at_the_ends = f" ({missing}, at the ends)" if self.num_missing else ""
        return f"{self.name}: {meaning}{at_the_ends}"


def chance_loss(num_classes: int) -> float:
    """Return the cross-entropy of random prediction, log C (Xu 2024, sec. 2.2).

    Whatever lies above it is worse than chance.

    Args:
        num_classes: C.

    Returns:
        The loss in nats.

    Raises:
        ValueError: There is no class.
    """
    if num_classes < 1:
        raise ValueError(f"num_classes is 1 or more; got {num_classes!r}")
    return float(np.log(num_classes))


def stationary_points(y: Float[np.ndarray, " points"]) -> Int[np.ndarray, " stationary"]:
    """Return the indices of local minima and maxima (Xu 2024, app. A.3).

    Interior indices t with (y[t] - y[t+1]) (y[t] - y[t-1]) > 0.

    Args:
        y: A curve. A point that is NaN or next to NaN is not stationary; neither is a point of
            a plateau.

    Returns:
        Indices of local minima and maxima, ascending.
    """
    before, here, after = y[:-2], y[1:-1], y[2:]
    # Compared, not multiplied: small products underflow to 0, and inf - inf warns.
    is_minimum = (here < before) & (here < after)
    is_maximum = (here > before) & (here > after)
    return np.flatnonzero(is_minimum | is_maximum) + 1


def curve_type(t: Float[np.ndarray, " points"], y: Float[np.ndarray, " points"]) -> CurveType:
    """Name the shape of a curve around the model at t = 0 (Xu 2024, app. A.4).

    Minima and maxima are the stationary points; the letters v, w and vvv stand for at most 1, 3
    and 5 of them (Xu: perfect v-basins have 1, perfect w-basins and w-peaks 3).

    - vvv-basin: five, three of them minima, wherever the model is.
    - w-peak: at most three, and the model is at a maximum. It may be the only one: a short view
      ends before the loss rises again.
    - w-basin: three, minimum, maximum, minimum, the model not at the maximum.
    - v-basin: one, a minimum, at the model.
    - v-side: at most one, not at the model, and the loss is lower on one side of the model.
    - other: everything else.

    The model is at a stationary point if t = 0 is its coordinate or, where 0 is not on the
    grid, if it is one of the two points around 0 (the nearer one decides if both are
    stationary).

    Args:
        t: Coordinates, strictly increasing; the model need not be among them.
        y: The loss there. Points missing at either end shorten the curve. Infinite ones are
            high.

    Returns:
        The type. A curve with NaN inside, or with fewer than three points, is `unknown`.

    Raises:
        ValueError: Coordinates do not increase.
    """
    if not (np.isfinite(t).all() and (np.diff(t) > 0).all()):
        raise ValueError(f"t must be finite and strictly increasing; got {t!r}")
    num_points = len(y)
    num_missing = int(np.isnan(y).sum())
    present = np.flatnonzero(~np.isnan(y))
    if present.size:
        seen = slice(present[0], present[-1] + 1)
        t, y = t[seen], y[seen]
    stationary = stationary_points(y)
    if present.size < 3 or present.size < len(y):
        kind = "unknown"
    else:
        kind = _kind(_shape(y, stationary), _at_model(t, y, stationary))
    return CurveType(kind, len(stationary), num_points, num_missing)


def _kind(shape: str, model: Sample) -> CurveKind:
    """Decide by the minima (v) and maxima (^) in order and by the model's place."""
    if shape == "v^v^v":
        return "vvv-basin"
    if model == "maximum" and len(shape) <= 3:
        return "w-peak"
    if shape == "v^v":
        return "w-basin"
    if shape == "v" and model == "minimum":
        return "v-basin"
    if len(shape) <= 1 and model == "slope":
        return "v-side"
    return "other"


def _shape(y: Float[np.ndarray, " points"], stationary: Int[np.ndarray, " stationary"]) -> str:
    return "".join("v" if y[i] < y[i + 1] else "^" for i in stationary.tolist())


def _at_model(
    t: Float[np.ndarray, " points"],
    y: Float[np.ndarray, " points"],
    stationary: Int[np.ndarray, " stationary"],
) -> Sample:
    """Say what the curve does at t = 0, on the grid point there or on the two around it."""
    nearest = int(np.abs(t).argmin())
    step = float(np.diff(t).min())
    on_the_grid = abs(float(t[nearest])) <= _ON_THE_GRID * step
    if not on_the_grid and not t[0] < 0 < t[-1]:
        return "unseen"
    other = nearest if on_the_grid else nearest + (1 if t[nearest] < 0 else -1)
    for i in (nearest, other):
        if i in stationary:
            return "minimum" if y[i] < y[i + 1] else "maximum"
    # Off the grid the two points around 0 tell; on it, whether a neighbour is lower.
    if not on_the_grid:
        return "slope" if y[nearest] != y[other] else "flat"
    neighbours = y[max(0, nearest - 1) : nearest + 2]
    return "slope" if neighbours.min() < y[nearest] else "flat"
