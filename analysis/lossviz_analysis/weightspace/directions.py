"""Directions in weight space, each repeatable from what it is made of."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.weightspace.examples import Examples
from lossviz_analysis.weightspace.vector import Layout, Vector, flatten


def gaussian_direction(layout: Layout, seed: int, *, dtype: torch.dtype) -> Vector:
    """Independent standard normal entries (Li et al. 2018, section 4).

    Drawn on the CPU in float32 as one sequence, so that every device and precision gets the
    same numbers.

    Args:
        layout: Of the model.
        seed: Of the sequence.
        dtype: Of the result.

    Returns:
        The direction, on the CPU.
    """
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(layout.length, generator=generator, dtype=torch.float32).to(dtype)


def gradient_direction(
    model: nn.Module, examples: Examples, *, dtype: torch.dtype, micro_batch: int
) -> Vector:
    """Minus the gradient of the examples' mean cross-entropy (Xu et al. 2024, section 2.3).

    The model is evaluated in eval mode without augmentation. Gradients of batches are summed in
    float64.

    Args:
        model: At the weights in question, parameters of `dtype`.
        examples: Over which to average.
        dtype: Of the computation and the result.
        micro_batch: Examples in one pass.

    Returns:
        The direction: a positive coordinate descends.

    Raises:
        LossvizError: There are no examples.
    """
    if len(examples) == 0:
        raise LossvizError("a gradient needs at least one example; this class has none")
    model.eval()
    parameters = [p for p in model.parameters() if p.requires_grad]
    total = torch.zeros_like(flatten(model), dtype=torch.float64)
    for start in range(0, len(examples), micro_batch):
        stop = min(start + micro_batch, len(examples))
        logits = model(examples.inputs(start, stop, dtype))
        loss = functional.cross_entropy(logits, examples.labels[start:stop], reduction="sum")
        gradients = torch.autograd.grad(
            loss, parameters, allow_unused=True, materialize_grads=True
        )
        total += torch.cat([g.reshape(-1) for g in gradients]).double()
    return (-total / len(examples)).to(dtype)


def ego_direction(
    model: nn.Module,
    examples: Examples,
    true_class: int,
    *,
    dtype: torch.dtype,
    micro_batch: int,
) -> Vector:
    """Minus the mean gradient over one class (Diao, Yao and Jiang 2022, Def. 1-2).

    All parameters, neither normalised nor orthogonalised; a positive coordinate descends for
    that class.

    Args:
        model: At the weights in question, parameters of `dtype`.
        examples: The training split.
        true_class: The class.
        dtype: Of the computation and the result.
        micro_batch: Examples in one pass.

    Returns:
        The direction.

    Raises:
        LossvizError: The class has no examples.
    """
    members = examples.of_class(true_class)
    if len(members) == 0:
        raise LossvizError(f"class {true_class} has no training examples, so no ego direction")
    return gradient_direction(model, members, dtype=dtype, micro_batch=micro_batch)


def toward_direction(base: Vector, other: Float[Tensor, " others"]) -> Vector:
    """From the weights at the origin to other weights (Li et al. 2018, section 3).

    Coordinate 0 is the origin, 1 the other model.

    Args:
        base: Weights at the origin.
        other: The other weights, of the same layout.

    Returns:
        The difference.

    Raises:
        LossvizError: The two have different numbers of parameters.
    """
    if base.shape != other.shape:
        raise LossvizError(
            f"the other model has {other.numel()} parameters, this one {base.numel()}; "
            "a line needs two models of one architecture"
        )
    return other - base


def cosine(first: Tensor, second: Tensor) -> float:
    """The cosine of the angle between two directions; NaN if one is zero."""
    a, b = first.double(), second.double()
    return float(torch.dot(a, b) / (a.norm() * b.norm()))
