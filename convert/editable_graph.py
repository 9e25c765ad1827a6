"""A graph while one rewrite walks through it: who makes what, who reads it, of which shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

ADDED_PREFIX = "cpu/"
"""Everything that a rewrite for CPUs adds to a graph has a name that begins so."""

Weights = NDArray[np.float32]


@dataclass(frozen=True)
class Convolution:
    """A Conv or ConvTranspose with constant float32 weights, square, no groups, no dilation.

    Attributes:
        node: As it stands in the graph.
        kernel: Conv: [target, source, k, k]; ConvTranspose: [source, target, k, k].
        bias: [target]; zeros where the node has none.
    """

    node: onnx.NodeProto
    kernel: Weights
    bias: Weights

    @property
    def side(self) -> int:
        """Width and height of the kernel."""
        return int(self.kernel.shape[2])

    def has(self, *, side: int, stride: int, pad: int) -> bool:
        """Whether kernel, stride and padding on every side are these."""
        found = attributes(self.node)
        strides, pads = found.get("strides", [1, 1]), found.get("pads", [0] * 4)
        return self.side == side and strides == [stride] * 2 and pads == [pad] * 4

    def keeps_size(self, side: int) -> bool:
        """Whether the kernel is this, and the output as high and wide as the input."""
        return self.has(side=side, stride=1, pad=side // 2)


class EditableGraph:
    """The view and the changes of one rewrite; make a new one for the next rewrite.

    Attributes:
        nodes: As they stand, in running order.
        readers: Nodes that read a tensor.
        outputs: Names of the graph's outputs: their readers are outside.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self._proto = model.graph
        self.nodes = list(model.graph.node)
        self.outputs = {value.name for value in model.graph.output}
        self.readers: dict[str, list[onnx.NodeProto]] = {}
        for node in self.nodes:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)
        self._weights: dict[str, Weights] = {
            tensor.name: numpy_helper.to_array(tensor)
            for tensor in model.graph.initializer
            if tensor.data_type == TensorProto.FLOAT
        }
        inferred = onnx.shape_inference.infer_shapes(model).graph
        self._types = {
            value.name: value.type.tensor_type
            for value in (*inferred.value_info, *inferred.input, *inferred.output)
        }

    def is_float(self, tensor: str) -> bool:
        """Whether a tensor is known to be float32."""
        return tensor in self._types and self._types[tensor].elem_type == TensorProto.FLOAT

    def plane(self, tensor: str) -> tuple[int, int, int] | None:
        """Channels, height and width of an [N,C,H,W] tensor, if all three are known."""
        if tensor not in self._types:
            return None
        sizes = [axis.dim_value for axis in self._types[tensor].shape.dim]
        if len(sizes) != 4 or not all(sizes[1:]):
            return None
        return sizes[1], sizes[2], sizes[3]

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """Store an initializer and return its name."""
        name = ADDED_PREFIX + name
        value = np.ascontiguousarray(value) if value.ndim else value
        self._proto.initializer.append(numpy_helper.from_array(value, name))
        return name

    def replace(self, replacements: dict[int, list[onnx.NodeProto]]) -> None:
        """Put new nodes in the place of old ones, given by ``id``; forget unused weights."""
        kept = [new for old in self.nodes for new in replacements.get(id(old), [old])]
        used = {name for node in kept for name in node.input} | self.outputs
        weights = [tensor for tensor in self._proto.initializer if tensor.name in used]
        # Shapes of tensors that no longer exist would be believed by whoever reads the file.
        del self._proto.node[:], self._proto.initializer[:], self._proto.value_info[:]
        self._proto.node.extend(kept)
        self._proto.initializer.extend(weights)

    def convolution(self, node: onnx.NodeProto, op: str = "Conv") -> Convolution | None:
        """The node as a :class:`Convolution`, or ``None`` if it is another kind of node."""
        if node.op_type != op or node.domain not in ("", "ai.onnx"):
            return None
        kernel = self._weights.get(node.input[1])
        if kernel is None or kernel.ndim != 4 or kernel.shape[2] != kernel.shape[3]:
            return None
        found = attributes(node)
        plain = {"auto_pad": b"NOTSET", "group": 1, "dilations": [1, 1], "output_padding": [0, 0]}
        if "output_shape" in found or any(found.get(k, v) != v for k, v in plain.items()):
            return None
        if len(node.input) < 3:
            bias = np.zeros(kernel.shape[0 if op == "Conv" else 1], np.float32)
            return Convolution(node, kernel, bias)
        stored = self._weights.get(node.input[2])
        return None if stored is None else Convolution(node, kernel, stored)

    def new_convolution(
        self, x: str, kernel: Weights, bias: Weights, name: str, output: str | None = None
    ) -> onnx.NodeProto:
        """A Conv that keeps height and width."""
        side = kernel.shape[2]
        inputs = [x, self.constant(f"{name}/kernel", kernel), self.constant(f"{name}/bias", bias)]
        return new_node("Conv", inputs, name, output, kernel_shape=[side] * 2, pads=[side // 2] * 4)


def new_node(
    op: str, inputs: list[str], name: str, output: str | None = None, **keys: Any
) -> onnx.NodeProto:
    """A node of the standard domain with one output, named like the node where not given."""
    name = ADDED_PREFIX + name
    return helper.make_node(op, inputs, [output or name], name=name, **keys)


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """A node's attributes as Python values."""
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
