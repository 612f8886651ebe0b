"""A copy of a model made for evaluation alone: traced, its batch norms folded away.

In eval mode a batch norm is a fixed affine map of each channel, so that one that directly
follows a convolution or a linear layer disappears into its weights and bias. A twin does this
once for the structure (by `torch.fx`) and again at every point for the numbers, which it writes
into tensors that stay where they are: compiled code that has seen them reads the new values.
"""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from lossviz_analysis.weightspace.batchnorm import BatchNorm

_FOLDABLE: dict[type[nn.Module], int] = {
    nn.Conv1d: 3,
    nn.Conv2d: 4,
    nn.Conv3d: 5,
    nn.Linear: 2,
}
"""Layers a batch norm can be folded into, and the dimensions of their output."""
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class UntraceableError(Exception):
    """The model has no graph, or none that can be trusted; the message says why."""


class _Tracer(fx.Tracer):
    """Sees to it that buffers are read when the graph runs, not when it is made."""

    proxy_buffer_attributes = True


class _ShapeRecorder(fx.Interpreter):
    """Notes the shape of every tensor of a graph in its node."""

    def run_node(self, n: fx.Node) -> object:
        result = super().run_node(n)
        if isinstance(result, Tensor):
            n.meta["shape"] = tuple(result.shape)
        return result


def shape_of(node: fx.Node) -> tuple[int, ...] | None:
    """Shape of a node's tensor when the graph was traced; None for anything else."""
    return node.meta.get("shape")


def trace(model: nn.Module, inputs: Tensor) -> fx.GraphModule:
    """The graph of a model, with the shapes it has for an example input.

    Args:
        model: Shares its modules with the graph.
        inputs: A batch.

    Returns:
        The graph; every node that is a tensor knows its shape, see `shape_of`.

    Raises:
        UntraceableError: The model cannot be traced.
    """
    # What a hook of the whole model does to the logits is not in its graph, and shows in them.
    if any(_has_hooks(module) for module in model.modules() if module is not model):
        raise UntraceableError("it has hooks")
    try:
        graph = _Tracer().trace(model)
        traced = fx.GraphModule(model, graph, type(model).__name__)
        with torch.no_grad():
            _ShapeRecorder(traced).run(inputs)
    except Exception as error:  # a user's model may raise anything here
        said = str(error).strip().splitlines()
        reason = said[0] if said else "no reason given"
        raise UntraceableError(f"{type(error).__name__}: {reason}") from error
    return traced


def _has_hooks(module: nn.Module) -> bool:
    return any(
        getattr(module, name, None)
        for name in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")
    )


def module_of(graph: fx.GraphModule, node: object) -> nn.Module | None:
    """The module a node calls with one tensor; None for any other node."""
    if not isinstance(node, fx.Node) or node.op != "call_module":
        return None
    if len(node.args) != 1 or node.kwargs or not isinstance(node.args[0], fx.Node):
        return None
    return graph.get_submodule(str(node.target))


@dataclass(frozen=True, eq=False)
class _Fold:
    """A layer and the batch norm after it."""

    layer: nn.Module
    """Of the original model, as is the norm."""
    norm: BatchNorm
    into: nn.Module
    """The layer of the twin that does the work of both."""


class _Affine:
    """What batch norms do to the layers before them, for all of a twin at once.

    A small network is folded in less time than it takes to start so many kernels; so all
    channels of all layers are one vector, and only the weights are written layer by layer.
    """

    def __init__(self, folds: list[_Fold], dtype: torch.dtype, *, channels_last: bool) -> None:
        self.folds = folds
        weights = [_tensor(fold.layer, "weight") for fold in folds]
        widths = [len(w) for w in weights]
        like = weights[0].detach()
        self._eps = torch.cat(
            [like.new_full((n,), f.norm.eps) for n, f in zip(widths, folds, strict=True)]
        )
        self._one, self._zero = torch.ones_like(self._eps), torch.zeros_like(self._eps)
        self._scale = torch.empty_like(self._eps)
        self._bias = torch.empty_like(self._eps, dtype=dtype)
        self._widths = widths
        self._weights: list[tuple[nn.Module, Tensor, Tensor]] = []
        parts = zip(
            folds, weights, self._scale.split(widths), self._bias.split(widths), strict=True
        )
        for fold, weight, scale, bias in parts:
            target = nn.Parameter(
                laid_out(torch.empty_like(weight, dtype=dtype), channels_last=channels_last),
                requires_grad=False,
            )
            fold.into.register_parameter("weight", target)
            fold.into.register_parameter("bias", nn.Parameter(bias, requires_grad=False))
            shape = (-1,) + (1,) * (weight.dim() - 1)
            self._weights.append((fold.layer, scale.view(shape), target))

    def scale_of(self, weight: Tensor) -> Tensor | None:
        """The scales of one of the layers written."""
        found = (scale for _, scale, target in self._weights if target is weight)
        return next((scale.flatten() for scale in found), None)

    def write(self, *, leave: Tensor | None = None) -> None:
        """Fold the present weights and statistics.

        Args:
            leave: A layer's weight that stays as it is, though its bias does not.
        """
        norms = [fold.norm for fold in self.folds]
        variance = torch.cat([_tensor(norm, "running_var") for norm in norms])
        mean = torch.cat([_tensor(norm, "running_mean") for norm in norms])
        weight = self._channels(norms, "weight", self._one)
        torch.div(weight, (variance + self._eps).sqrt_(), out=self._scale)
        before = self._channels([fold.layer for fold in self.folds], "bias", self._zero)
        after = self._channels(norms, "bias", self._zero)
        self._bias.copy_((before - mean).mul_(self._scale).add_(after))
        for layer, scale, target in self._weights:
            if target is not leave:
                torch.mul(_tensor(layer, "weight"), scale, out=target)

    def _channels(
        self, modules: list[nn.Module] | list[BatchNorm], name: str, default: Tensor
    ) -> Tensor:
        """One tensor of every module in a row, or the default's values where it has none."""
        parts = zip(modules, default.split(self._widths), strict=True)
        return torch.cat(
            [d if getattr(m, name) is None else _tensor(m, name) for m, d in parts]
        )


def _tensor(module: nn.Module, name: str) -> Tensor:
    found = getattr(module, name)
    if not isinstance(found, Tensor):
        raise TypeError(f"a {type(module).__name__} without {name}")
    return found


def laid_out(values: Tensor, *, channels_last: bool) -> Tensor:
    """Four-dimensional values with the channels innermost where that is wanted."""
    if channels_last and values.dim() == 4:
        return values.contiguous(memory_format=torch.channels_last)
    return values


class Twin:
    """A copy of a model that only evaluates, and is as fast at it as its structure allows."""

    def __init__(
        self,
        model: nn.Module,
        inputs: Tensor,
        *,
        dtype: torch.dtype,
        channels_last: bool,
        with_graph: bool = True,
    ) -> None:
        """Copy, trace and fold a model.

        Args:
            model: In eval mode. Its tensors are read again at every `refresh`.
            inputs: A batch in the model's own dtype.
            dtype: Of the copy's weights and activations. Batch norms that cannot be folded
                keep theirs, because a variance may leave the range of fewer bits.
            channels_last: Whether images and filters are laid out so.
            with_graph: Whether to trace at all; else the copy is only cast.

        Raises:
            UntraceableError: The model cannot be copied or traced.
        """
        self.dtype = dtype
        self.channels_last = channels_last
        self.graph: fx.GraphModule | None = None
        """The graph, where there is one. It may be changed until the twin is first called."""
        self.num_folded = 0
        self.num_kept = 0
        """Batch norms that are not folded."""
        wide = {id(t) for m in model.modules() if isinstance(m, BatchNorm) for t in _tensors(m)}
        clones = [
            (source, self._clone(source, inputs.dtype, keep=id(source) in wide))
            for source in _tensors(model)
        ]
        self.module, originals = _copy(model, {id(source): c for source, c in clones})
        self._affine: _Affine | None = None
        if with_graph:
            self.graph = self.module = trace(self.module, self.prepared(inputs))
            folds = _fold(self.graph, originals)
            self.num_folded = len(folds)
            if folds:
                self._affine = _Affine(folds, dtype, channels_last=channels_last)
        self.num_kept = sum(isinstance(m, BatchNorm) for m in self.module.modules())
        used = {id(tensor) for tensor in _tensors(self.module)}
        self._copies = [(clone, source) for source, clone in clones if id(clone) in used]

    def source_of(self, weight: Tensor) -> Tensor | None:
        """The tensor of the original model that one of the twin's is copied or folded from."""
        if self._affine is not None:
            for fold in self._affine.folds:
                if fold.into.weight is weight:
                    return _tensor(fold.layer, "weight")
        return next((source for target, source in self._copies if target is weight), None)

    def scale_of(self, weight: Tensor) -> Tensor | None:
        """What folding multiplies a layer's outputs by, channel by channel, at this point."""
        return None if self._affine is None else self._affine.scale_of(weight)

    @torch.no_grad()
    def refresh(self, *, leave: Tensor | None = None) -> None:
        """Read the tensors of the original model again.

        Args:
            leave: One of the twin's weights that is not needed at this point.
        """
        copies = [pair for pair in self._copies if pair[0] is not leave]
        if copies:
            targets, sources = zip(*copies, strict=True)
            torch._foreach_copy_(targets, sources)  # pyright: ignore[reportPrivateUsage]
        if self._affine is not None:
            self._affine.write(leave=leave)

    def prepared(self, inputs: Tensor) -> Tensor:
        """A batch in the twin's dtype and layout."""
        return laid_out(inputs.to(self.dtype), channels_last=self.channels_last)

    def __call__(self, inputs: Tensor) -> Tensor:
        """Logits of a batch in any dtype and layout."""
        # Not by calling the graph: that prints what goes wrong before it raises it.
        forward = self.module if self.graph is None else self.graph.forward
        return forward(self.prepared(inputs))

    def _clone(self, source: Tensor, own: torch.dtype, *, keep: bool) -> Tensor:
        values = source.detach().clone(memory_format=torch.contiguous_format)
        if source.dtype == own and not keep:
            values = values.to(self.dtype)
        values = laid_out(values, channels_last=self.channels_last)
        if isinstance(source, nn.Parameter):
            return nn.Parameter(values, requires_grad=False)
        return values


def _copy(
    model: nn.Module, memo: dict[int, Tensor]
) -> tuple[nn.Module, dict[nn.Module, nn.Module]]:
    """A copy of a model, and of which module each of its modules is one.

    Args:
        model: What is copied.
        memo: What takes the place of each of its tensors, by the tensor's `id`.

    Returns:
        The copy, and the originals by copy.

    Raises:
        UntraceableError: The model cannot be copied.
    """
    try:
        twin = copy.deepcopy(model, dict[int, object](memo))
        return twin, dict(zip(twin.modules(), model.modules(), strict=True))
    except Exception as error:  # locks, files and generators cannot be copied
        raise UntraceableError(f"it cannot be copied ({type(error).__name__})") from error


def _tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]


def _fold(traced: fx.GraphModule, originals: dict[nn.Module, nn.Module]) -> list[_Fold]:
    """Take out of a graph every batch norm that can be folded.

    Args:
        traced: Changed in place. The layers that do the work of both are new, so that one that
            is used elsewhere too, or shares its weights, stays what it is.
        originals: Of which module each module is a copy.

    Returns:
        What is to be written where.
    """
    folds: list[_Fold] = []
    for node in list(traced.graph.nodes):
        norm, before = module_of(traced, node), node.args[0] if node.args else None
        layer = module_of(traced, before)
        if not isinstance(before, fx.Node) or not isinstance(norm, BatchNorm) or layer is None:
            continue
        if not _can_fold(layer, norm, before):
            continue
        into = copy.deepcopy(layer)
        name = f"folded_{len(folds)}"
        traced.add_submodule(name, into)
        with traced.graph.inserting_before(before):
            new = traced.graph.call_module(name, before.args)
        new.meta = dict(node.meta)
        node.replace_all_uses_with(new)
        traced.graph.erase_node(node)
        traced.graph.erase_node(before)
        original = originals[norm]
        if isinstance(original, BatchNorm):
            folds.append(_Fold(originals[layer], original, into))
    if folds:
        traced.delete_all_unused_submodules()
        traced.recompile()
    return folds


def _can_fold(layer: nn.Module, norm: BatchNorm, before: fx.Node) -> bool:
    """Whether a batch norm can be folded into the layer before it.

    Subclasses may compute anything, so the types must be torch's own. A linear layer's output
    must be a matrix: batch norm takes dimension 1, the layer the last.
    """
    dims = _FOLDABLE.get(type(layer))
    if dims is None or type(norm) not in _BATCH_NORMS or norm.training:
        return False
    if norm.running_mean is None or norm.running_var is None or len(before.users) != 1:
        return False
    same = {t.dtype for t in _tensors(norm) if t.is_floating_point()}
    return len(shape_of(before) or ()) == dims and len(same) == 1
