"""Initial weights, drawn from a generator."""

import torch
from torch import nn


def initialise_(model: nn.Module, generator: torch.Generator) -> None:
    """Overwrite every parameter and buffer of a model with its initial value.

    Weights are He normal in fan-in form, N(0, gain² / fan-in) with gain² = 2 (He et al. 2015,
    "Delving Deep into Rectifiers", eq. 10), the scheme of He et al. (2016) and of Li et al.
    (2018); VGG, GoogLeNet and DLA, published with other schemes or before batch norm, get it
    too, so that families can be compared. The layer named `classifier` has no ReLU after it and
    takes gain² = 1, which keeps the initial loss near log C; the published codes differ there.
    Biases are 0, batch norms the identity.

    Args:
        model: A model whose parameters and buffers all belong to convolutions, linear layers
            and batch norms. Its present values are not read.
        generator: Where the weights are drawn from, in the order of `model.named_modules()`.

    Raises:
        TypeError: If another kind of layer owns a parameter or a buffer.
    """
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(
                module.weight,
                nonlinearity="linear" if name == "classifier" else "relu",
                generator=generator,
            )
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
        elif _owns_tensors(module):
            raise TypeError(
                f"no initial value is defined for {name!r}, a {type(module).__name__}"
            )


def _owns_tensors(module: nn.Module) -> bool:
    return any(True for _ in module.parameters(recurse=False)) or any(
        True for _ in module.buffers(recurse=False)
    )
