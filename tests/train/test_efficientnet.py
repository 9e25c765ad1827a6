"""The classification network is EfficientNet-B0 as published."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs the extra [train]")

from models.efficientnet.net import EfficientNet, MBConv, SqueezeExcitation  # noqa: E402

pytestmark = pytest.mark.train


def test_size_is_the_published_one() -> None:
    """5,288,548 weights with 1000 classes: table 2 of the paper says 5.3 million."""
    assert sum(p.numel() for p in EfficientNet(1000).parameters()) == 5_288_548


def test_stages_shrink_and_widen_as_in_table_1() -> None:
    net = EfficientNet(6).eval()
    seen = []
    with torch.inference_mode():
        x = net.stem(torch.zeros(1, 3, 224, 224))
        for block in net.blocks:
            x = block(x)
            seen.append((x.shape[1], x.shape[2]))
    # (channels, side) after each stage's last block
    ends = [0, 2, 4, 7, 10, 14, 15]
    assert [seen[i] for i in ends] == [
        (16, 112), (24, 56), (40, 28), (80, 14), (112, 14), (192, 7), (320, 7),
    ]  # fmt: skip


def test_gates_are_a_quarter_of_the_blocks_input() -> None:
    net = EfficientNet(6)
    block = net.blocks[1]
    gates = [m for m in block.modules() if isinstance(m, SqueezeExcitation)]
    assert [gate.gate[1].out_channels for gate in gates] == [16 // 4]


def test_stochastic_depth_grows_with_depth_and_rests_at_work() -> None:
    torch.manual_seed(1)
    net = EfficientNet(6)
    rates = [block.drop_rate for block in net.blocks if isinstance(block, MBConv)]
    assert rates == sorted(rates) and rates[0] == 0.0 and 0.18 < rates[-1] < 0.2
    x = torch.rand(1, 3, 64, 64)
    net.eval()
    with torch.inference_mode():
        assert torch.equal(net(x), net(x))
