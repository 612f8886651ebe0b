"""Which twin of a model to evaluate: the fastest that gives the model's own logits."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.weightspace.batchnorm import batch_norms
from lossviz_analysis.weightspace.folding import Twin, UntraceableError
from lossviz_analysis.weightspace.fusing import fuse, has_fused_kernels
from lossviz_analysis.weightspace.vector import MovableModel

_TOLERANCES = {
    torch.float64: 1e-9,
    torch.float32: 1e-4,
    torch.float16: 2e-2,
    torch.bfloat16: 1e-1,
}
"""How far a twin's logits may be from the model's, relative to the largest."""
_TIMED_EXAMPLES, _TIMED_REPEATS = 32, 3
_WORTH_IT = 0.9
"""Fewer bits must take less than this share of float32's time on a CPU."""


class Gate:
    """The model's own logits at two points, against which everything fast is checked.

    The second point is there for weights that a graph has taken for constants: everything
    moves, the statistics of batch norms too.
    """

    def __init__(self, movable: MovableModel, sample: Tensor) -> None:
        """Evaluate the plain model.

        Args:
            movable: At the origin, where it is left.
            sample: One example as the model takes it, batch dimension included.

        Raises:
            LossvizError: The output is not a row of logits for each example.
        """
        self.inputs = torch.cat([sample, sample.flip(-1)])
        """Two examples."""
        self._movable = movable
        turn = torch.arange(len(movable.base), device=movable.base.device)
        wave = (turn.to(movable.base.dtype) * math.sqrt(2)).cos()
        self._nudge = wave * (0.25 * movable.base.abs() + 0.003)
        self._buffers = [(b, b.clone()) for b in movable.model.buffers()]
        found = self._plain(self.inputs)
        self._references = [self._plain(self.inputs) for _ in self._points()]
        alone = self._plain(self.inputs[:1])
        self.is_per_example = _is_close(alone, found[:1], _TOLERANCES[torch.float32])
        """Whether an example's logits do not depend on the others of its batch."""

    def accepts(
        self,
        forward: Callable[[Tensor], Tensor],
        refresh: Callable[[], None],
        dtype: torch.dtype,
    ) -> bool:
        """Whether something gives the model's logits, at the origin and elsewhere.

        Args:
            forward: From images to logits.
            refresh: Called when the model has been moved.
            dtype: Of the computation, which decides on the tolerance.

        Returns:
            False also where it fails with an exception, or the logits are not finite.
        """
        matches: list[bool] = []
        for _, reference in zip(self._points(), self._references, strict=True):
            try:
                refresh()
                with torch.no_grad():
                    found = forward(self.inputs)
            except (RuntimeError, TypeError, ValueError, AttributeError):
                matches.append(False)
            else:
                matches.append(_is_close(found, reference, _TOLERANCES[dtype]))
        return all(matches)

    def _plain(self, inputs: Tensor) -> Tensor:
        with torch.no_grad():
            return _as_logits(self._movable.model(inputs), len(inputs))

    @torch.no_grad()
    def _points(self) -> Iterator[None]:
        """Move the model to the origin, then to the other point, then back."""
        yield
        try:
            self._movable.move_to((self._nudge,), (1.0,))
            for layer in batch_norms(self._movable.model).values():
                if layer.running_mean is not None and layer.running_var is not None:
                    layer.running_mean.add_(layer.running_var.sqrt(), alpha=0.2)
                    layer.running_var.mul_(1.3)
            yield
        finally:
            self._movable.move_to((), ())
            for buffer, before in self._buffers:
                buffer.copy_(before)


def _as_logits(output: object, num_examples: int) -> Tensor:
    """What a model returned, if it is logits.

    Raises:
        LossvizError: It is something else.
    """
    if isinstance(output, Tensor) and output.dim() == 2 and len(output) == num_examples:
        return output
    what = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
    raise LossvizError(
        f"the model should return logits of shape ({num_examples}, classes) for {num_examples} "
        f"examples; it returned {what}"
    )


def _is_close(found: object, reference: Tensor, tolerance: float) -> bool:
    if not isinstance(found, Tensor) or found.shape != reference.shape:
        return False
    if not bool(reference.isfinite().all()):
        return False
    apart = (found.double() - reference.double()).abs().max()
    return bool(apart <= tolerance * reference.double().abs().max())


@dataclass(frozen=True, eq=False)
class Choice:
    """A twin, and what to tell people about it."""

    twin: Twin | None
    """None for the model itself."""
    description: str
    has_steady_bits: bool = False
    """Whether an example's logits are the same bits in every batch, whatever its size."""


def choose_exact(movable: MovableModel, gate: Gate, dtype: torch.dtype) -> Choice:
    """The fastest twin in a dtype.

    Args:
        movable: At the origin.
        gate: Decides what is right.
        dtype: Of weights and activations.

    Returns:
        The twin; none where no graph of the model is right.
    """
    fused = gate.inputs.device.type == "cpu" and has_fused_kernels(dtype)
    reason = "its graph gives other logits"
    has_filters = any(p.dim() == 4 for p in movable.model.parameters())
    ways = ((True, True), (True, False), (False, False))
    for channels_last, with_kernels in ways if has_filters else ((False, True), (False, False)):
        if with_kernels and not fused:
            continue
        try:
            twin = Twin(movable.model, gate.inputs, dtype=dtype, channels_last=channels_last)
        except UntraceableError as error:
            reason = str(error)
            continue
        num_fused = fuse(twin.graph) if with_kernels and twin.graph is not None else 0
        if gate.accepts(twin, twin.refresh, dtype):
            words = _words(twin, with_kernels=with_kernels, num_fused=num_fused)
            return Choice(twin, words, has_steady_bits=with_kernels)
    return Choice(None, f"not folded: {reason}")


def _words(twin: Twin, *, with_kernels: bool, num_fused: int) -> str:
    kept = f" of {twin.num_folded + twin.num_kept}" if twin.num_kept else ""
    norms = "batch norm" if twin.num_folded == 1 and not kept else "batch norms"
    words = [f"{twin.num_folded}{kept} {norms} folded"]
    if twin.num_folded + twin.num_kept == 0:
        words = ["no batch norm to fold"]
    if twin.channels_last:
        words.append("channels_last")
    if with_kernels:
        words.append(f"oneDNN with {num_fused} fused relu or add" if num_fused else "oneDNN")
    return ", ".join(words)


def choose_fast(
    movable: MovableModel,
    gate: Gate,
    *,
    clock: Callable[[], float] | None,
    dtype: torch.dtype | None,
) -> Choice:
    """The fastest twin in 16 bits, or in 32 where they are not faster.

    float16 comes before bfloat16: it has ten bits of mantissa against seven.

    Args:
        movable: At the origin, in float32.
        gate: Decides what is right.
        clock: Seconds. On a CPU nothing is known without.
        dtype: What was found before; None to find out.

    Returns:
        The twin and, where it is float32 after all, why.
    """
    reason = "16 bits are not faster, or not close enough"
    wanted = (torch.float16, torch.bfloat16) if dtype is None else (dtype,)
    limit = math.inf
    if dtype == torch.float32:
        wanted, reason = (), "as found before"
    elif gate.inputs.device.type == "cpu" and dtype is None:
        if clock is None:
            wanted, reason = (), "16 bits were not timed on this CPU"
        else:
            wanted = tuple(fewer for fewer in wanted if _is_native(fewer))
            plain = choose_exact(movable, gate, torch.float32).twin or movable.model
            limit = _WORTH_IT * _seconds(plain, gate.inputs, clock)
    for fewer in wanted:
        choice = _in_fewer_bits(movable, gate, fewer)
        if choice.twin is None:
            continue
        if clock is None or limit == math.inf:
            return choice
        if _seconds(choice.twin, gate.inputs, clock) <= limit:
            return choice
    exact = choose_exact(movable, gate, torch.float32)
    return replace(exact, description=f"{exact.description}, fast is float32 here: {reason}")


def _in_fewer_bits(movable: MovableModel, gate: Gate, dtype: torch.dtype) -> Choice:
    name = str(dtype).removeprefix("torch.")
    choice = choose_exact(movable, gate, dtype)
    if choice.twin is not None:
        return Choice(choice.twin, f"{choice.description}, {name}")
    try:
        twin = Twin(
            movable.model, gate.inputs, dtype=dtype, channels_last=False, with_graph=False
        )
    except UntraceableError:
        return choice
    if gate.accepts(twin, twin.refresh, dtype):
        return Choice(twin, f"{choice.description}, {name}")
    return choice


def _is_native(dtype: torch.dtype) -> bool:
    """Whether this CPU computes in a dtype of 16 bits, rather than emulating it."""
    kernels = torch.ops.mkldnn
    asked = (
        "_is_mkldnn_bf16_supported" if dtype == torch.bfloat16 else "_is_mkldnn_fp16_supported"
    )
    return hasattr(kernels, asked) and bool(getattr(kernels, asked)())


@torch.no_grad()
def _seconds(
    forward: Callable[[Tensor], Tensor], inputs: Tensor, clock: Callable[[], float]
) -> float:
    """The least time of a few passes over a small batch."""
    batch = inputs[:1].expand(_TIMED_EXAMPLES, *inputs.shape[1:]).contiguous()
    best = math.inf
    for _ in range(_TIMED_REPEATS):
        start = clock()
        forward(batch)
        best = min(best, clock() - start)
    return best
