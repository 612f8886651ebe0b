"""Axes of unit length, at right angles: coordinates are then true distances."""

import torch
from torch import Tensor

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.weightspace.vector import Vector

_PARALLEL = 16.0
"""Directions are parallel where the sine of their angle is below so many roundings."""


def unit(direction: Vector, *, dtype: torch.dtype | None = None) -> Vector:
    """A direction scaled to length one, its norm taken in float64.

    Args:
        direction: Any vector but zero.
        dtype: Of the result; that of the direction unless given.

    Returns:
        A new vector.

    Raises:
        LossvizError: The direction is zero or not finite.
    """
    return _unit(direction).to(dtype or direction.dtype)


def orthonormalise(
    first: Vector, second: Vector, *, dtype: torch.dtype | None = None
) -> tuple[Vector, Vector]:
    """Two unit vectors at right angles that span the plane of two directions.

    The first keeps its direction; the second is what is left of it after its part along the
    first is taken away (Gram-Schmidt, in float64).

    Args:
        first: The first direction.
        second: The second direction.
        dtype: Of the axes; that of the first direction unless given.

    Returns:
        Both axes.

    Raises:
        LossvizError: A direction is zero or not finite, or the two are parallel up to rounding.
    """
    e1, e2 = _unit(first), _unit(second)
    # Twice: for directions at a small angle one pass leaves a part along the first as large
    # as the rounding error of the difference.
    for _ in range(2):
        e2 = e2 - torch.dot(e1, e2) * e1
    sine = float(e2.norm())
    if sine <= _PARALLEL * torch.finfo(first.dtype).eps:
        raise LossvizError(
            "the two directions of the plane are parallel; choose two different ones"
        )
    dtype = dtype or first.dtype
    return e1.to(dtype), (e2 / sine).to(dtype)


def _unit(direction: Tensor) -> Tensor:
    """Unit length in float64, whatever the size of the entries.

    Raises:
        LossvizError: There is no such vector.
    """
    wide = direction.double()
    largest = wide.abs().max() if wide.numel() else wide.new_zeros(())
    if not torch.isfinite(largest):
        raise LossvizError("a direction has entries that are not finite; it has no length")
    if largest == 0:
        raise LossvizError("a direction is zero; an axis of unit length needs one that is not")
    # Scaled first: the squares of very small or very large entries leave float64.
    wide = wide / largest
    return wide / wide.norm()
