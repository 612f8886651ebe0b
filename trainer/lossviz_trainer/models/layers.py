"""Convolution, batch norm and ReLU in a row: the brick that several families are built of."""

from torch import nn


def conv_bn_relu(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    *,
    padding: int,
    bias: bool = False,
) -> nn.Sequential:
    """A convolution with stride 1, the batch norm of its output, and a ReLU.

    Args:
        in_channels: Channels of the input.
        out_channels: Filters of the convolution.
        kernel_size: Height and width of each filter.
        padding: Zeros added on every side.
        bias: Whether the convolution has a bias too. The batch norm cancels it in training, so
            only architectures published with one should ask for it.

    Returns:
        The three modules in order.
    """
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, padding=padding, bias=bias),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
    )
