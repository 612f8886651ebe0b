"""What a scan under way will look like: cells between the evaluated ones, estimated.

A scan goes coarse to fine: each axis is halved again and again (ends, middle, quarters, ...).
The estimate goes the same way. On every level the new positions of an axis are interpolated
from those of the level before, by the cubic through the four nearest ones; then every cell that
is known takes its own value, and so counts for the finer levels. Any known cells do, also those
of a half-done level or of an adaptive refinement.
"""

from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Int

_SMALLEST_LOSS = 1e-8
"""Losses below it count as it: the logarithm of 0 would outweigh every neighbour."""

_Numbers: TypeAlias = Float[np.ndarray, "..."]


def estimated_losses(
    losses: Float[np.ndarray, "..."], is_known: Bool[np.ndarray, "*grid"]
) -> Float[np.ndarray, "..."]:
    """Return cross-entropies with the unknown ones interpolated in the logarithm.

    Args:
        losses: Over the grid, one or two axes; more axes may follow, such as one of classes.
        is_known: Which cells are evaluated; their values are returned as they are, and
            those that are not finite are not interpolated from.

    Returns:
        The same shape; NaN where too few known cells are around.
    """
    with np.errstate(invalid="ignore"):
        logs = np.log(np.maximum(losses, _SMALLEST_LOSS))
    with np.errstate(over="ignore"):
        return _filled(losses, np.exp(_interpolated(logs, is_known)), is_known)


def estimated_rates(
    rates: Float[np.ndarray, "..."], is_known: Bool[np.ndarray, "*grid"]
) -> Float[np.ndarray, "..."]:
    """Return fractions with the unknown ones interpolated and kept within [0, 1].

    Args:
        rates: Over the grid, one or two axes; more axes may follow, such as one of classes.
        is_known: Which cells are evaluated; their values are returned as they are.

    Returns:
        The same shape; NaN where too few known cells are around.
    """
    return _filled(rates, np.clip(_interpolated(rates, is_known), 0.0, 1.0), is_known)


def _filled(
    values: _Numbers, estimates: _Numbers, is_known: Bool[np.ndarray, "*grid"]
) -> _Numbers:
    rest = (1,) * (values.ndim - is_known.ndim)
    return np.where(is_known.reshape(*is_known.shape, *rest), values, estimates)


def _interpolated(values: _Numbers, is_known: Bool[np.ndarray, "*grid"]) -> _Numbers:
    """Go down the levels of both axes together; an axis that is done stays as it is."""
    rest = (1,) * (values.ndim - is_known.ndim)
    usable = is_known.reshape(*is_known.shape, *rest) & np.isfinite(values)
    known = np.where(usable, values, np.nan)
    axes = [_halvings(length) for length in is_known.shape]
    positions = [levels[0] for levels in axes]
    found = known[np.ix_(*positions)]
    for level in range(1, max(len(levels) for levels in axes)):
        finer = [levels[min(level, len(levels) - 1)] for levels in axes]
        for axis, (coarse, fine) in enumerate(zip(positions, finer, strict=True)):
            found = _along(found, axis, coarse, fine)
        here = known[np.ix_(*finer)]
        found = np.where(np.isnan(here), found, here)
        positions = finer
    return found


def _halvings(length: int) -> list[Int[np.ndarray, " positions"]]:
    """Positions of an axis level by level, ascending: its ends, then with every midpoint."""
    levels = [np.unique([0, length - 1])]
    while len(levels[-1]) < length:
        last = levels[-1]
        levels.append(np.union1d(last, (last[:-1] + last[1:]) // 2))
    return levels


def _along(
    values: _Numbers,
    axis: int,
    coarse: Int[np.ndarray, " coarse"],
    fine: Int[np.ndarray, " fine"],
) -> _Numbers:
    """Values at the fine positions of an axis from those at the coarse ones.

    The cubic through the four nearest, one or two of fewer; where one of those is missing the
    straight line between the two on either side; where one of these is missing NaN.
    """
    if len(coarse) == len(fine):
        return values
    below = np.clip(np.searchsorted(coarse, fine, side="right") - 1, 0, len(coarse) - 2)
    width = min(4, len(coarse))
    first = np.clip(below - (width - 1) // 2, 0, len(coarse) - width)
    curve = _weighted(values, axis, coarse, fine, first, width)
    line = _weighted(values, axis, coarse, fine, below, 2)
    found = np.where(np.isnan(curve), line, curve)
    kept = np.searchsorted(fine, coarse)
    index: list[Any] = [slice(None)] * values.ndim
    index[axis] = kept
    found[tuple(index)] = values
    return found


def _weighted(
    values: _Numbers,
    axis: int,
    coarse: Int[np.ndarray, " coarse"],
    fine: Int[np.ndarray, " fine"],
    first: Int[np.ndarray, " fine"],
    width: int,
) -> _Numbers:
    """Lagrange's polynomial through `width` neighbours from `first` on, at each position."""
    nodes = coarse[first[:, None] + np.arange(width)].astype(np.float64)
    shape = [1] * values.ndim
    shape[axis] = len(fine)
    found = np.zeros(1)
    for k in range(width):
        others = [m for m in range(width) if m != k]
        weight = np.prod(
            (fine[:, None] - nodes[:, others]) / (nodes[:, [k]] - nodes[:, others]), axis=1
        )
        # Values a stranger made up may overflow.
        with np.errstate(over="ignore", invalid="ignore"):
            found = found + weight.reshape(shape) * values.take(first + k, axis)
    return found
