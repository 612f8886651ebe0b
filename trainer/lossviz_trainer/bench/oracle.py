"""What a loss is: float64, from the definition, by plain code; and how far off one may be."""

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from lossviz_analysis.weightspace.batchnorm import MIN_BATCH
from lossviz_trainer.bench.contenders import PEER_BATCH, average_statistics
from lossviz_trainer.bench.ground import Ground, Point

Statistics = Literal["frozen", "recompute", "average"]
"""`recompute` pools the moments of all images (in batches of 1,000 and more), as our scans do;
`average` takes the mean over batches of 128, as is usual."""

TOLERANCES = {"exact": (1e-5, 1e-6), "fast": (2e-2, 5e-4)}
"""Relative and absolute."""

_BATCH = 100


@torch.no_grad()
def true_loss(ground: Ground, point: Point, statistics: Statistics) -> float:
    """The mean cross-entropy at a point.

    Args:
        ground: The problem.
        point: Its coordinates.
        statistics: Where those of the batch norms come from.

    Returns:
        The loss.
    """
    model = ground.model().double()
    start = 0
    for parameter, base in zip(model.parameters(), ground.origin.parameters(), strict=True):
        stop = start + base.numel()
        parameter.copy_(base)
        for coordinate, direction in zip(point, ground.directions, strict=True):
            parameter.add_(direction[start:stop].view_as(base).double(), alpha=coordinate)
        start = stop
    inputs = ground.examples.inputs(0, len(ground.examples), torch.float64)
    if statistics == "recompute":
        _pool_statistics(model, inputs)
    elif statistics == "average":
        average_statistics(model, iter(inputs.split(PEER_BATCH)))
    logits = torch.cat([model(batch) for batch in inputs.split(_BATCH)])
    return float(functional.cross_entropy(logits, ground.examples.labels))


def deviation(found: float, true: float, kind: Literal["exact", "fast"]) -> float:
    """How far a loss is off, in units of what is tolerated.

    Args:
        found: The contender's.
        true: The reference's.
        kind: Which tolerance.

    Returns:
        Up to 1 is right; NaN and infinity are not.
    """
    relative, absolute = TOLERANCES[kind]
    return abs(found - true) / (relative * abs(true) + absolute)


def _pool_statistics(model: nn.Module, inputs: Tensor) -> None:
    """Set running statistics to the moments of all images, each batch normalised by itself."""
    seen: dict[nn.BatchNorm2d, list[tuple[int, Tensor, Tensor]]] = {}

    def note(norm: nn.Module, given: tuple[Tensor, ...]) -> None:
        values = given[0].transpose(0, 1).flatten(1)
        sums = (values.shape[1], values.sum(1), values.square().sum(1))
        if isinstance(norm, nn.BatchNorm2d):
            seen.setdefault(norm, []).append(sums)

    handles = [norm.register_forward_pre_hook(note) for norm in _norms(model)]
    model.train()
    for batch in inputs.tensor_split(max(1, len(inputs) // MIN_BATCH)):
        model(batch)
    model.eval()
    for handle in handles:
        handle.remove()
    for norm, sums in seen.items():
        count = sum(number for number, _, _ in sums)
        mean = torch.stack([total for _, total, _ in sums]).sum(0) / count
        square = torch.stack([squares for _, _, squares in sums]).sum(0) / count
        norm.running_mean = mean
        norm.running_var = (square - mean.square()) * count / (count - 1)


def _norms(model: nn.Module) -> Iterator[nn.BatchNorm2d]:
    return (m for m in model.modules() if isinstance(m, nn.BatchNorm2d))
