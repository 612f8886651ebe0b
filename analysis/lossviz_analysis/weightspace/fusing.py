"""On a CPU: convolution, addition and ReLU in one go, by oneDNN's fused kernels.

They are torch's own but not of its public interface (`torch.compile` puts them into its code),
so that they are tried once, on a few numbers, and left alone where they are missing or wrong.
Whether a batch has 2 examples or 200, an example's bits are the same, which is not so for the
library that computes a plain linear layer.
"""

import operator
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor, fx, nn
from torch.fx.node import Argument
from torch.nn import functional

from lossviz_analysis.weightspace.batchnorm import BatchNorm
from lossviz_analysis.weightspace.folding import module_of, shape_of

_SLOPE = 1e-30
"""A fused ReLU turns NaN into 0, and a diverged point would look fine; a leaky one whose slope
vanishes beside any sum does not."""
_RELU_CALLS = (functional.relu, torch.relu)
_ADD_CALLS = (operator.add, torch.add)


class FusedConv2d(nn.Module):
    """A convolution with what comes after it."""

    def __init__(self, conv: nn.Conv2d, *, with_relu: bool) -> None:
        super().__init__()
        self.weight, self.bias = conv.weight, conv.bias
        self._shape = [list(conv.padding), list(conv.stride), list(conv.dilation), conv.groups]
        self._end = ("leaky_relu", [_SLOPE], "") if with_relu else ("none", [], "")

    def forward(
        self, x: Float[Tensor, "batch in_channels height width"]
    ) -> Float[Tensor, "batch out_channels out_height out_width"]:
        """Return the outputs."""
        return torch.ops.mkldnn._convolution_pointwise(
            x, self.weight, self.bias, *self._shape, *self._end
        )


class FusedConvAdd2d(FusedConv2d):
    """A convolution whose output is added to something."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__(conv, with_relu=False)

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        x: Float[Tensor, "batch in_channels height width"],
        other: Float[Tensor, "batch out_channels out_height out_width"],
    ) -> Float[Tensor, "batch out_channels out_height out_width"]:
        """Return the sums."""
        return torch.ops.mkldnn._convolution_pointwise.binary(
            x, other, self.weight, self.bias, *self._shape, "add", 1.0, None, [], ""
        )


class FusedLinear(nn.Module):
    """A linear layer for matrices."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight = linear.weight
        self.bias: nn.Parameter | None = linear.bias

    def forward(
        self, x: Float[Tensor, "batch in_features"]
    ) -> Float[Tensor, "batch out_features"]:
        """Return the outputs."""
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")


def multiply_rows(
    rows: Float[Tensor, "rows inputs"], weight: Float[Tensor, "outputs inputs"]
) -> Float[Tensor, "rows outputs"]:
    """Rows times the transpose of a matrix; the bits of a row do not depend on the others."""
    if len(rows) == 1:  # a kernel of its own, which rounds differently
        return multiply_rows(rows.expand(2, -1), weight)[:1]
    return torch.ops.mkldnn._linear_pointwise(rows, weight, None, "none", [], "")


@lru_cache
def has_fused_kernels(dtype: torch.dtype) -> bool:
    """Whether the kernels are there, and compute what they should.

    Args:
        dtype: Of weights and activations.

    Returns:
        False where one is missing, differs from the plain operation by more than rounding, or
        turns NaN into a number.
    """
    generator = torch.Generator().manual_seed(0)
    conv, linear = nn.Conv2d(4, 8, 3, padding=1), nn.Linear(6, 5)
    images, rows, other = torch.empty(3, 4, 6, 6), torch.empty(3, 6), torch.empty(3, 8, 6, 6)
    for values in (*conv.parameters(), *linear.parameters(), images, rows, other):
        values.detach().normal_(generator=generator)
    conv, linear = conv.to(dtype), linear.to(dtype)
    images, rows, other = images.to(dtype), rows.to(dtype), other.to(dtype)
    broken = torch.full_like(images, torch.nan)
    layout = torch.channels_last
    conv, images, other, broken = (
        conv.to(memory_format=layout),
        images.to(memory_format=layout),
        other.to(memory_format=layout),
        broken.to(memory_format=layout),
    )
    tolerance = 16 * torch.finfo(dtype).eps
    with torch.no_grad():
        try:
            with_relu, with_add = FusedConv2d(conv, with_relu=True), FusedConvAdd2d(conv)
            pairs = (
                (FusedConv2d(conv, with_relu=False)(images), conv(images)),
                (with_relu(images), conv(images).relu()),
                (with_add(images, other), conv(images) + other),
                (FusedLinear(linear)(rows), linear(rows)),
            )
            close = all(torch.allclose(a, b, rtol=tolerance, atol=tolerance) for a, b in pairs)
            lost = (with_relu(broken), with_add(broken, other))
        except (AttributeError, RuntimeError, TypeError):
            return False
        return close and all(bool(values.isnan().all()) for values in lost)


def fuse(traced: fx.GraphModule) -> int:
    """Put fused kernels into a graph.

    Args:
        traced: Changed in place. Its images are channels_last, and it knows its shapes.

    Returns:
        How many operations are gone.
    """
    num_fused, graph = 0, traced.graph
    for number, node in enumerate(list(graph.nodes)):
        layer = module_of(traced, node)
        if isinstance(layer, nn.Linear) and _is_plain_linear(layer, node):
            _replace(traced, node, node, f"fused_{number}", FusedLinear(layer), node.args)
        if not isinstance(layer, nn.Conv2d) or not _is_plain_conv(layer):
            continue
        name, user = f"fused_{number}", _only_user(node)
        if user is not None and _is_relu(traced, user):
            fused = FusedConv2d(layer, with_relu=True)
            _replace(traced, user, node, name, fused, node.args)
            num_fused += 1
        elif user is not None and (other := _added_to(node, user)) is not None:
            fused = FusedConvAdd2d(layer)
            _replace(traced, user, node, name, fused, (*node.args, other))
            num_fused += 1
        else:
            fused = FusedConv2d(layer, with_relu=False)
            _replace(traced, node, node, name, fused, node.args)
    for node in list(graph.nodes):
        if _is_relu(traced, node) and _is_disposable(traced, node.args[0]):
            with graph.inserting_before(node):
                new = graph.call_method("relu_", node.args[:1])
            new.meta = dict(node.meta)
            node.replace_all_uses_with(new)
            graph.erase_node(node)
    traced.delete_all_unused_submodules()
    traced.recompile()
    return num_fused


def _replace(
    traced: fx.GraphModule,
    last: fx.Node,
    first: fx.Node,
    name: str,
    module: nn.Module,
    args: tuple[Argument, ...],
) -> None:
    """Let one module do what the nodes from `first` to `last` did."""
    traced.add_submodule(name, module)
    with traced.graph.inserting_before(last):
        new = traced.graph.create_node("call_module", name, args)
    new.meta = dict(last.meta)
    last.replace_all_uses_with(new)
    traced.graph.erase_node(last)
    if first is not last:
        traced.graph.erase_node(first)


def _is_plain_linear(layer: nn.Linear, node: fx.Node) -> bool:
    return type(layer) is nn.Linear and len(shape_of(node) or ()) == 2


def _is_plain_conv(layer: nn.Conv2d) -> bool:
    return (
        type(layer) is nn.Conv2d
        and layer.padding_mode == "zeros"
        and not isinstance(layer.padding, str)
    )


def _only_user(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None


def _is_relu(traced: fx.GraphModule, node: fx.Node) -> bool:
    match node.op:
        case "call_module":
            return type(module_of(traced, node)) is nn.ReLU
        case "call_function":
            return node.target in _RELU_CALLS
        case "call_method":
            return node.target in {"relu", "relu_"}
        case _:
            return False


def _added_to(node: fx.Node, user: fx.Node) -> fx.Node | None:
    """What a node's value is added to by its only user, if that is all the user does.

    An addition in place must be into this node's value: nobody else sees that.
    """
    if len(user.args) != 2 or user.kwargs:
        return None
    left, right = user.args
    anew = user.target in _ADD_CALLS or (user.op == "call_method" and user.target == "add")
    in_place = user.op == "call_method" and user.target == "add_"
    other = right if left is node else left
    if not (anew or (in_place and left is node)) or not isinstance(other, fx.Node):
        return None
    same_shape = shape_of(other) is not None and shape_of(other) == shape_of(node)
    return other if other is not node and same_shape else None


def _is_disposable(traced: fx.GraphModule, node: object) -> bool:
    """Whether a value is new and seen by nobody but its only user."""
    if not isinstance(node, fx.Node) or len(node.users) != 1:
        return False
    if node.op == "call_module":
        made_by = traced.get_submodule(str(node.target))
        return isinstance(made_by, FusedConv2d | FusedLinear | BatchNorm)
    return node.op == "call_function" and node.target in _ADD_CALLS
