"""The paper's residual U-Net as an ONNX graph with seeded random weights, for timing only.

The structure is that of the authors' published graph: five levels of 8, 16, 32, 64 and 128
channels, residual blocks (conv3x3 -> ELU -> BN -> conv3x3 -> ELU, plus a 1x1 shortcut whose BN is
folded), down by strided convolution, up by a transposed 2x2 convolution, one sigmoid channel. What
a network costs does not depend on what it has learnt, so nothing needs to be trained or
downloaded to time it. Needs numpy and onnx; no torch.

    python -m benchmarks.paper_unet out/paper-unet.onnx
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

LEVELS = (8, 16, 32, 64, 128)
INPUT_CHANNELS = 9  # RGB, hemoglobin and melanin, three channels each
SIDE_PX = 304
BATCH_NORM_EPSILON = 1e-3


@dataclass
class _GraphWriter:
    """Collects nodes and weights while the network is written down from input to output."""

    rng: np.random.Generator
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[onnx.TensorProto] = field(default_factory=list)

    def node(self, op: str, inputs: list[str], **attributes: object) -> str:
        output = f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def weight(self, value: np.ndarray) -> str:
        name = f"w_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(value.astype(np.float32), name))
        return name

    def conv(self, x: str, channels: tuple[int, int], kernel: int, stride: int = 1) -> str:
        """From `channels[0]` to `channels[1]` channels, padded by `kernel // 2`."""
        source, target = channels
        spread = np.sqrt(1.5 / (source * kernel * kernel))
        weight = self.rng.normal(0, spread, (target, source, kernel, kernel))
        bias = self.rng.normal(0, 0.05, target)
        return self.node(
            "Conv",
            [x, self.weight(weight), self.weight(bias)],
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[kernel // 2] * 4,
        )

    def batch_norm(self, x: str, channels: int) -> str:
        scale, bias = self.rng.uniform(0.8, 1.2, channels), self.rng.normal(0, 0.1, channels)
        mean, variance = self.rng.normal(0, 0.2, channels), self.rng.uniform(0.5, 1.5, channels)
        inputs = [x, *(self.weight(value) for value in (scale, bias, mean, variance))]
        return self.node("BatchNormalization", inputs, epsilon=BATCH_NORM_EPSILON)

    def block(self, x: str, channels: tuple[int, int], stride: int = 1) -> str:
        """conv3x3 -> ELU -> BN -> conv3x3 -> ELU, plus the 1x1 shortcut."""
        target = channels[1]
        deep = self.node("Elu", [self.conv(x, channels, 3, stride)], alpha=1.0)
        deep = self.conv(self.batch_norm(deep, target), (target, target), 3)
        deep = self.node("Elu", [deep], alpha=1.0)
        return self.node("Add", [deep, self.conv(x, channels, 1, stride)])

    def up(self, x: str, skip: str, channels: int) -> str:
        """Doubles height and width, channels kept, then appends the encoder's output."""
        weight = self.rng.normal(0, np.sqrt(1 / channels), (channels, channels, 2, 2))
        bias = self.rng.normal(0, 0.05, channels)
        inputs = [x, self.weight(weight), self.weight(bias)]
        doubled = self.node("ConvTranspose", inputs, kernel_shape=[2, 2], strides=[2, 2])
        return self.node("Concat", [doubled, skip], axis=1)


def paper_unet(seed: int = 0, side_px: int = SIDE_PX) -> onnx.ModelProto:
    """The network as ONNX: `planes` float32 [N,9,side,side] -> `probability` [N,1,side,side]."""
    writer = _GraphWriter(np.random.default_rng(seed))
    x = writer.block("planes", (INPUT_CHANNELS, LEVELS[0]))
    skips = []
    for source, target in zip(LEVELS, LEVELS[1:], strict=False):
        skips.append(x)
        x = writer.block(x, (source, target), stride=2)
    for source, target in zip(LEVELS[:0:-1], LEVELS[-2::-1], strict=True):
        x = writer.up(x, skips.pop(), source)
        x = writer.block(x, (source + target, target))
    head = writer.conv(x, (LEVELS[0], 1), 1)
    writer.nodes.append(helper.make_node("Sigmoid", [head], ["probability"], name="probability"))

    def image(name: str, channels: int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(
            name, TensorProto.FLOAT, ["batch", channels, side_px, side_px]
        )

    graph = helper.make_graph(
        writer.nodes,
        "paper_unet",
        [image("planes", INPUT_CHANNELS)],
        [image("probability", 1)],
        writer.weights,
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="dermedge"
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit("expected one argument, the ONNX file to write")
    path = Path(sys.argv[1])
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(paper_unet(), path)


if __name__ == "__main__":
    main()
