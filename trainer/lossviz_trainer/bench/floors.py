"""What no program can beat here: measured peaks, and the time a network's layers take at them.

A layer takes at least its arithmetic at the rate of a large matrix product, and at least the
reading of its input and the writing of its output at the rate of a large copy (Williams,
Waterman and Patterson 2009, the roofline); the floor of a network is the sum over its layers
of the larger of the two. A convolution, its batch norm and its ReLU count as one layer.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from lossviz_trainer.bench.clock import seconds_of
from lossviz_trainer.bench.folding import folded

_MATRIX_SIDE = {"cpu": 2_048, "cuda": 8_192}
_COPY_BYTES = {"cpu": 2**28, "cuda": 2**31}
_TRIALS = 5

_POOLS = ("mean", "avg_pool2d", "_adaptive_avg_pool2d", "max_pool2d_with_indices", "cat")


@dataclass(frozen=True)
class Layer:
    """What one layer does for one image."""

    kind: str
    flops: int
    """A multiplication and an addition are two."""
    elements: int
    """Of activations read or written."""


@dataclass(frozen=True)
class Peaks:
    """Measured rates of the device."""

    matmul: Mapping[str, float]
    """FLOP/s of a large matrix product, by the name of the data type."""
    copy: float
    """Bytes/s of a large copy, read and write counted."""


def measure_peaks(device: torch.device) -> Peaks:
    """Measure matrix products in float32 and in 16 bits, and a copy.

    The product is taken both as such and as a 1 x 1 convolution, and the faster one counts: the
    two come from different libraries, and on some CPUs one of them is half as fast.

    Args:
        device: What to measure.

    Returns:
        The best of a few trials each.
    """
    matmul = {
        str(dtype).removeprefix("torch."): max(
            _product_rate(dtype, device), _convolution_rate(dtype, device)
        )
        for dtype in (torch.float32, short_dtype(device))
    }
    num_bytes = _COPY_BYTES[device.type]
    source = torch.ones(num_bytes // 4, device=device)
    target = torch.empty_like(source)
    return Peaks(matmul, 2 * num_bytes / _best(lambda: target.copy_(source), device))


def _product_rate(dtype: torch.dtype, device: torch.device) -> float:
    """FLOP/s of a product of two square matrices."""
    side = _MATRIX_SIDE[device.type]
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    return 2 * side**3 / _best(lambda: a @ b, device)


def _convolution_rate(dtype: torch.dtype, device: torch.device) -> float:
    """FLOP/s of a 1 x 1 convolution: the same product, the pixels being the rows."""
    num_images, edge, channels = 64, 32, _MATRIX_SIDE[device.type] // 8
    pixels = torch.randn(num_images, channels, edge, edge, device=device).to(
        dtype, memory_format=torch.channels_last
    )
    filters = torch.randn(channels, channels, 1, 1, device=device).to(dtype)
    seconds = _best(lambda: functional.conv2d(pixels, filters), device)
    return 2 * num_images * edge**2 * channels**2 / seconds


def short_dtype(device: torch.device) -> torch.dtype:
    """The 16-bit type that matrix units of a device take."""
    return torch.float16 if device.type == "cuda" else torch.bfloat16


def _best(deed: Callable[[], object], device: torch.device) -> float:
    deed()
    return min(seconds_of(deed, device) for _ in range(_TRIALS))


def layers_of(model: nn.Module, sample: Tensor) -> tuple[Layer, ...]:
    """The layers of a network, by watching one image pass.

    Args:
        model: In eval mode.
        sample: One input, of shape (1, ...).

    Returns:
        Every convolution, linear layer, pool, concatenation, and addition of two activations,
        in order; the addition costs reading one of the two.
    """
    watch = _Watch()
    with torch.no_grad():
        net = folded(model)
        with watch:
            net(sample)
    return tuple(watch.layers)


def roofline_seconds(
    layers: tuple[Layer, ...], *, flops: float, bandwidth: float, element_bytes: int
) -> float:
    """The least time for one image.

    Args:
        layers: Of the network.
        flops: Peak FLOP/s.
        bandwidth: Peak bytes/s.
        element_bytes: Of one activation.

    Returns:
        Seconds.
    """
    return sum(
        max(layer.flops / flops, layer.elements * element_bytes / bandwidth) for layer in layers
    )


class _Watch(TorchDispatchMode):
    """Notes what every operation that counts does."""

    def __init__(self) -> None:
        super().__init__()
        self.layers: list[Layer] = []

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Let an operation happen and note it."""
        result = func(*args, **(kwargs or {}))
        layer = _layer(func.overloadpacket.__name__, args, result)
        if layer is not None:
            self.layers.append(layer)
        return result


def _layer(name: str, args: tuple[Any, ...], result: Any) -> Layer | None:  # noqa: ANN401
    if name == "convolution":
        weight: Tensor = args[1]
        flops = 2 * result.numel() * math.prod(weight.shape[1:])
        return Layer("convolution", flops, args[0].numel() + result.numel())
    if name in ("addmm", "mm"):
        read: Tensor = args[-2]
        return Layer(
            "linear", 2 * read.shape[-1] * result.numel(), read.numel() + result.numel()
        )
    if name == "add" and isinstance(args[1], Tensor) and args[1].dim() == result.dim():
        return Layer("addition", 0, result.numel())
    if name in _POOLS:
        out: Tensor = result[0] if isinstance(result, tuple) else result
        read_elements = sum(t.numel() for t in args[0]) if name == "cat" else args[0].numel()
        return Layer(name, 0, read_elements + out.numel())
    return None
