"""Directions in weight space, each repeatable from what it is made of."""

from collections.abc import Callable, Iterable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.weightspace.examples import Examples
from lossviz_analysis.weightspace.vector import Layout, Vector, flatten

OnBatch = Callable[[], None]
"""Called before each batch of a gradient; what it raises ends the pass."""


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
    model: nn.Module,
    examples: Examples,
    *,
    dtype: torch.dtype,
    micro_batch: int,
    on_batch: OnBatch | None = None,
) -> Vector:
    """Minus the gradient of the examples' mean cross-entropy (Xu et al. 2024, section 2.3).

    The model is evaluated in eval mode without augmentation. Gradients of batches are summed in
    float64.

    Args:
        model: At the weights in question, parameters of `dtype`.
        examples: Over which to average.
        dtype: Of the computation and the result.
        micro_batch: Examples in one pass.
        on_batch: See `OnBatch`.

    Returns:
        The direction: a positive coordinate descends.

    Raises:
        LossvizError: There are no examples.
    """
    if len(examples) == 0:
        raise LossvizError("a gradient needs at least one example; this class has none")
    everything = torch.arange(len(examples), device=examples.labels.device)
    return _descent(model, examples, everything, dtype, micro_batch, on_batch)


def ego_directions(
    model: nn.Module,
    examples: Examples,
    classes: Iterable[int],
    *,
    dtype: torch.dtype,
    micro_batch: int,
    on_batch: OnBatch | None = None,
) -> dict[int, Vector]:
    """Minus the mean gradient over each class (Diao, Yao and Jiang 2022, Def. 1-2).

    All parameters, neither normalised nor orthogonalised; a positive coordinate descends for
    that class. Batch-norm statistics are frozen, so a class's gradient takes its own examples
    alone: all classes together cost one gradient pass over the split.

    Args:
        model: At the weights in question, parameters of `dtype`.
        examples: The training split.
        classes: The classes; each is computed once, whatever the number of times it is named.
        dtype: Of the computation and the results.
        micro_batch: Examples in one pass, all of one class.
        on_batch: See `OnBatch`.

    Returns:
        The direction of each class.

    Raises:
        LossvizError: A class has no examples; then no gradient was computed.
    """
    members = _by_class(examples)
    wanted = tuple(dict.fromkeys(classes))
    for true_class in wanted:
        if true_class not in members:
            raise LossvizError(
                f"class {true_class} has no training examples, so no ego direction"
            )
    return {
        c: _descent(model, examples, members[c], dtype, micro_batch, on_batch) for c in wanted
    }


def ego_direction(
    model: nn.Module,
    examples: Examples,
    true_class: int,
    *,
    dtype: torch.dtype,
    micro_batch: int,
    on_batch: OnBatch | None = None,
) -> Vector:
    """The direction of one class, see `ego_directions`; the same to the bit.

    Args:
        model: At the weights in question, parameters of `dtype`.
        examples: The training split.
        true_class: The class.
        dtype: Of the computation and the result.
        micro_batch: Examples in one pass.
        on_batch: See `OnBatch`.

    Returns:
        The direction.

    Raises:
        LossvizError: The class has no examples.
    """
    found = ego_directions(
        model, examples, (true_class,), dtype=dtype, micro_batch=micro_batch, on_batch=on_batch
    )
    return found[true_class]


def _by_class(examples: Examples) -> dict[int, Tensor]:
    """Indices of the examples of each class that has any, in their order."""
    order = torch.argsort(examples.labels, stable=True)
    counts = torch.bincount(examples.labels, minlength=examples.num_classes).tolist()
    return {c: part for c, part in enumerate(order.split(counts)) if len(part)}


def _descent(
    model: nn.Module,
    examples: Examples,
    members: Int[Tensor, " members"],
    dtype: torch.dtype,
    micro_batch: int,
    on_batch: OnBatch | None,
) -> Vector:
    """Minus the mean gradient over some of the examples.

    Nothing here waits for the device: batches are cut by numbers the host knows.
    """
    model.eval()
    parameters = [p for p in model.parameters() if p.requires_grad]
    total = torch.zeros_like(flatten(model), dtype=torch.float64)
    for batch in members.split(micro_batch):
        if on_batch is not None:
            on_batch()
        inputs = examples.prepare(examples.images[batch], dtype)
        if inputs.dim() == 4 and inputs.device.type == "cpu" and dtype == torch.float32:
            # Weights follow the input's layout: forward and backward a tenth to a third faster.
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        loss = functional.cross_entropy(model(inputs), examples.labels[batch], reduction="sum")
        gradients = torch.autograd.grad(
            loss, parameters, allow_unused=True, materialize_grads=True
        )
        total += torch.cat([g.reshape(-1) for g in gradients]).double()
    return (-total / len(members)).to(dtype)


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
