"""Batch-norm statistics at another point of weight space, faster than by a pass of the model.

A layer that normalises with the statistics of its batch can begin only when the layer before it
is done with all of the batch. But the activations of 1,000 images fill every cache: on a CPU
most of such a pass is spent waiting for memory. Here whatever lies between two batch norms is
computed for 50 images at a time, moments included, and only at a batch norm do these parts wait
for each other.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, fx, nn
from torch.nn import functional

from lossviz_analysis.weightspace.batchnorm import (
    BatchNorm,
    Moments,
    batch_norms,
    statistics_from,
    whole_batches,
)
from lossviz_analysis.weightspace.examples import Examples
from lossviz_analysis.weightspace.folding import UntraceableError, laid_out, module_of, trace
from lossviz_analysis.weightspace.fusing import fuse, has_fused_kernels

_PART = 50
_PART_NUMBERS = _PART * 3 * 32 * 32
"""A part of smaller examples has more of them."""
_ALL = 2**40
"""Examples, more than any batch has."""
_CHECKED_EXAMPLES, _CHECKED_PART = 12, 5
_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-3}
"""How far running statistics may be from the model's own, relative to the largest of a layer.
torch's own float32 moments are up to 1e-5 off, and every layer adds to that."""


@dataclass(frozen=True)
class _Stage:
    """What is computed part by part, up to the input of a batch norm."""

    nodes: tuple[fx.Node, ...]
    """The batch norm that ended the stage before comes first."""
    end: fx.Node
    norm: BatchNorm


@dataclass(eq=False)
class _Values:
    """What is known of one part of a batch."""

    inputs: Tensor
    env: dict[fx.Node, object] = field(default_factory=dict[fx.Node, object])


class Lockstep:
    """Recomputes the statistics of one model wherever its weights are.

    The bits do not depend on the number of threads: moments are sums over rows of channels,
    which torch adds up in one order.
    """

    def __init__(self, model: nn.Module, inputs: Tensor) -> None:
        """Cut the model's graph at its batch norms.

        Args:
            model: In eval mode; an example's logits do not depend on the others of its batch.
            inputs: A batch of at least two.

        Raises:
            UntraceableError: The model has no graph.
        """
        self._model = model
        self._channels_last = any(p.dim() == 4 for p in model.parameters())
        self._graph = trace(model, self._laid_out(inputs))
        self._part = _part_of(inputs)
        if inputs.device.type == "cpu" and has_fused_kernels(inputs.dtype):
            fuse(self._graph)
        self._interpreter = fx.Interpreter(self._graph)
        self._stages = _stages(self._graph)

    @classmethod
    def of(cls, model: nn.Module, examples: Examples, dtype: torch.dtype) -> "Lockstep | None":
        """Lockstep for a model, if that gives the statistics that the model itself gives.

        Args:
            model: In eval mode, and left as it was.
            examples: A few of them are passed through it.
            dtype: Of the computation.

        Returns:
            None where it does not.
        """
        inputs = examples.inputs(0, min(_CHECKED_EXAMPLES, len(examples)), dtype)
        if len(inputs) < 2:
            return None
        before = [(b, b.clone()) for b in model.buffers()]
        try:
            found = cls(model, inputs)
            found._part, usual = _CHECKED_PART, found._part
            mine = found._statistics(inputs)
            found._part = usual
            statistics_from(model, [inputs])
            own = [b.clone() for b in _running(model)]
        except (UntraceableError, RuntimeError, TypeError, ValueError, AttributeError):
            return None
        finally:
            for buffer, values in before:
                buffer.copy_(values)
        return found if _are_close(mine, own) else None

    def recompute(
        self,
        examples: Examples,
        *,
        dtype: torch.dtype,
        before_batch: Callable[[], None] | None = None,
    ) -> None:
        """Set running means and variances to those of the examples, see `recompute_statistics`.

        Args:
            examples: The training examples.
            dtype: Of the computation.
            before_batch: Called before each part; what it raises leaves the statistics alone.
        """
        pooled: dict[BatchNorm, Moments] = {}
        for batch in whole_batches(len(examples)):
            parts = [
                examples.inputs(start, min(start + self._part, batch.stop), dtype)
                for start in range(batch.start, batch.stop, self._part)
            ]
            self._pass(parts, pooled, before_batch)
        self._write(pooled)

    def _statistics(self, inputs: Tensor) -> list[Tensor]:
        """The running statistics after a pass of one batch."""
        pooled: dict[BatchNorm, Moments] = {}
        self._pass(list(inputs.split(self._part)), pooled)
        self._write(pooled)
        return [b.clone() for b in _running(self._model)]

    def _write(self, pooled: dict[BatchNorm, Moments]) -> None:
        for layer in batch_norms(self._model).values():
            if layer in pooled:
                pooled[layer].write(layer)

    @torch.inference_mode()
    def _pass(
        self,
        inputs: list[Tensor],
        pooled: dict[BatchNorm, Moments],
        before_batch: Callable[[], None] | None = None,
    ) -> None:
        """One batch, in parts.

        Args:
            inputs: The parts.
            pooled: Of each layer; what this batch has is added.
            before_batch: Called before each part.
        """
        parts = [_Values(part) for part in inputs]
        before: Moments | None = None
        for stage in self._stages:
            moments = Moments(stage.norm)
            for part in parts:
                if before_batch is not None:
                    before_batch()
                self._run(stage, part, before)
                _add(moments, part.env[stage.end])
            pooled.setdefault(stage.norm, Moments(stage.norm)).add(
                moments.count, moments.mean, moments.squares
            )
            before = moments

    def _run(self, stage: _Stage, part: _Values, before: Moments | None) -> None:
        """Take one part up to the end of a stage."""
        last_uses = self._interpreter.user_to_last_uses
        self._interpreter.env = part.env
        for node in stage.nodes:
            norm = module_of(self._graph, node)
            if node.op == "placeholder":
                part.env[node] = self._laid_out(part.inputs)
            elif isinstance(norm, BatchNorm) and before is not None:
                part.env[node] = _normalised(norm, part.env[node.all_input_nodes[0]], before)
            else:
                part.env[node] = self._interpreter.run_node(node)
            for used in last_uses.get(node, []):
                del part.env[used]

    def _laid_out(self, inputs: Tensor) -> Tensor:
        return laid_out(inputs, channels_last=self._channels_last)


def _part_of(inputs: Tensor) -> int:
    """Examples like these that are computed at a time."""
    if inputs.device.type != "cpu":
        return _ALL  # a device is filled by whole batches only
    return max(_PART, _PART_NUMBERS // max(1, inputs[0].numel()))


def _stages(graph: fx.GraphModule) -> list[_Stage]:
    """Cut a graph before each of its batch norms; what comes after the last is not needed."""
    stages: list[_Stage] = []
    nodes: list[fx.Node] = []
    for node in graph.graph.nodes:
        norm = module_of(graph, node)
        if isinstance(norm, BatchNorm):
            stages.append(_Stage(tuple(nodes), node.all_input_nodes[0], norm))
            nodes = []
        nodes.append(node)
    return stages


def _running(model: nn.Module) -> list[Tensor]:
    layers = batch_norms(model).values()
    return [
        b for layer in layers for b in (layer.running_mean, layer.running_var) if b is not None
    ]


def _are_close(found: list[Tensor], expected: list[Tensor]) -> bool:
    """Whether statistics agree, layer by layer."""
    return all(
        bool(b.isfinite().all())
        and bool((a - b).abs().max() <= _TOLERANCE[b.dtype] * b.abs().max())
        for a, b in zip(found, expected, strict=True)
    )


def _rows(values: Float[Tensor, "batch channels ..."]) -> Float[Tensor, "rows channels"]:
    return values.movedim(1, -1).reshape(-1, values.shape[1])


def _add(moments: Moments, values: object) -> None:
    """Add the numbers that a part sends into a batch norm.

    Raises:
        TypeError: It is not a tensor.
    """
    if not isinstance(values, Tensor):
        raise TypeError("a batch norm takes a tensor")
    rows = _rows(values)
    mean = rows.mean(0)
    squares = (rows - mean).square_().sum(0)
    moments.add(len(rows), mean.double(), squares.double())


def _normalised(norm: BatchNorm, values: object, moments: Moments) -> Tensor:
    """What a batch norm makes of a part, with the moments of the whole batch.

    Raises:
        TypeError: It is not a tensor.
    """
    if not isinstance(values, Tensor):
        raise TypeError("a batch norm takes a tensor")
    return functional.batch_norm(
        values,
        moments.mean.to(values.dtype),
        (moments.squares / moments.count).to(values.dtype),
        norm.weight,
        norm.bias,
        training=False,
        eps=norm.eps,
    )
