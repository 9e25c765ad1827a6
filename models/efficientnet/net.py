"""EfficientNet-B0 after Tan and Le, ICML 2019 (arXiv 1905.11946), table 1.

RGB in, logits per class out. The authors of the method name an EfficientNet and feed it 224x224
pixels, the native size of B0. Built from inverted residual blocks (MobileNetV2, arXiv 1801.04381)
with squeeze-and-excitation (arXiv 1709.01507), SiLU, and stochastic depth while training
(arXiv 1603.09382), its rate growing linearly with depth.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Stage:
    """One row of table 1: ``repeats`` blocks, the first of which has ``stride``."""

    expansion: int
    kernel: int
    stride: int
    channels: int
    repeats: int


B0_STAGES = (
    Stage(1, 3, 1, 16, 1),
    Stage(6, 3, 2, 24, 2),
    Stage(6, 5, 2, 40, 2),
    Stage(6, 3, 2, 80, 3),
    Stage(6, 5, 1, 112, 3),
    Stage(6, 5, 2, 192, 4),
    Stage(6, 3, 1, 320, 1),
)

NORM_EPSILON = 1e-3
"""Batch normalisation's epsilon in the published implementation."""


def _conv_norm(
    channels_in: int, channels_out: int, kernel: int, stride: int = 1, groups: int = 1
) -> list[nn.Module]:
    return [
        nn.Conv2d(
            channels_in, channels_out, kernel, stride, kernel // 2, groups=groups, bias=False
        ),
        nn.BatchNorm2d(channels_out, eps=NORM_EPSILON),
    ]


class SqueezeExcitation(nn.Module):
    """Scale each channel by a gate computed from the means of all channels.

    Args:
        channels: Channels of the input and output.
        squeezed: Channels of the layer between.
    """

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, squeezed, 1),
            nn.SiLU(),
            nn.Conv2d(squeezed, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to the same shape."""
        return x * self.gate(x)


class MBConv(nn.Module):
    """Inverted residual block: widen 1x1, depthwise kxk, squeeze-excite, narrow 1x1, add.

    Args:
        channels_in: Channels of the input; a quarter of them, at least one, are the gate's width.
        stage: Row of table 1.
        stride: Stride of the depthwise convolution.
        drop_rate: Probability that training skips the block for a sample.
    """

    def __init__(self, channels_in: int, stage: Stage, stride: int, drop_rate: float) -> None:
        super().__init__()
        wide = channels_in * stage.expansion
        layers: list[nn.Module] = []
        if stage.expansion != 1:
            layers += [*_conv_norm(channels_in, wide, 1), nn.SiLU()]
        layers += [*_conv_norm(wide, wide, stage.kernel, stride, groups=wide), nn.SiLU()]
        layers += [SqueezeExcitation(wide, max(1, channels_in // 4))]
        layers += _conv_norm(wide, stage.channels, 1)
        self.main = nn.Sequential(*layers)
        self.adds_input = stride == 1 and channels_in == stage.channels
        self.drop_rate = drop_rate

    def forward(self, x: Tensor) -> Tensor:
        """[N, channels_in, H, W] to [N, channels, H / stride, W / stride]."""
        y = self.main(x)
        if not self.adds_input:
            return y
        if self.training and self.drop_rate > 0.0:
            keep = 1.0 - self.drop_rate
            kept = torch.rand(len(y), 1, 1, 1, device=y.device) < keep
            y = y * (kept.to(y.dtype) / keep)
        return x + y


class EfficientNet(nn.Module):
    """The whole network; the defaults are B0, to be fed 224x224 pixels.

    Args:
        classes: Number of logits.
        stages: Rows of table 1.
        stem: Channels after the first convolution.
        top: Channels before the classifier.
        dropout: Rate before the classifier (0.2 for B0).
        drop_depth: Stochastic depth's rate at the last block (0.2 as published).
    """

    def __init__(
        self,
        classes: int,
        *,
        stages: tuple[Stage, ...] = B0_STAGES,
        stem: int = 32,
        top: int = 1280,
        dropout: float = 0.2,
        drop_depth: float = 0.2,
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(*_conv_norm(3, stem, 3, stride=2), nn.SiLU())
        total = sum(stage.repeats for stage in stages)
        blocks: list[nn.Module] = []
        channels = stem
        for stage in stages:
            for repeat in range(stage.repeats):
                rate = drop_depth * len(blocks) / total
                blocks.append(MBConv(channels, stage, stage.stride if repeat == 0 else 1, rate))
                channels = stage.channels
        self.blocks = nn.Sequential(*blocks)
        self.top = nn.Sequential(*_conv_norm(channels, top, 1), nn.SiLU())
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(top, classes)
        self._initialise()

    def _initialise(self) -> None:
        """Fan-out initialisation of convolutions, as in the published implementation."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                kernel = module.kernel_size[0] * module.kernel_size[1]
                fan_out = kernel * module.out_channels // module.groups
                nn.init.normal_(module.weight, std=(2.0 / fan_out) ** 0.5)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(self.classifier.weight, std=0.01)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Logits per class.

        Args:
            x: float [N, 3, H, W], normalised as the manifest says.

        Returns:
            float [N, classes], before the softmax.
        """
        x = self.top(self.blocks(self.stem(x)))
        return self.classifier(self.dropout(self.pool(x).flatten(1)))
