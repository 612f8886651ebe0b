"""The four normalisations of a direction, tensor by tensor.

No epsilon is added to a norm: a slice of the direction that is zero stays zero, every other
gets exactly the norm of its counterpart in the weights, up to rounding.
"""

from typing import Literal, assert_never

import torch
from torch import Tensor

from lossviz_analysis.weightspace.vector import Layout, Vector

Normalisation = Literal["none", "model", "layer", "filter"]


def _to_norm(direction: Tensor, wanted: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Scale `direction` so that its norm over `dims` is that of `wanted`; zero stays zero."""
    # In float64: the square of a small float32 is zero in float32, and so would be its norm.
    wide = direction.double()
    norm = torch.linalg.vector_norm(wide, dim=dims, keepdim=True)
    target = torch.linalg.vector_norm(wanted.double(), dim=dims, keepdim=True)
    scale = torch.where(norm == 0, torch.zeros_like(norm), target / norm)
    return (wide * scale).to(direction.dtype)


def normalise(
    direction: Vector,
    weights: Vector,
    layout: Layout,
    how: Normalisation,
    *,
    keep_bias_and_bn: bool = False,
) -> Vector:
    """Scale a direction to the weights it will be added to.

    `model` scales the whole vector to the norm of all weights (Xu et al. 2024, "Norm"); `layer`
    each tensor (their "LayNorm"); `filter` each slice along dimension 0 of tensors of dimension
    two or more, so a row of a linear layer is a filter (Li et al. 2018, section 4).

    Args:
        direction: The direction.
        weights: The weights at the origin.
        layout: Where the tensors lie in both.
        how: The normalisation.
        keep_bias_and_bn: Under `layer` and `filter`, scale tensors of dimension one or less
            (biases, BN weight and bias) as a whole instead of setting them to zero (Li et al.,
            footnote 2).

    Returns:
        A new vector.
    """
    if how == "none":
        return direction.clone()
    if how == "model":
        return _to_norm(direction, weights, (0,))
    out = torch.zeros_like(direction)
    pairs = zip(layout.views(direction), layout.views(weights), layout.views(out), strict=True)
    for (slot, d), (_, w), (_, result) in pairs:
        every_dim = tuple(range(d.dim()))
        if len(slot.shape) <= 1:
            if keep_bias_and_bn:
                result.copy_(_to_norm(d, w, every_dim))
            continue
        match how:
            case "layer":
                result.copy_(_to_norm(d, w, every_dim))
            case "filter":
                result.copy_(_to_norm(d, w, every_dim[1:]))
            case _:
                assert_never(how)
    return out
