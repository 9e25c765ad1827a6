"""Residual U-Net after Son et al. 2021 (doi 10.1038/s41598-021-84593-z), as their app carries it.

Nine channels in (RGB, hemoglobin image, melanin image), one map of logits out. Five levels with
8, 16, 32, 64 and 128 channels. The published network's graph, read from the authors' app, is:

    block   conv3x3(stride) -> ELU -> batch norm -> conv3x3 -> ELU, plus conv1x1(stride) ->
            batch norm of the block's input, added; stride 2 is the only downsampling
    up      transposed conv 2x2, stride 2, channels kept; concat with the encoder's output of that
            level; block with stride 1: 128+64->64, 64+32->32, 32+16->16, 16+8->8
    head    conv1x1 to one channel, sigmoid

It is kin to the deep residual U-Net of Zhang, Liu, Wang (arXiv 1711.10684), with ELU instead of
ReLU and the convolution before the normalisation.

Size: the published file holds 607,225 constants. This module has 607,961 trainable parameters,
and 607,225 once the batch normalisations are written as the file writes them: those of the
shortcuts folded into their convolutions, those inside the blocks as one scale and one shift per
channel (`tests/train/test_unet.py` counts both). Two things differ knowingly: TensorFlow
pads a stride 2 convolution at the right and bottom only, PyTorch on both sides, so that the
authors' weights would not give the authors' numbers here; and the authors' layer numbers hint at
a third normalisation per block that their graph does not have and that is left out here.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

WIDTHS = (8, 16, 32, 64, 128)
"""Channels of the five levels, from full to a sixteenth of the resolution (Son et al. 2021)."""

IN_CHANNELS = 9
"""RGB, hemoglobin image, melanin image: three channels each, 0..1, stacked in this order."""


class ResidualBlock(nn.Module):
    """conv3x3(stride) -> ELU -> norm -> conv3x3 -> ELU, added to norm(conv1x1(stride)).

    Args:
        channels_in: Channels of the input.
        channels_out: Channels of the output.
        stride: 2 halves height and width.
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(channels_in, channels_out, 3, stride, padding=1),
            nn.ELU(),
            nn.BatchNorm2d(channels_out),
            nn.Conv2d(channels_out, channels_out, 3, padding=1),
            nn.ELU(),
        )
        self.shortcut = nn.Sequential(
            nn.Conv2d(channels_in, channels_out, 1, stride),
            nn.BatchNorm2d(channels_out),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[N, channels_in, H, W] to [N, channels_out, H / stride, W / stride]."""
        return self.main(x) + self.shortcut(x)


class Up(nn.Module):
    """Double the resolution, put the encoder's features beside it, and mix both in a block.

    Args:
        channels_in: Channels from below, kept by the transposed convolution.
        channels_skip: Channels of the encoder's output at this level; also of the result.
    """

    def __init__(self, channels_in: int, channels_skip: int) -> None:
        super().__init__()
        self.grow = nn.ConvTranspose2d(channels_in, channels_in, 2, stride=2)
        self.block = ResidualBlock(channels_in + channels_skip, channels_skip)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """[N, channels_in, H, W] and [N, channels_skip, 2H, 2W] to [N, channels_skip, 2H, 2W]."""
        return self.block(torch.cat((self.grow(x), skip), dim=1))


class ResidualUNet(nn.Module):
    """The whole network; the defaults are the published one.

    Args:
        widths: Channels per level; each level but the first halves the resolution.
        in_channels: Channels of the input.
    """

    def __init__(self, widths: tuple[int, ...] = WIDTHS, in_channels: int = IN_CHANNELS) -> None:
        super().__init__()
        pairs = list(zip(widths[:-1], widths[1:], strict=True))
        self.encoder = nn.ModuleList([ResidualBlock(in_channels, widths[0])])
        self.encoder.extend(ResidualBlock(upper, lower, stride=2) for upper, lower in pairs)
        self.decoder = nn.ModuleList(Up(lower, upper) for upper, lower in reversed(pairs))
        self.head = nn.Conv2d(widths[0], 1, 1)

    @property
    def divisor(self) -> int:
        """Height and width of the input must be multiples of this (16 for five levels)."""
        return 2 ** (len(self.encoder) - 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of abnormal skin.

        Args:
            x: float [N, 9, H, W], values 0..1; H and W multiples of :attr:`divisor`.

        Returns:
            float [N, 1, H, W], before the sigmoid.
        """
        features = []
        for block in self.encoder:
            x = block(x)
            features.append(x)
        features.pop()
        for up in self.decoder:
            x = up(x, features.pop())
        return self.head(x)
