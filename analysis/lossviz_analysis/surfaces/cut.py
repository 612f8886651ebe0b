"""Cuts: profiles through the middle of a surface at any angle (Diao 2022, sec. 3)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from lossviz_analysis.arrays import Coordinates, Surface

_ON_THE_LINE = 1e-9
"""A point this near to a grid line, in cells, lies on it: no NaN is fetched from beyond."""


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """A surface along a straight line through the origin."""

    s: Coordinates
    """Signed distance from the origin in coordinate units, increasing."""

    t1: Coordinates
    """First coordinate of each point: s cos(angle)."""

    t2: Coordinates
    """Second coordinate of each point: s sin(angle)."""

    value: Float[np.ndarray, " points"]
    """The interpolated surface; NaN where a neighbour that counts is NaN."""


def cut(
    surface: Surface,
    t1: Float[np.ndarray, " rows"],
    t2: Float[np.ndarray, " columns"],
    angle_degrees: float,
    *,
    num_points: int | None = None,
) -> Cut:
    """Return the profile of a surface along a line through the origin, from border to border.

    Values between grid points are interpolated bilinearly, on the four surrounding points or,
    on a grid line, the two along it; on a grid point the value is the surface's own.

    Args:
        surface: A quantity over the plane.
        t1: Coordinates of the rows, strictly increasing, around 0.
        t2: Coordinates of the columns, strictly increasing, around 0.
        angle_degrees: 0 runs along the first direction, 90 along the second; 180 more turns it
            round.
        num_points: How many points, evenly spaced, both ends included. By default as many as
            there are grid points along the direction nearer to the line, so that a cut along an
            axis of an even grid returns the scanned values.

    Returns:
        The profile; the angle is taken in coordinate units, whatever the norms of the
        directions.

    Raises:
        ValueError: The angle is not finite, fewer than two points are asked for, coordinates do
            not increase, or the origin lies outside the grid.
    """
    if not np.isfinite(angle_degrees):
        raise ValueError(f"angle is a finite number of degrees; got {angle_degrees!r}")
    if num_points is not None and num_points < 2:
        raise ValueError(f"a cut has at least 2 points; got num_points={num_points!r}")
    for name, t in (("t1", t1), ("t2", t2)):
        if not (t.size and np.isfinite(t).all() and (np.diff(t) > 0).all()):
            raise ValueError(f"{name} must be finite and strictly increasing; got {t!r}")
        if not t[0] <= 0 <= t[-1]:
            raise ValueError(
                f"{name} must contain 0 to cut there; it runs from {t[0]} to {t[-1]}"
            )
    angle = np.deg2rad(angle_degrees % 360)
    # Rounded so that a right angle runs along its axis instead of 6e-17 beside it.
    along1, along2 = round(float(np.cos(angle)), 15), round(float(np.sin(angle)), 15)
    low1, high1 = _reach(t1, along1)
    low2, high2 = _reach(t2, along2)
    if num_points is None:
        num_points = max(2, len(t1) if abs(along1) >= abs(along2) else len(t2))
    s = np.linspace(max(low1, low2), min(high1, high2), num_points)
    at1 = np.clip(s * along1, t1[0], t1[-1])
    at2 = np.clip(s * along2, t2[0], t2[-1])
    return Cut(s=s, t1=at1, t2=at2, value=_interpolated(surface, t1, t2, at1, at2))


def _reach(t: Coordinates, along: float) -> tuple[float, float]:
    """Return how far a line may go either way before it leaves an axis's extent."""
    if along == 0:
        return -np.inf, np.inf
    ends = (float(t[0]) / along, float(t[-1]) / along)
    return min(ends), max(ends)


def _interpolated(
    surface: Surface,
    t1: Float[np.ndarray, " rows"],
    t2: Float[np.ndarray, " columns"],
    at1: Float[np.ndarray, " points"],
    at2: Float[np.ndarray, " points"],
) -> Float[np.ndarray, " points"]:
    row, row_weight = _bracket(t1, at1)
    column, column_weight = _bracket(t2, at2)
    value = np.zeros(len(at1))
    for rows, weight1 in ((row, 1 - row_weight), (row + 1, row_weight)):
        for columns, weight2 in ((column, 1 - column_weight), (column + 1, column_weight)):
            weight = weight1 * weight2
            counts = weight > 0  # 0 x NaN would be NaN, and row + 1 may not exist
            value[counts] += weight[counts] * surface[rows[counts], columns[counts]]
    return value


def _bracket(
    t: Coordinates, at: Float[np.ndarray, " cut"]
) -> tuple[Int[np.ndarray, " cut"], Float[np.ndarray, " cut"]]:
    """Return the grid point below each position, and how far above it, in cells, that is."""
    below = np.clip(np.searchsorted(t, at, side="right") - 1, 0, max(0, len(t) - 2))
    if len(t) == 1:
        return below, np.zeros(len(at))
    above = (at - t[below]) / (t[below + 1] - t[below])
    above[above < _ON_THE_LINE] = 0
    above[above > 1 - _ON_THE_LINE] = 1
    return below, above
