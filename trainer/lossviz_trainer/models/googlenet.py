"""GoogLeNet (Szegedy et al. 2015) for 32 × 32 images.

The nine inception modules have the widths of the paper's table 1. As in kuangliu/pytorch-cifar,
the stem is a single 3 × 3 convolution, every convolution has batch norm, a 5 × 5 convolution is
two 3 × 3, and there are no auxiliary classifiers and no dropout.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import nn

from lossviz_trainer.models.layers import conv_bn_relu


class InceptionWidths(NamedTuple):
    """Filters of one inception module, a row of table 1 in Szegedy et al. (2015)."""

    single: int
    """The 1 × 1 branch."""
    reduce_three: int
    """The 1 × 1 convolution in front of the 3 × 3."""
    three: int
    """The 3 × 3 branch."""
    reduce_five: int
    """The 1 × 1 convolution in front of the 5 × 5."""
    five: int
    """The 5 × 5 branch."""
    pool: int
    """The 1 × 1 convolution behind the max pool."""


# Rows 3a to 5b of the table; a stage ends where the paper pools.
_STAGES = (
    (
        InceptionWidths(64, 96, 128, 16, 32, 32),
        InceptionWidths(128, 128, 192, 32, 96, 64),
    ),
    (
        InceptionWidths(192, 96, 208, 16, 48, 64),
        InceptionWidths(160, 112, 224, 24, 64, 64),
        InceptionWidths(128, 128, 256, 24, 64, 64),
        InceptionWidths(112, 144, 288, 32, 64, 64),
        InceptionWidths(256, 160, 320, 32, 128, 128),
    ),
    (
        InceptionWidths(256, 160, 320, 32, 128, 128),
        InceptionWidths(384, 192, 384, 48, 128, 128),
    ),
)


class Inception(nn.Module):
    """Four branches side by side, their outputs concatenated by channel."""

    def __init__(self, in_channels: int, widths: InceptionWidths) -> None:
        super().__init__()
        self.single = _convolution(in_channels, widths.single, 1)
        self.three = nn.Sequential(
            _convolution(in_channels, widths.reduce_three, 1),
            _convolution(widths.reduce_three, widths.three, 3),
        )
        self.five = nn.Sequential(
            _convolution(in_channels, widths.reduce_five, 1),
            _convolution(widths.reduce_five, widths.five, 3),
            _convolution(widths.five, widths.five, 3),
        )
        self.pool = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1),
            _convolution(in_channels, widths.pool, 1),
        )

    def forward(
        self, x: Float[torch.Tensor, "batch in_channels height width"]
    ) -> Float[torch.Tensor, "batch out_channels height width"]:
        """Return the four branches' features."""
        return torch.cat((self.single(x), self.three(x), self.five(x), self.pool(x)), dim=1)


def _convolution(in_channels: int, out_channels: int, kernel_size: int) -> nn.Sequential:
    padding = kernel_size // 2
    return conv_bn_relu(in_channels, out_channels, kernel_size, padding=padding, bias=True)


class GoogLeNet(nn.Module):
    """The stem, nine inception modules with two max pools between, and the classifier."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        channels = 192
        layers: list[nn.Module] = [_convolution(3, channels, 3)]
        for stage, modules in enumerate(_STAGES):
            if stage > 0:
                layers.append(nn.MaxPool2d(3, stride=2, padding=1))
            for widths in modules:
                layers.append(Inception(channels, widths))
                channels = widths.single + widths.three + widths.five + widths.pool
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels, num_classes)

    def forward(
        self, images: Float[torch.Tensor, "batch 3 32 32"]
    ) -> Float[torch.Tensor, "batch classes"]:
        """Return the logits."""
        return self.classifier(self.features(images).mean(dim=(2, 3)))
