"""Makes the tiny networks in tests/models/data: ``python tests/train/make_tiny.py``.

Each is an ONNX file with the same kinds of layers as the released one, at a fraction of the width,
and an ``.npz`` with an input and what torch computed for it. The weights are drawn by numpy, so
that every version of torch makes the same networks.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[2]))

from models.efficientnet.net import EfficientNet, Stage
from models.export import to_onnx
from models.unet.net import ResidualUNet

DATA = Path(__file__).parents[1] / "models" / "data"


def tiny_unet() -> tuple[nn.Module, np.ndarray]:
    """Three levels of 4, 6 and 8 channels, and two inputs of 9x32x32."""
    example = np.random.default_rng(1).random((2, 9, 32, 32), np.float32)
    return with_drawn_weights(ResidualUNet((4, 6, 8)), 11), example


def tiny_efficientnet() -> tuple[nn.Module, np.ndarray]:
    """Three stages that hold every kind of block, six classes, two inputs of 3x32x32."""
    stages = (Stage(1, 3, 1, 4, 1), Stage(4, 5, 2, 6, 2), Stage(4, 3, 2, 8, 1))
    example = np.random.default_rng(2).normal(size=(2, 3, 32, 32)).astype(np.float32)
    return with_drawn_weights(EfficientNet(6, stages=stages, stem=8, top=24), 12), example


TINY: dict[str, Callable[[], tuple[nn.Module, np.ndarray]]] = {
    "tiny_unet": tiny_unet,
    "tiny_efficientnet": tiny_efficientnet,
}


def with_drawn_weights(net: nn.Module, seed: int) -> nn.Module:
    """Fill weights and normalisation statistics, in the order of their names."""
    rng = np.random.default_rng(seed)
    state = net.state_dict()
    for name in sorted(state):
        shape = tuple(state[name].shape)
        if name.endswith("num_batches_tracked"):
            continue
        if name.endswith("running_var"):
            values = rng.uniform(0.5, 1.5, shape)
        elif len(shape) > 1:
            values = rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))
        else:
            values = rng.normal(0.0, 0.2, shape) + (1.0 if "weight" in name else 0.0)
        state[name] = torch.from_numpy(np.asarray(values, np.float32))
    net.load_state_dict(state)
    return net.eval()


def logits(net: nn.Module, example: np.ndarray) -> np.ndarray:
    """What torch computes."""
    with torch.inference_mode():
        return net(torch.from_numpy(example)).numpy()


def main() -> None:
    """Write the four files."""
    DATA.mkdir(parents=True, exist_ok=True)
    for name, make in TINY.items():
        net, example = make()
        (DATA / f"{name}.onnx").write_bytes(to_onnx(net, example))
        np.savez(DATA / f"{name}.npz", image=example, logits=logits(net, example))


if __name__ == "__main__":
    main()
