"""Deep layer aggregation (Yu et al. 2018) for 32 × 32 images.

The blocks stand in trees: a tree runs its nodes one after the other, and its root joins the
outputs of all. Widths and levels are those of DLA-34 (table 1 of the paper). As in
kuangliu/pytorch-cifar, the first four stages keep all 32 × 32 pixels, and a tree of level 2
hands its root a copy of its input, for which a residual block of its own makes the shape: 38
weight layers in all.
"""

import torch
from jaxtyping import Float
from torch import nn

from lossviz_trainer.models.layers import conv_bn_relu
from lossviz_trainer.models.resnet import ResidualBlock


class Tree(nn.Module):
    """Subtrees of each lower level, highest first, then two residual blocks, under one root."""

    def __init__(self, in_channels: int, out_channels: int, *, level: int, stride: int) -> None:
        """Lay out the tree.

        Args:
            in_channels: Channels of the input.
            out_channels: Channels of every node, and of the root.
            level: 1 for two blocks under a root. From 2 on, the root sees the input too.
            stride: Stride from the input to the output.
        """
        super().__init__()
        self.entry: ResidualBlock | None = None
        if level > 1:
            self.entry = ResidualBlock(
                in_channels, out_channels, stride=stride, shortcut="projection"
            )
        self.nodes = nn.ModuleList()
        channels = in_channels
        for sublevel in reversed(range(1, level)):
            self.nodes.append(Tree(channels, out_channels, level=sublevel, stride=stride))
            channels, stride = out_channels, 1
        for _ in range(2):
            self.nodes.append(
                ResidualBlock(channels, out_channels, stride=stride, shortcut="projection")
            )
            channels, stride = out_channels, 1
        num_joined = len(self.nodes) + (self.entry is not None)
        self.root = conv_bn_relu(num_joined * out_channels, out_channels, 1, padding=0)

    def forward(
        self, x: Float[torch.Tensor, "batch in_channels height width"]
    ) -> Float[torch.Tensor, "batch out_channels out_height out_width"]:
        """Return the root's features."""
        outputs: list[torch.Tensor] = [] if self.entry is None else [self.entry(x)]
        for node in self.nodes:
            x = node(x)
            outputs.append(x)
        return self.root(torch.cat(outputs, dim=1))


class DLA(nn.Module):
    """Three convolutions, four trees, the mean over pixels, and the classifier."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            conv_bn_relu(3, 16, 3, padding=1),
            conv_bn_relu(16, 16, 3, padding=1),
            conv_bn_relu(16, 32, 3, padding=1),
            Tree(32, 64, level=1, stride=1),
            Tree(64, 128, level=2, stride=2),
            Tree(128, 256, level=2, stride=2),
            Tree(256, 512, level=1, stride=2),
        )
        self.classifier = nn.Linear(512, num_classes)

    def forward(
        self, images: Float[torch.Tensor, "batch 3 32 32"]
    ) -> Float[torch.Tensor, "batch classes"]:
        """Return the logits."""
        return self.classifier(self.features(images).mean(dim=(2, 3)))
