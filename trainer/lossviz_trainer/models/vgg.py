"""VGG (Simonyan and Zisserman 2015) with batch norm, cut to 32 × 32 images.

`vgg19` keeps the sixteen convolutions of the paper's configuration E and replaces its three
fully connected layers, made for 224 × 224, by one: 17 weight layers in all. This is the common
CIFAR form, that of kuangliu/pytorch-cifar. `vgg9` is the network of Li et al. (2018, sec. 3) as
in their code: seven convolutions, a hidden layer of 256 units, the classifier.
"""

import torch
from jaxtyping import Float
from torch import nn

from lossviz_trainer.models.layers import conv_bn_relu


class VGG(nn.Module):
    """Stages of 3 × 3 convolutions, each ending in a 2 × 2 max pool, then linear layers."""

    def __init__(
        self, num_classes: int, *, stages: tuple[tuple[int, ...], ...], hidden: int | None
    ) -> None:
        """Lay out the network.

        Args:
            num_classes: Number of logits.
            stages: Filters of every convolution, stage by stage.
            hidden: Units of the fully connected layer between the last stage and the
                classifier; None for no such layer.
        """
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for widths in stages:
            for width in widths:
                layers.append(conv_bn_relu(channels, width, 3, padding=1, bias=True))
                channels = width
            layers.append(nn.MaxPool2d(2))
        if hidden is not None:
            # A convolution over all the pixels left is the fully connected layer, weight for
            # weight, and spares the rest of the program a second kind of batch norm.
            pixels = 32 // 2 ** len(stages)
            layers.append(conv_bn_relu(channels, hidden, pixels, padding=0, bias=True))
            channels = hidden
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels, num_classes)

    def forward(
        self, images: Float[torch.Tensor, "batch 3 32 32"]
    ) -> Float[torch.Tensor, "batch classes"]:
        """Return the logits."""
        return self.classifier(self.features(images).flatten(1))


def vgg9(num_classes: int) -> VGG:
    """Seven convolutions, 256 hidden units and the classifier (Li et al. 2018).

    Args:
        num_classes: Number of logits.

    Returns:
        The network, uninitialised.
    """
    return VGG(num_classes, stages=((64,) * 2, (128,) * 2, (256,) * 3), hidden=256)


def vgg19(num_classes: int) -> VGG:
    """Sixteen convolutions and the classifier (Simonyan and Zisserman 2015, configuration E).

    Args:
        num_classes: Number of logits.

    Returns:
        The network, uninitialised.
    """
    stages = ((64,) * 2, (128,) * 2, (256,) * 4, (512,) * 4, (512,) * 4)
    return VGG(num_classes, stages=stages, hidden=None)
