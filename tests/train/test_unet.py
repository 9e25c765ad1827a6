"""The segmentation network is the published one, layer by layer."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs the extra [train]")

from models.unet.net import ResidualBlock, ResidualUNet  # noqa: E402 (after the skip)

pytestmark = pytest.mark.train

PUBLISHED_CONSTANTS = 607_225
"""Weights in the authors' model file (facts about their app's `unet_basic_withopt66.tflite`)."""


def _convolutions(net: torch.nn.Module) -> list[torch.nn.Module]:
    return [m for m in net.modules() if isinstance(m, (torch.nn.Conv2d, torch.nn.ConvTranspose2d))]


def test_size_is_that_of_the_published_file() -> None:
    net = ResidualUNet()
    blocks = [m for m in net.modules() if isinstance(m, ResidualBlock)]
    parameters = sum(p.numel() for p in net.parameters())
    # A folded normalisation changes its convolution's numbers but adds none.
    folded = sum(2 * block.shortcut[1].num_features for block in blocks)
    assert parameters == 607_961
    assert parameters - folded == PUBLISHED_CONSTANTS


def test_levels_have_the_published_sizes_and_channels() -> None:
    net = ResidualUNet().eval()
    sizes = []
    x = torch.zeros(1, 9, 304, 304)
    with torch.inference_mode():
        for block in net.encoder:
            x = block(x)
            sizes.append((x.shape[1], x.shape[2]))
    assert sizes == [(8, 304), (16, 152), (32, 76), (64, 38), (128, 19)]


def test_decoder_joins_what_the_paper_joins() -> None:
    joined = [
        (up.block.main[0].in_channels, up.block.main[0].out_channels)
        for up in ResidualUNet().decoder
    ]
    assert joined == [(192, 64), (96, 32), (48, 16), (24, 8)]


def test_transposed_convolutions_keep_their_channels() -> None:
    for up in ResidualUNet().decoder:
        grow = up.grow
        assert grow.in_channels == grow.out_channels
        assert (grow.kernel_size, grow.stride) == ((2, 2), (2, 2))


def test_block_is_convolution_elu_norm_convolution_elu() -> None:
    block = ResidualBlock(9, 16, stride=2)
    kinds = [type(layer).__name__ for layer in block.main]
    assert kinds == ["Conv2d", "ELU", "BatchNorm2d", "Conv2d", "ELU"]
    assert [type(layer).__name__ for layer in block.shortcut] == ["Conv2d", "BatchNorm2d"]
    assert block.main[0].stride == block.shortcut[0].stride == (2, 2)
    assert block.main[3].stride == (1, 1)
    assert block.shortcut[0].kernel_size == (1, 1)


def test_only_strided_convolutions_shrink() -> None:
    kinds = {type(m).__name__ for m in ResidualUNet().modules()}
    assert not any("Pool" in kind or "Drop" in kind for kind in kinds)
    strided = [m for m in _convolutions(ResidualUNet().encoder) if m.stride == (2, 2)]
    assert len(strided) == 2 * 4


@pytest.mark.parametrize("size", [64, 304])
def test_output_is_one_map_of_logits(size: int) -> None:
    net = ResidualUNet().eval()
    assert size % net.divisor == 0
    with torch.inference_mode():
        assert net(torch.rand(2, 9, size, size)).shape == (2, 1, size, size)
