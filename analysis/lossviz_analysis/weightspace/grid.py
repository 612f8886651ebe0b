"""Where to stop: coordinates, and the order in which points are visited."""

from dataclasses import dataclass
from itertools import product

import numpy as np
from jaxtyping import Float, Int


def linspace(low: float, high: float, num_points: int) -> Float[np.ndarray, " points"]:
    """Evenly spaced coordinates, both ends included; the centre of a symmetric range is 0.

    Args:
        low: First coordinate.
        high: Last coordinate.
        num_points: How many.

    Returns:
        float64 coordinates.
    """
    found = np.linspace(low, high, num_points)
    if low == -high and num_points % 2 == 1:
        found[num_points // 2] = 0.0
    return found


def points_of(
    coordinates: tuple[Float[np.ndarray, " _points"], ...],
) -> Float[np.ndarray, "points directions"]:
    """Every point of the grid; the first direction varies slowest."""
    mesh = np.meshgrid(*coordinates, indexing="ij")
    return np.stack([axis.ravel() for axis in mesh], axis=1)


@dataclass(frozen=True, eq=False)
class _Halvings:
    """One axis, halved again and again: ends, middle, quarters, and so on."""

    level: Int[np.ndarray, " points"]
    """How often the range is halved before an index is a midpoint; ends are 0."""
    first: Int[np.ndarray, " points"]
    """Beginning of the interval it is the midpoint of; an end is its own."""
    last: Int[np.ndarray, " points"]
    """End of that interval."""

    @classmethod
    def of(cls, num_points: int) -> "_Halvings":
        level = np.zeros(num_points, np.int64)
        first, last = np.arange(num_points), np.arange(num_points)
        intervals = [(0, num_points - 1)]
        depth = 0
        while intervals:
            depth += 1
            halves: list[tuple[int, int]] = []
            for a, b in intervals:
                if b - a < 2:
                    continue
                middle = (a + b) // 2
                level[middle], first[middle], last[middle] = depth, a, b
                halves += [(a, middle), (middle, b)]
            intervals = halves
        return cls(level, first, last)


def point_levels(points: tuple[int, ...]) -> Int[np.ndarray, " points"]:
    """How many times the grid is halved before each of its points is looked at.

    Each axis is halved again and again (ends, middle, quarters, ...); a point's level is the
    deeper of its axes', so that the corners are at level 0. An interval of odd length has its
    midpoint on the lower side.

    Args:
        points: Number of points along each direction.

    Returns:
        Levels in the order of `points_of`.
    """
    levels = np.meshgrid(*(_Halvings.of(n).level for n in points), indexing="ij")
    return np.max([level.ravel() for level in levels], axis=0)


def coarse_to_fine(points: tuple[int, ...]) -> Int[np.ndarray, " points"]:
    """An order in which a picture of the whole grid stands early and gets finer.

    Levels follow one another, see `point_levels`. Within a level the points nearest the centre
    come first.

    Args:
        points: Number of points along each direction.

    Returns:
        Indices of the points of `points_of`, each once.
    """
    centred = np.meshgrid(*(np.abs(np.linspace(-1, 1, n)) for n in points), indexing="ij")
    distance = np.sum([axis.ravel() ** 2 for axis in centred], axis=0)
    return np.lexsort((distance, point_levels(points)))


def predicted_from(points: tuple[int, ...]) -> Int[np.ndarray, "points corners"]:
    """The points of lower levels between which each point lies.

    The two ends of the interval of which it is a midpoint along one axis, the four corners of
    the cell where it is one along both. With `prediction_weights` they give its value by linear
    interpolation: `(values[parents] * weights).sum(axis=1)`.

    Args:
        points: Number of points along each direction.

    Returns:
        Indices of `points_of`, two for each point of a line, four for each of a plane; two ends
        alone stand there twice. A point of level 0 is predicted from itself.
    """
    axes = [_Halvings.of(n) for n in points]
    level = point_levels(points)
    places = np.unravel_index(np.arange(len(level)), points)
    ends: list[tuple[Int[np.ndarray, " points"], Int[np.ndarray, " points"]]] = []
    for axis, place in zip(axes, places, strict=True):
        # An axis on which the point was reached before stays as it is.
        is_midpoint = axis.level[place] == level
        ends.append(
            (
                np.where(is_midpoint, axis.first[place], place),
                np.where(is_midpoint, axis.last[place], place),
            )
        )
    corners = [np.ravel_multi_index(corner, points) for corner in product(*ends)]
    return np.stack(corners, axis=1)


def prediction_weights(points: tuple[int, ...]) -> Float[np.ndarray, "points corners"]:
    """How much each of `predicted_from` counts.

    Not all alike: an interval of odd length has no point in its middle.

    Args:
        points: Number of points along each direction.

    Returns:
        Weights of which each row sums to 1.
    """
    level = point_levels(points)
    places = np.unravel_index(np.arange(len(level)), points)
    shares: list[tuple[Float[np.ndarray, " points"], Float[np.ndarray, " points"]]] = []
    for num_points, place in zip(points, places, strict=True):
        axis = _Halvings.of(num_points)
        length = axis.last - axis.first
        after = np.where(length > 0, np.arange(num_points) - axis.first, 0.5)
        after = (after / np.maximum(1, length))[place]
        # Where both ends are the point's own place, each gets half.
        after = np.where((axis.level[place] == level) & (level > 0), after, 0.5)
        shares.append((1.0 - after, after))
    return np.stack([np.prod(corner, axis=0) for corner in product(*shares)], axis=1)
