"""Residual networks for 32 × 32 images, with and without their shortcuts.

`resnet18` is the ImageNet network of He et al. (2016, table 1) with a CIFAR stem (3 × 3, stride
1, no pool) and projection shortcuts, as in kuangliu/pytorch-cifar.

`resnet20` to `resnet110` are the CIFAR networks of the same paper (sec. 4.2), with its
parameter-free shortcuts (option A). Li et al. (2018) remove the shortcuts for `-noshort` and
multiply the filters of every layer, the stem included, for `wrn56-k`. Their code puts
projections (option B) where the shape changes. Here all keep option A, so that a network and
its `-noshort` have the same parameters: what differs between their landscapes is the shortcuts
and nothing else.
"""

from typing import Literal, assert_never

import torch
from jaxtyping import Float
from torch import nn

Shortcut = Literal["padded", "projection", "none"]
"""How a block's input reaches its output: options A and B of He et al., or not at all."""


class PaddedSubsample(nn.Module):
    """Option A: every stride-th pixel, and zeros for the channels that are missing.

    The zeros come after the input's channels, as in facebook/fb.resnet.torch.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.missing_channels = out_channels - in_channels
        self.stride = stride

    def forward(
        self, x: Float[torch.Tensor, "batch in_channels height width"]
    ) -> Float[torch.Tensor, "batch out_channels out_height out_width"]:
        """Return the input in the shape of the block's output."""
        subsampled = x[:, :, :: self.stride, :: self.stride]
        return nn.functional.pad(subsampled, (0, 0, 0, 0, 0, self.missing_channels))


class ResidualBlock(nn.Module):
    """Two 3 × 3 convolutions; the input is added to their output unless shortcut is "none"."""

    def __init__(
        self, in_channels: int, out_channels: int, *, stride: int, shortcut: Shortcut
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(
            in_channels, out_channels, 3, stride=stride, padding=1, bias=False
        )
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.shortcut = _shortcut(shortcut, in_channels, out_channels, stride)

    def forward(
        self, x: Float[torch.Tensor, "batch in_channels height width"]
    ) -> Float[torch.Tensor, "batch out_channels out_height out_width"]:
        """Return the block's features, rectified."""
        features = self.bn1(self.conv1(x)).relu()
        features = self.bn2(self.conv2(features))
        if self.shortcut is not None:
            features = features + self.shortcut(x)
        return features.relu()


def _shortcut(
    kind: Shortcut, in_channels: int, out_channels: int, stride: int
) -> nn.Module | None:
    if kind == "none":
        return None
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    match kind:
        case "padded":
            return PaddedSubsample(in_channels, out_channels, stride)
        case "projection":
            return nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )
        case _:
            assert_never(kind)


class ResNet(nn.Module):
    """A 3 × 3 stem, stages of residual blocks, the mean over pixels, and the classifier."""

    def __init__(
        self,
        num_classes: int,
        *,
        widths: tuple[int, ...],
        blocks_per_stage: int,
        shortcut: Shortcut,
    ) -> None:
        """Lay out the network.

        Args:
            num_classes: Number of logits.
            widths: Filters of each stage. The stem has as many as the first; every stage but
                the first halves the height and width.
            blocks_per_stage: Residual blocks in each stage.
            shortcut: The shortcut of every block.
        """
        super().__init__()
        channels = widths[0]
        self.conv1 = nn.Conv2d(3, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        blocks: list[nn.Module] = []
        for stage, width in enumerate(widths):
            for block in range(blocks_per_stage):
                stride = 2 if stage > 0 and block == 0 else 1
                blocks.append(ResidualBlock(channels, width, stride=stride, shortcut=shortcut))
                channels = width
        self.blocks = nn.Sequential(*blocks)
        self.classifier = nn.Linear(channels, num_classes)

    def forward(
        self, images: Float[torch.Tensor, "batch 3 32 32"]
    ) -> Float[torch.Tensor, "batch classes"]:
        """Return the logits."""
        features = self.blocks(self.bn1(self.conv1(images)).relu())
        return self.classifier(features.mean(dim=(2, 3)))


def resnet18(num_classes: int) -> ResNet:
    """Four stages of two blocks, 64 to 512 filters, projection shortcuts.

    Args:
        num_classes: Number of logits.

    Returns:
        The network, uninitialised.
    """
    return ResNet(
        num_classes, widths=(64, 128, 256, 512), blocks_per_stage=2, shortcut="projection"
    )


def cifar_resnet(
    num_classes: int, *, depth: int, widening: int = 1, shortcuts: bool = True
) -> ResNet:
    """Three stages of (depth - 2) / 6 blocks, 16 to 64 filters times the widening, option A.

    Args:
        num_classes: Number of logits.
        depth: Weight layers: the stem, two per block, and the classifier.
        widening: Multiplies the filters of every layer (Li et al. 2018, fig. 6, call it k).
        shortcuts: False for the "-noshort" networks.

    Returns:
        The network, uninitialised.
    """
    return ResNet(
        num_classes,
        widths=(16 * widening, 32 * widening, 64 * widening),
        blocks_per_stage=(depth - 2) // 6,
        shortcut="padded" if shortcuts else "none",
    )
