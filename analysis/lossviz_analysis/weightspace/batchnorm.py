"""Batch-norm running statistics at another point of weight space."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.weightspace.examples import Examples

BatchNorm = nn.modules.batchnorm._BatchNorm  # pyright: ignore[reportPrivateUsage]
"""The common base class of torch's batch norms."""
MIN_BATCH = 1_000


@dataclass(frozen=True)
class Frozen:
    """Running statistics stay those of the checkpoint."""


@dataclass(frozen=True, eq=False)
class Recompute:
    """Running statistics are those of the examples, at every point anew."""

    examples: Examples


@dataclass(frozen=True, eq=False)
class Interpolate:
    """Running statistics move along the line too, with the first coordinate."""

    other: Mapping[str, Tensor]
    """Buffers, by name, of the model at coordinate 1."""


Statistics = Frozen | Recompute | Interpolate


def batch_norms(model: nn.Module) -> dict[str, BatchNorm]:
    """The layers that keep running statistics, by name."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, BatchNorm) and module.running_mean is not None
    }


def _running(layer: BatchNorm) -> tuple[Tensor, Tensor]:
    """The running mean and variance of a layer that keeps them.

    Raises:
        TypeError: It keeps none.
    """
    if layer.running_mean is None or layer.running_var is None:
        raise TypeError("this batch norm keeps no running statistics")
    return layer.running_mean, layer.running_var


def has_batch_norm(model: nn.Module) -> bool:
    """Whether a model keeps running statistics at all."""
    return bool(batch_norms(model))


class Interpolation:
    """Running statistics on the line between two models of one architecture (Li et al. 5)."""

    def __init__(self, model: nn.Module, other: Mapping[str, Tensor]) -> None:
        """Find where on the line every variance is positive.

        Args:
            model: At coordinate 0.
            other: Buffers, by name, of the model at coordinate 1.

        Raises:
            LossvizError: The other model keeps other statistics.
        """
        self._pairs: list[tuple[Tensor, Tensor, Tensor]] = []
        low, high = -float("inf"), float("inf")
        for name, layer in batch_norms(model).items():
            for kind in ("running_mean", "running_var"):
                buffer = getattr(layer, kind)
                there = other.get(f"{name}.{kind}" if name else kind)
                if there is None or there.shape != buffer.shape:
                    raise LossvizError(
                        f"the other model keeps no statistics for batch norm {name!r}; "
                        "batch_norm interpolate needs two models of one architecture"
                    )
                start, end = buffer.clone(), there.to(buffer)
                self._pairs.append((buffer, start, end))
                if kind == "running_var":
                    # The variance start + t (end - start) is positive between its zeros.
                    rise = end.double() - start.double()
                    zeros = -start.double() / rise
                    low = max([low, *zeros[rise > 0].tolist()])
                    high = min([high, *zeros[rise < 0].tolist()])
        self.valid = (low, high)
        """Coordinates between which no variance is negative, ends included."""

    @torch.no_grad()
    def move_to(self, coordinate: float) -> bool:
        """Set the statistics to those at a coordinate.

        Args:
            coordinate: 0 is this model, 1 the other; both come back to the bit.

        Returns:
            False, with nothing changed, where a variance would be negative.
        """
        if not self.valid[0] <= coordinate <= self.valid[1]:
            return False
        for buffer, start, end in self._pairs:
            if coordinate == 0.0:
                buffer.copy_(start)
            elif coordinate == 1.0:
                buffer.copy_(end)
            else:
                buffer.copy_((1 - coordinate) * start.double() + coordinate * end.double())
        return True


class Moments:
    """Mean and centred second moment of one layer's input, per channel, in float64."""

    def __init__(self, layer: BatchNorm) -> None:
        """Begin with nothing.

        Args:
            layer: Has `num_features` channels.
        """
        device = next((b.device for b in layer.buffers(recurse=False)), None)
        self.count = 0
        self.mean = torch.zeros(layer.num_features, dtype=torch.float64, device=device)
        self.squares = self.mean.clone()
        """Sum of squared deviations from the mean."""

    def add(self, count: int, mean: Tensor, squares: Tensor) -> None:
        """Join a sample to what is there (Chan, Golub and LeVeque 1983, eqs. 2.1a and 2.1b).

        Args:
            count: Of its numbers, for each channel.
            mean: Of each channel, in float64.
            squares: Sum of squared deviations from it, in float64.
        """
        total = self.count + count
        apart = mean - self.mean
        self.mean = self.mean + apart * (count / total)
        self.squares = self.squares + squares + apart.square() * (self.count * count / total)
        self.count = total

    def write(self, layer: BatchNorm) -> None:
        """Make these a layer's running statistics, the variance unbiased; nothing if empty."""
        if self.count:
            mean, variance = _running(layer)
            mean.copy_(self.mean)
            variance.copy_(self.squares / max(1, self.count - 1))

    def hook(self, layer: BatchNorm, inputs: tuple[Tensor, ...], _output: Tensor) -> None:
        """Take a batch's moments from the layer, which has just computed them."""
        count = inputs[0].numel() // inputs[0].shape[1]
        mean, variance = _running(layer)
        self.add(count, mean.double(), variance.double() * (count - 1))
        # The next batch is mixed in with weight 1, but 0 times NaN is NaN.
        mean.zero_()
        variance.zero_()


def whole_batches(num_examples: int) -> list[range]:
    """Equal batches of at least 1,000 examples, or of all."""
    number = max(1, num_examples // MIN_BATCH)
    edges = [num_examples * k // number for k in range(number + 1)]
    return [range(start, stop) for start, stop in itertools.pairwise(edges)]


@torch.no_grad()
def recompute_statistics(
    model: nn.Module,
    examples: Examples,
    *,
    dtype: torch.dtype,
    before_batch: Callable[[], None] | None = None,
) -> None:
    """Set running means and variances to those of the examples at the model's present weights.

    One pass with batch statistics in equal batches of at least 1,000 examples ("UpBN" of Xu et
    al. 2024; Garipov et al. 2018). Unlike the usual average over batches, a layer's moments are
    pooled over all examples: batches of 128 averaged are 0.6 % off near a minimum. The moments
    of a batch are those the layer computes anyway, so that pooling costs no pass over the
    activations. The model is left in eval mode. `lockstep` is faster where it can be used.

    Args:
        model: Its batch-norm layers are changed in place.
        examples: The training examples.
        dtype: Of the computation.
        before_batch: Called before each batch; what it raises leaves the statistics alone.
    """

    def batches() -> Iterator[Tensor]:
        for batch in whole_batches(len(examples)):
            if before_batch is not None:
                before_batch()
            yield examples.inputs(batch.start, batch.stop, dtype)

    statistics_from(model, batches())


@torch.no_grad()
def statistics_from(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set running means and variances to those of batches, each normalised by its own.

    Args:
        model: Its batch-norm layers are changed in place; left in eval mode.
        batches: Inputs of the model.
    """
    layers = list(batch_norms(model).values())
    moments = [Moments(layer) for layer in layers]
    handles = [
        layer.register_forward_hook(m.hook) for layer, m in zip(layers, moments, strict=True)
    ]
    momenta = [layer.momentum for layer in layers]
    buffers = [(b, b.clone()) for layer in layers for b in layer.buffers(recurse=False)]
    model.eval()
    for layer in layers:
        layer.train()
        layer.momentum = 1.0
        layer.reset_running_stats()
    try:
        for batch in batches:
            model(batch)
    finally:
        for handle in handles:
            handle.remove()
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.eval()
            layer.momentum = momentum
        # A pass that failed leaves nothing behind, nor does a layer that was never reached.
        for buffer, before in buffers:
            buffer.copy_(before)
    for layer, m in zip(layers, moments, strict=True):
        m.write(layer)
