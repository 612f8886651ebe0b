"""DenseNet-121 (Huang et al. 2017, DenseNet-BC) for 32 × 32 images, as in Li et al. (2018).

Growth rate 32 and compression 0.5 are the paper's (table 1). The stem is a 3 × 3 convolution
without pool instead of the 7 × 7 made for ImageNet, as in kuangliu/pytorch-cifar and in Li's
code. Every layer is pre-activated: batch norm and ReLU stand before the convolution.
"""

import torch
from jaxtyping import Float
from torch import nn

_GROWTH = 32
_LAYERS = (6, 12, 24, 16)


class DenseLayer(nn.Module):
    """A 1 × 1 and a 3 × 3 convolution whose output is appended to the input."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        bottleneck = 4 * _GROWTH
        self.bn_in = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, bottleneck, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(bottleneck)
        self.conv2 = nn.Conv2d(bottleneck, _GROWTH, 3, padding=1, bias=False)

    def forward(
        self, x: Float[torch.Tensor, "batch in_channels height width"]
    ) -> Float[torch.Tensor, "batch out_channels height width"]:
        """Return the input's channels followed by the new ones."""
        features = self.bn1(self.conv1(self.bn_in(x).relu())).relu()
        return torch.cat((x, self.conv2(features)), dim=1)


class Transition(nn.Module):
    """A 1 × 1 convolution that halves the channels, and a 2 × 2 average pool."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.bn_in = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, in_channels // 2, 1, bias=False)
        self.pool = nn.AvgPool2d(2)

    def forward(
        self, x: Float[torch.Tensor, "batch in_channels height width"]
    ) -> Float[torch.Tensor, "batch out_channels out_height out_width"]:
        """Return half the channels at half the height and width."""
        return self.pool(self.conv1(self.bn_in(x).relu()))


class DenseNet121(nn.Module):
    """Four dense blocks with transitions between, the mean over pixels, and the classifier."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        channels = 2 * _GROWTH
        self.conv1 = nn.Conv2d(3, channels, 3, padding=1, bias=False)
        layers: list[nn.Module] = []
        for block, num_layers in enumerate(_LAYERS):
            if block > 0:
                layers.append(Transition(channels))
                channels //= 2
            for _ in range(num_layers):
                layers.append(DenseLayer(channels))
                channels += _GROWTH
        self.layers = nn.Sequential(*layers)
        self.bn_out = nn.BatchNorm2d(channels)
        self.classifier = nn.Linear(channels, num_classes)

    def forward(
        self, images: Float[torch.Tensor, "batch 3 32 32"]
    ) -> Float[torch.Tensor, "batch classes"]:
        """Return the logits."""
        features = self.bn_out(self.layers(self.conv1(images))).relu()
        return self.classifier(features.mean(dim=(2, 3)))
