"""A model evaluated at one point of weight space after another, as fast as it can be.

What is fast is tried when an evaluator is made, from the fastest on, and kept only if it gives
the model's own logits; the model itself is the last resort. So a scan of any model works, and
`description` says how.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Literal, assert_never

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.weightspace.batchnorm import (
    MIN_BATCH,
    Frozen,
    Interpolate,
    Interpolation,
    Recompute,
    Statistics,
    has_batch_norm,
    recompute_statistics,
)
from lossviz_analysis.weightspace.evaluation import ClassSums, batches, class_sums
from lossviz_analysis.weightspace.examples import Examples
from lossviz_analysis.weightspace.first_layer import FirstLayer
from lossviz_analysis.weightspace.lockstep import Lockstep
from lossviz_analysis.weightspace.twins import Choice, Gate, choose_exact, choose_fast
from lossviz_analysis.weightspace.vector import MovableModel

Precision = Literal["exact", "fast", "float64"]
"""Of the evaluation: to the last bit, with fewer bits where that is faster, or with more."""

_AS_FAST = 0.97
_CLEARLY_SLOWER = 0.85
_TIMED_REPEATS = 2
_ALIVE = 4
"""Activations of the largest size that are alive at a time: in a residual block its input, the
shortcut, and what goes into a convolution and comes out."""


class PointEvaluator:
    """Evaluates a model at one point of weight space after another.

    Nothing between `move_to` and the sums waits for the device. On a CPU the bits of the sums
    do not depend on which chunks are asked for together and, in float32 where the description
    names oneDNN, not on the micro-batch or the number of threads either. Several evaluators may
    share a model: each goes to its point by its own `move_to`.
    """

    def __init__(
        self,
        movable: MovableModel,
        directions: tuple[Tensor, ...],
        *,
        dtype: torch.dtype,
        arithmetic: Precision,
        micro_batch: int,
        with_confusion: bool,
        sample: Tensor,
        statistics: Statistics = Frozen(),  # noqa: B008 - frozen, without state
        first_layer_bytes: int = 0,
        should_compile: bool = False,
        compile_backend: str = "inductor",
        clock: Callable[[], float] | None = None,
        fast_dtype: torch.dtype | None = None,
    ) -> None:
        """Try what is fast, and keep what is right.

        Args:
            movable: In eval mode, at the origin.
            directions: Vectors of its layout.
            dtype: Of its parameters.
            arithmetic: `exact` is float32, `fast` fewer bits where they are faster; `float64`
                is the plain model in its own dtype, an oracle.
            micro_batch: Examples in one forward pass.
            with_confusion: Whether to keep the confusion matrix.
            sample: One example as the model takes it, batch dimension included.
            statistics: What happens to the running statistics of batch norms.
            first_layer_bytes: Memory, for each split, for what a first linear layer has to
                compute only once; 0 for never. Must be the same wherever the same bits are
                wanted.
            should_compile: Whether full micro-batches are computed by compiled code.
            compile_backend: Of `torch.compile`.
            clock: Seconds, to find out what `fast` should be on a CPU.
            fast_dtype: What it was found to be before; None to find out.

        Raises:
            LossvizError: The model's output is not a row of logits for each example, or the
                statistics at the other end of a line are another architecture's.
        """
        self.micro_batch = micro_batch
        self.num_halvings = 0
        """How often the memory was not enough."""
        self.before_batch: Callable[[], None] | None = None
        """Called before each micro-batch; what it raises abandons the chunk."""
        self._movable, self._directions = movable, directions
        self._dtype, self._with_confusion = dtype, with_confusion
        self._saved = {name: b.clone() for name, b in movable.model.named_buffers()}
        self._statistics = statistics if has_batch_norm(movable.model) else Frozen()
        self._interpolation: Interpolation | None = None
        if isinstance(self._statistics, Interpolate):
            self._interpolation = Interpolation(movable.model, self._statistics.other)
        gate = Gate(movable, sample)
        self._is_per_example = gate.is_per_example
        match arithmetic:
            case "exact":
                choice = choose_exact(movable, gate, dtype)
            case "fast":
                choice = choose_fast(movable, gate, clock=clock, dtype=fast_dtype)
            case "float64":
                choice = Choice(None, f"plain {str(dtype).removeprefix('torch.')}")
            case _:
                assert_never(arithmetic)
        self._twin = choice.twin
        on_cpu = movable.base.device.type == "cpu"
        self._may_join_chunks = gate.is_per_example and (choice.has_steady_bits or not on_cpu)
        """Whether a micro-batch may hold examples of two chunks."""
        self.compute_dtype = dtype if self._twin is None else self._twin.dtype
        """Of weights and activations; for `fast`, what was found to be fast."""
        words = [choice.description]
        self._lockstep: Lockstep | None = None
        if isinstance(self._statistics, Recompute) and self._twin is not None:
            if gate.is_per_example and self._twin.graph is not None:
                self._lockstep = Lockstep.of(movable.model, self._statistics.examples, dtype)
            words.append(
                "batch statistics " + ("in lockstep" if self._lockstep else "by passes")
            )
        self._forward: Callable[[Tensor], Tensor] = self._twin or movable.model
        self._compiled: Callable[[Tensor], Tensor] | None = None
        if should_compile:
            words.append(self._compile(gate, compile_backend))
        self._sample = sample
        self._first: FirstLayer | None = None
        if self._twin is not None and first_layer_bytes > 0:
            self._first = FirstLayer.of(self._twin, movable, directions, first_layer_bytes)
            if self._first is not None:
                words.append("first layer once per chunk")
        if not self._is_per_example:
            words.append("its logits depend on the batch")
        self.description = ", ".join(words)
        """How the model is evaluated, for people."""
        self._coordinates = (0.0,) * len(directions)
        self._is_whole = False
        """Whether all weights are those of the present point."""
        self._arrive(None)

    def compile(self, backend: str = "inductor") -> bool:
        """Let compiled code compute full micro-batches from now on, if it computes the same.

        That takes from seconds to minutes, which the evaluation of some points may not.

        Args:
            backend: Of `torch.compile`.

        Returns:
            Whether it does; the description says so, or why not.
        """
        self.close()
        words = self._compile(Gate(self._movable, self._sample), backend)
        self.description += f", {words}"
        self.move_to(self._coordinates)
        return self._compiled is not None

    def move_to(self, coordinates: tuple[float, ...]) -> bool:
        """Go to a point, always from the base.

        Args:
            coordinates: One for each direction.

        Returns:
            False where the model cannot be evaluated: an interpolated running variance would be
            negative.

        Raises:
            LossvizError: There is not enough memory to recompute statistics.
        """
        self._coordinates = coordinates
        is_anew = isinstance(self._statistics, Recompute)
        # At the origin the first layer is the model's own, to the bit.
        leave = None if is_anew or not any(coordinates) else self._first
        self._set_weights(leave)
        if isinstance(self._statistics, Recompute):
            self._recompute(self._statistics.examples)
        if self._interpolation is not None and not self._interpolation.move_to(coordinates[0]):
            return False
        self._refresh(leave)
        return True

    def _recompute(self, examples: Examples) -> None:
        recompute = partial(recompute_statistics, self._movable.model)
        if self._lockstep is not None:
            recompute = self._lockstep.recompute
        try:
            recompute(examples, dtype=self._dtype, before_batch=self.before_batch)
        except torch.OutOfMemoryError:
            raise LossvizError(
                "the device has not enough memory to recompute batch-norm statistics, which "
                f"takes {MIN_BATCH:,} examples at a time; choose frozen statistics"
            ) from None

    def _arrive(self, leave: FirstLayer | None) -> None:
        """Set the weights of the model and its twin to those of the present point.

        Args:
            leave: Its weight is not needed.
        """
        self._set_weights(leave)
        self._refresh(leave)

    def _set_weights(self, leave: FirstLayer | None) -> None:
        self._is_whole = leave is None
        self._movable.move_to(
            self._directions, self._coordinates, leave=None if leave is None else leave.slot
        )

    def _refresh(self, leave: FirstLayer | None) -> None:
        if self._twin is not None:
            self._twin.refresh(leave=None if leave is None else leave.weight)

    def chunk(self, examples: Examples, number: int) -> ClassSums:
        """Sums over one chunk at the present point, left on the device.

        Args:
            examples: The split.
            number: Of the chunk.

        Returns:
            The sums, see ClassSums.
        """
        return self.chunk_many(examples, range(number, number + 1))[0]

    def chunk_many(self, examples: Examples, numbers: range) -> Float[Tensor, "chunks slots"]:
        """Sums over consecutive chunks at the present point, left on the device.

        Args:
            examples: The split.
            numbers: Of the chunks.

        Returns:
            A row for each.
        """
        bounds = examples.bounds
        with torch.no_grad() if self._compiled is not None else torch.inference_mode():
            logits = torch.cat(self._with_enough_memory(examples, numbers))
            start = bounds[numbers.start]
            return torch.stack(
                [
                    class_sums(
                        logits[bounds[k] - start : bounds[k + 1] - start],
                        examples.labels[bounds[k] : bounds[k + 1]],
                        examples.num_classes,
                        with_confusion=self._with_confusion,
                    )
                    for k in numbers
                ]
            )

    @property
    def computes_in_lockstep(self) -> bool:
        """Whether statistics are recomputed the fast way, see `lockstep`."""
        return self._lockstep is not None

    @property
    def dtype(self) -> torch.dtype:
        """Of the model's own parameters, and of the examples it is given."""
        return self._dtype

    @torch.inference_mode()
    def forward_rate(
        self, examples: Examples, micro_batch: int, clock: Callable[[], float]
    ) -> float:
        """Examples a second through the forward pass alone, not compiled.

        Args:
            examples: The first micro-batch of them is timed.
            micro_batch: Examples in a pass.
            clock: Seconds.

        Returns:
            The best of a few passes.
        """
        inputs = examples.inputs(0, min(micro_batch, len(examples)), self._dtype)
        seconds = math.inf
        for _ in range(1 + _TIMED_REPEATS):  # the first makes buffers and chooses kernels
            start = clock()
            self._apart(self._forward, inputs)
            if inputs.device.type == "cuda":
                torch.cuda.synchronize(inputs.device)
            seconds = min(seconds, clock() - start)
        return len(inputs) / max(seconds, 1e-9)

    def weight_bytes(self) -> int:
        """Memory of the weights: the base, the point, its twin, and the directions."""
        vector = self._movable.base
        vectors = (2 + len(self._directions)) * vector.numel() * vector.element_size()
        if self._twin is None:
            return vectors
        return vectors + sum(
            t.numel() * t.element_size() for t in self._twin.module.parameters()
        )

    @torch.no_grad()
    def activation_bytes(self, sample: Tensor) -> int:
        """Memory of the activations that are alive at a time, for one example."""
        largest = sample.numel() * sample.element_size()

        def measure(_module: nn.Module, _inputs: object, output: object) -> None:
            nonlocal largest
            if isinstance(output, Tensor):
                largest = max(largest, output.numel() * output.element_size())

        model = self._movable.model
        handles = [module.register_forward_hook(measure) for module in model.modules()]
        try:
            model(sample)
        finally:
            for handle in handles:
                handle.remove()
        return _ALIVE * largest // len(sample)

    def close(self) -> None:
        """Put the model back at the origin, buffers included, to the bit."""
        self._movable.move_to((), ())
        with torch.no_grad():
            for name, buffer in self._movable.model.named_buffers():
                buffer.copy_(self._saved[name])

    def _with_enough_memory(self, examples: Examples, numbers: range) -> list[Tensor]:
        while True:
            try:
                return self._logits(examples, numbers)
            except torch.OutOfMemoryError:
                pass  # what the traceback holds is free only after it
            self._save_memory()

    def _save_memory(self) -> None:
        """Do with less memory from now on.

        Raises:
            LossvizError: There is nothing left to save.
        """
        if self._first is not None:
            self._first = None
        elif self.micro_batch > 1:
            self.micro_batch //= 2
            self.num_halvings += 1
        else:
            raise LossvizError("the device has not enough memory for one example at a time")
        if self._movable.base.device.type == "cuda":
            torch.cuda.empty_cache()

    def _logits(self, examples: Examples, numbers: range) -> list[Tensor]:
        """Logits of consecutive chunks."""
        num_linear = 0
        if self._first is not None and any(self._coordinates):
            num_linear = sum(self._first.holds(examples, number) for number in numbers)
        found: list[Tensor] = []
        for number in numbers[:num_linear]:
            found += self._through_first_layer(examples, number)
        rest = numbers[num_linear:]
        if not rest:
            return found
        if not self._is_whole:
            self._arrive(None)
        spans = [range(examples.bounds[rest.start], examples.bounds[rest.stop])]
        if not self._may_join_chunks:
            spans = [examples.chunk(number) for number in rest]
        for span in spans:
            for start, stop in batches(span, self.micro_batch):
                found.append(self._pass(examples.inputs(start, stop, self._dtype)))
        return found

    def _through_first_layer(self, examples: Examples, number: int) -> list[Tensor]:
        if self._first is None:
            return []
        rows = self._first.outputs(examples, number, self._coordinates)
        spans = batches(range(len(rows)), self.micro_batch)
        return [self._apart(self._first.tail, rows[a:b]) for a, b in spans]

    def _pass(self, inputs: Tensor) -> Tensor:
        """Logits of one micro-batch."""
        if self._compiled is None or 2 * len(inputs) < self.micro_batch:
            return self._apart(self._forward, inputs)
        return self._apart(partial(self._filled, self._compiled), inputs)

    def _filled(self, forward: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
        """A forward pass of code that was compiled for whole micro-batches."""
        missing = max(0, self.micro_batch - len(inputs))
        filled = torch.cat([inputs, inputs[:1].expand(missing, *inputs.shape[1:])])
        return forward(filled)[: len(inputs)]

    def _apart(self, forward: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
        """A forward pass, never of a single example: kernels made for one round differently."""
        if self.before_batch is not None:
            self.before_batch()
        if len(inputs) == 1 and self._is_per_example:
            return forward(torch.cat([inputs, inputs]))[:1]
        return forward(inputs)

    def _compile(self, gate: Gate, backend: str) -> str:
        """Compile the twin for full micro-batches, and check what comes out.

        Returns:
            What became of it, in words.
        """
        if self._twin is None or self._twin.graph is None:
            return "not compiled: it has no graph"
        if not self._is_per_example:
            return "not compiled: batches could not be filled up"
        twin = self._twin
        module = torch.compile(twin.module, backend=backend, dynamic=False)

        def forward(inputs: Tensor) -> Tensor:
            return module(twin.prepared(inputs))

        # Also after a move: frozen code would go on giving the logits of the first point.
        if not gate.accepts(partial(self._filled, forward), twin.refresh, twin.dtype):
            return "not compiled: the compiler failed or changed the logits"
        self._compiled = forward
        return "compiled"


def best_micro_batch(
    evaluator: PointEvaluator,
    examples: Examples,
    clock: Callable[[], float],
    sizes: tuple[int, ...] = (25, 50, 100, 250, 500, 1_000),
) -> tuple[int, float]:
    """The micro-batch with the fastest forward pass, not compiled, at the present point.

    Sizes are tried in order until one is clearly slower than the best before it: on a CPU the
    large ones lose time in the allocator, and would take long to try.

    Args:
        evaluator: Keeps its own micro-batch.
        examples: What is evaluated.
        clock: Seconds.
        sizes: Ascending. Those beyond the number of examples are not tried, but for the first.

    Returns:
        The size, and examples a second.
    """
    rates: dict[int, float] = {}
    for size in sizes:
        if size > len(examples) and rates:
            break
        try:
            rates[size] = evaluator.forward_rate(examples, size, clock)
        except torch.OutOfMemoryError:
            break
        if rates[size] < _CLEARLY_SLOWER * max(rates.values()):
            break
    if not rates:
        return sizes[0], 0.0
    best = max(rates.values())
    # Of sizes that the clock cannot tell apart the largest: it has the fewest calls.
    size = max(size for size, rate in rates.items() if rate >= _AS_FAST * best)
    return size, rates[size]


def forward_bytes(evaluator: PointEvaluator, examples: Examples) -> int:
    """An estimate of the memory that evaluating takes, without the examples themselves.

    Args:
        evaluator: With the micro-batch it will have.
        examples: One of them goes through the model.

    Returns:
        Weights, directions and the activations alive at a time in one micro-batch.
    """
    return evaluator.weight_bytes() + evaluator.micro_batch * evaluator.activation_bytes(
        examples.inputs(0, 1, evaluator.dtype)
    )
