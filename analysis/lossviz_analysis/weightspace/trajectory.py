"""The path of a training run through weight space: its main directions, and where it lies.

Checkpoints are read one at a time or a block at a time, so that a run of any length fits:
everything follows from the inner products of their differences.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import sqrt

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.weightspace.orthonormal import orthonormalise, unit
from lossviz_analysis.weightspace.vector import Vector

ReadWeights = Callable[[int], Vector]
"""Gives the weights of one checkpoint of the trajectory, counted from 0; called repeatedly."""

_BLOCK_BYTES = 2**30
"""Checkpoints held at once take at most this much, or are a handful."""
_PASSING = 8
"""Checkpoints read past those held, together."""
_SLICE = 2**14
"""Weights that are widened to float64 at a time; their copies stay within the caches."""
_GRAM_NOISE = 1e-12
"""Eigenvalues of the inner products are good to about a tenth of this share of the largest."""


@dataclass(frozen=True, eq=False)
class PrincipalComponents:
    """Main directions of a trajectory, of unit length."""

    directions: tuple[Vector, ...]
    explained: tuple[float, ...]
    """Share of the trajectory's squared length along each, sigma_k^2 / sum of sigma^2."""


def principal_components(
    read: ReadWeights,
    num_checkpoints: int,
    *,
    components: tuple[int, ...] = (1, 2),
    block_bytes: int = _BLOCK_BYTES,
) -> PrincipalComponents:
    """The directions in which a trajectory extends most (Li et al. 2018, appendix B).

    Right singular vectors of the matrix whose rows are w_e - w_last. The rows are not centred,
    so the plane of the first two is, of all planes through the last checkpoint, the one nearest
    to the others. The authors' published code subtracts the mean of the rows before it looks
    for directions and lays them through the last checkpoint afterwards; the shares it prints
    are of the variance about that mean.

    The singular vectors come from the matrix of inner products of the rows, summed in float64.
    A vector's sign is such that its entry of largest size is positive.

    Args:
        read: Reads a checkpoint's weights, all on one device. Where b checkpoints fit into a
            block it is called about n + n^2 / 2b times.
        num_checkpoints: n; the last one is the origin.
        components: Which; 1 is the one of largest extent.
        block_bytes: What the checkpoints held at once may take; a handful is always held.

    Returns:
        Directions in the weights' dtype, and the share each explains, in the order asked for.

    Raises:
        LossvizError: The weights are not finite or of different sizes, or the trajectory does
            not extend in so many directions: its checkpoints are equal, or lie on one line.
    """
    if num_checkpoints < 2:
        raise LossvizError(
            f"a trajectory needs two checkpoints or more; this one has {num_checkpoints}"
        )
    last = _checked(read, num_checkpoints - 1, None)
    gram, largest = _inner_products(read, num_checkpoints - 1, last, block_bytes)
    squares, vectors = torch.linalg.eigh(gram)
    squares, vectors = squares.flip(0).clamp_min(0.0), vectors.flip(1)
    # What is below is rounding: of the weights as they were stored, or of the products.
    rounding = sqrt(num_checkpoints) * torch.finfo(last.dtype).eps * largest
    extent = int((squares > max(rounding**2, _GRAM_NOISE * float(squares[0]))).sum())
    if extent < max(components):
        raise LossvizError(_too_flat(extent, max(components), num_checkpoints))
    total = float(squares.sum())
    chosen = sorted({k - 1 for k in components})
    found = dict(zip(chosen, _singular_vectors(read, last, vectors[:, chosen]), strict=True))
    return PrincipalComponents(
        tuple(found[k - 1] for k in components),
        tuple(float(squares[k - 1]) / total for k in components),
    )


def project(
    weights: Iterable[Float[Tensor, " _weights"]], base: Vector, directions: tuple[Vector, ...]
) -> Float[np.ndarray, "checkpoints columns"]:
    """Where checkpoints lie over a line or plane through a model.

    Args:
        weights: Of the checkpoints, one after the other; only one is held.
        base: Weights at the origin of the line or plane.
        directions: One or two; they may have any lengths and any angle but zero.

    Returns:
        For each checkpoint its coordinates along the directions and its distance out of the
        line or plane: base + sum of coordinate times direction is the point nearest to it. NaN
        where its weights are not finite.

    Raises:
        LossvizError: A direction is zero or not finite, the two are parallel, or a checkpoint
            has another number of parameters.
        ValueError: There are more than two directions, or none.
    """
    wide = torch.float64
    match directions:
        case (first, second):
            axes = torch.stack(orthonormalise(first, second, dtype=wide))
        case (only,):
            axes = unit(only, dtype=wide)[None]
        case _:
            raise ValueError(f"directions are one or two; got {len(directions)}")
    # The directions in terms of the axes: upper triangular, as the first axis is the first one.
    triangle = torch.stack(
        [axes @ direction.double() for direction in directions], dim=1
    ).triu()
    origin = base.double()
    rows: list[list[float]] = []
    for vector in weights:
        _check_length(vector, base)
        offset = vector.to(base.device, wide) - origin
        along = axes @ offset
        beside = offset - along @ axes
        coordinates = torch.linalg.solve_triangular(triangle, along[:, None], upper=True)
        rows.append([*coordinates.flatten().tolist(), float(beside.norm())])
    found = np.array(rows, np.float64).reshape(len(rows), len(directions) + 1)
    found[~np.isfinite(found).all(axis=1)] = np.nan
    return found


def _check_length(vector: Tensor, base: Tensor) -> None:
    if vector.shape != base.shape:
        raise LossvizError(
            f"a checkpoint of the trajectory has {vector.numel()} parameters, the model "
            f"{base.numel()}; a trajectory is that of one architecture"
        )


def _checked(read: ReadWeights, number: int, like: Tensor | None) -> Tensor:
    """The weights of a checkpoint, refused where inner products make no sense.

    Raises:
        LossvizError: It is of another size, or not finite.
    """
    vector = read(number)
    if like is not None:
        _check_length(vector, like)
    if not torch.isfinite(vector).all():
        raise LossvizError(
            f"checkpoint {number + 1} of the trajectory has weights that are not finite; "
            "leave it out"
        )
    return vector


def _too_flat(extent: int, wanted: int, num_checkpoints: int) -> str:
    asked = f"principal component {wanted}"
    match extent:
        case 0:
            return f"the {num_checkpoints} checkpoints are equal, so there is no {asked}"
        case 1:
            return f"the checkpoints lie on one line, so there is no {asked}; ask for a line"
        case _:
            return f"the checkpoints extend in {extent} directions, so there is no {asked}"


def _slices(length: int) -> Iterator[slice]:
    for start in range(0, length, _SLICE):
        yield slice(start, min(start + _SLICE, length))


def _inner_products(
    read: ReadWeights, num_rows: int, last: Tensor, block_bytes: int
) -> tuple[Tensor, float]:
    """Inner products of all w_e - w_last, on the CPU, and the largest norm of a w_e."""
    gram = torch.zeros(num_rows, num_rows, dtype=torch.float64)
    squares = [float(torch.linalg.vector_norm(last, dtype=torch.float64)) ** 2]
    vector_bytes = max(1, last.numel() * last.element_size())
    held = max(1, block_bytes // vector_bytes - _PASSING)
    for start in range(0, num_rows, held):
        rows = slice(start, min(start + held, num_rows))
        block = _stacked(read, rows, last)
        squares += torch.linalg.vector_norm(block, dim=1, dtype=torch.float64).square().tolist()
        gram[rows, rows] = _products(block, block, last)
        for first in range(rows.stop, num_rows, _PASSING):
            later = slice(first, min(first + _PASSING, num_rows))
            products = _products(_stacked(read, later, last), block, last)
            gram[later, rows] = products
            gram[rows, later] = products.T
        del block  # before the next one is made, not after
    return gram, sqrt(max(squares))


def _stacked(read: ReadWeights, rows: slice, last: Tensor) -> Float[Tensor, "rows weights"]:
    """Some checkpoints as rows, filled one at a time."""
    block = last.new_empty((rows.stop - rows.start, last.numel()))
    for place, row in enumerate(range(rows.start, rows.stop)):
        block[place] = _checked(read, row, last)
    return block


def _products(
    first: Float[Tensor, "rows weights"], second: Float[Tensor, "columns weights"], last: Tensor
) -> Float[Tensor, "rows columns"]:
    """Inner products of differences from `last`, in float64, on the CPU."""
    total = last.new_zeros((len(first), len(second)), dtype=torch.float64)
    for part in _slices(last.numel()):
        origin = last[part].double()
        columns = second[:, part].double() - origin
        rows = columns if first is second else first[:, part].double() - origin
        total += rows @ columns.T
    return total.cpu()


def _singular_vectors(
    read: ReadWeights, last: Tensor, vectors: Float[Tensor, "rows wanted"]
) -> tuple[Tensor, ...]:
    """Right singular vectors from left ones: the rows weighted, then of unit length."""
    found = torch.zeros(vectors.shape[1], last.numel(), dtype=torch.float64, device=last.device)
    for row, weights in enumerate(vectors.to(last.device)):
        vector = read(row)
        for part in _slices(last.numel()):
            found[:, part].addr_(weights, vector[part].double() - last[part].double())
    for number in range(len(found)):
        direction = found[number]
        # A weak direction carries the rounding error of a strong one.
        for stronger in found[:number]:
            direction -= torch.dot(stronger, direction) * stronger
        direction /= direction.norm()
        direction *= torch.sign(direction[direction.abs().argmax()])
    return tuple(direction.to(last.dtype) for direction in found)
