"""Models by name."""

import difflib
from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from lossviz_analysis.errors import LossvizError
from lossviz_trainer.models.densenet import DenseNet121
from lossviz_trainer.models.dla import DLA
from lossviz_trainer.models.googlenet import GoogLeNet
from lossviz_trainer.models.initialise import initialise_
from lossviz_trainer.models.mlp import MLP
from lossviz_trainer.models.resnet import cifar_resnet, resnet18
from lossviz_trainer.models.vgg import vgg9, vgg19

_DEPTHS = (20, 32, 56, 110)
_WIDENINGS = (2, 4, 8)

_ARCHITECTURES: dict[str, Callable[[int], nn.Module]] = {
    "mlp": MLP,
    "vgg9": vgg9,
    "vgg19": vgg19,
    "googlenet": GoogLeNet,
    "resnet18": resnet18,
    "dla": DLA,
    "densenet121": DenseNet121,
}
for _ending, _shortcuts in (("", True), ("-noshort", False)):
    for _depth in _DEPTHS:
        _ARCHITECTURES[f"resnet{_depth}{_ending}"] = partial(
            cifar_resnet, depth=_depth, shortcuts=_shortcuts
        )
for _ending, _shortcuts in (("", True), ("-noshort", False)):
    for _widening in _WIDENINGS:
        _ARCHITECTURES[f"wrn56-{_widening}{_ending}"] = partial(
            cifar_resnet, depth=56, widening=_widening, shortcuts=_shortcuts
        )

MODEL_NAMES: tuple[str, ...] = tuple(_ARCHITECTURES)
"""Every name `build_model` knows, in the order to list them: by family, depth and width."""


def build_model(name: str, num_classes: int, *, seed: int) -> nn.Module:
    """Build a model with its initial weights.

    The weights depend on the arguments alone: not on the default device or dtype, nor on any
    global generator, none of which is changed either.

    Args:
        name: One of `MODEL_NAMES`.
        num_classes: Number of logits, at least 2.
        seed: Seed of the initial weights.

    Returns:
        The model in float32, on the CPU, in train mode.

    Raises:
        LossvizError: If the name is unknown or there are fewer than two classes.
    """
    architecture = _ARCHITECTURES.get(name)
    if architecture is None:
        close = difflib.get_close_matches(name, MODEL_NAMES, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise LossvizError(
            f"there is no model named {name!r}{hint}; choose one of {', '.join(MODEL_NAMES)}"
        )
    if num_classes < 2:
        raise LossvizError(f"a classifier needs at least 2 classes; got {num_classes!r}")
    # Constructors of torch draw from the global generator of the CPU; it is put back afterwards
    # and initialise_ overwrites every number drawn from it. (Building on the meta device draws
    # nothing, but costs seconds of imports.)
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        model = architecture(num_classes).float()
    initialise_(model, torch.Generator(device="cpu").manual_seed(seed))
    return model
