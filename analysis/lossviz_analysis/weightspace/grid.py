"""Where to stop: coordinates, and the order in which points are visited."""

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


def _levels(num_points: int) -> Int[np.ndarray, " points"]:
    """How often the range is halved before each index is a midpoint; ends are 0."""
    levels = np.full(num_points, -1, np.int64)
    levels[[0, num_points - 1]] = 0
    intervals = [(0, num_points - 1)]
    level = 0
    while intervals:
        level += 1
        halves: list[tuple[int, int]] = []
        for first, last in intervals:
            if last - first < 2:
                continue
            middle = (first + last) // 2
            levels[middle] = level
            halves += [(first, middle), (middle, last)]
        intervals = halves
    return levels


def coarse_to_fine(points: tuple[int, ...]) -> Int[np.ndarray, " points"]:
    """An order in which a picture of the whole grid stands early and gets finer.

    Each axis is halved again and again (ends, middle, quarters, ...); a point's level is the
    deeper of its axes'. Within a level the points nearest the centre come first.

    Args:
        points: Number of points along each direction.

    Returns:
        Indices of the points of `points_of`, each once.
    """
    levels = np.meshgrid(*(_levels(n) for n in points), indexing="ij")
    deepest = np.max([level.ravel() for level in levels], axis=0)
    centred = np.meshgrid(*(np.abs(np.linspace(-1, 1, n)) for n in points), indexing="ij")
    distance = np.sum([axis.ravel() ** 2 for axis in centred], axis=0)
    return np.lexsort((distance, deepest))
