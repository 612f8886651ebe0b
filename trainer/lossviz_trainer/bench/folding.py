"""Frozen batch norm folded into the convolution before it, for the bare forward pass."""

import copy

from torch import nn
from torch.fx import GraphModule, symbolic_trace
from torch.nn.utils.fusion import fuse_conv_bn_eval


def folded(model: nn.Module) -> GraphModule:
    """A copy of a network without the batch norms that directly follow convolutions.

    Args:
        model: In eval mode; not changed.

    Returns:
        A network of the same outputs up to rounding. Its parameters are its own.
    """
    traced = symbolic_trace(copy.deepcopy(model))
    modules = dict(traced.named_modules())
    for node in list(traced.graph.nodes):
        norm = modules.get(str(node.target))
        if not isinstance(norm, nn.BatchNorm2d) or len(node.args) != 1:
            continue
        before = node.args[0]
        convolution = modules.get(str(before.target))
        if isinstance(convolution, nn.Conv2d) and len(before.users) == 1:
            traced.set_submodule(str(before.target), fuse_conv_bn_eval(convolution, norm))
            node.replace_all_uses_with(before)
            traced.graph.erase_node(node)
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced.eval().requires_grad_(requires_grad=False)
