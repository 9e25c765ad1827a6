"""Rewrites of a prepared graph that make it cheaper on a CPU; the numbers stay within rounding.

They aim at what ONNX Runtime's CPU kernels are slow at in the paper's U-Net, and the second also
helps OpenVINO. `docs/decisions/2026-11-23-cpu-engine.md` holds what each of them gains.

1. `Elu` is ``max(x, exp(min(x, 0)) - 1)``: ONNX Runtime vectorises these four, but not its Elu.
2. A transposed 2x2 convolution whose result is put beside a skip connection and convolved again
   is one linear map: the two kernels are multiplied out into one transposed convolution, the
   skip's share becomes a convolution of its own, and the Concat goes away. The U-Net needs 1.14
   instead of 1.47 thousand million multiplications then.
3. A 3x3 and a 1x1 convolution of one tensor (a residual block and its shortcut) with at most eight
   channels each become one 3x3 convolution: the blocked layout computes 16 channels anyway.
4. A 1x1 convolution to a few channels is a matrix product, for the same reason.

Not for TensorRT, which fuses the original better.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

BLOCK_CHANNELS = 16
"""Channels in one block of ONNX Runtime's NCHWc layout with AVX-512 (8 with AVX2)."""

_MIN_PLANE_PX = 1024  # below this a 1x1 convolution costs nothing anyway
_ADDED = "cpu/"

Weights = NDArray[np.float32]


def optimized_for_cpu(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of the graph, rewritten where the patterns above occur and equal elsewhere.

    Args:
        model: A graph with static height and width; weights are float32 initializers.

    Returns:
        Same inputs and outputs; outputs within 1e-4 (the sums are added up in another order).
    """
    optimized = onnx.ModelProto()
    optimized.CopyFrom(model)
    for rewrite in (_compose_upsampling, _merge_shortcuts, _multiply_heads, _split_elu):
        rewrite(_Graph(optimized))
    return optimized


class _Graph:
    """One graph while one rewrite walks through it.

    Attributes:
        nodes: As they stand, in running order.
        weights: Float32 initializers by name.
        shapes: Shape of every tensor that shape inference knows; a dynamic axis is 0.
        readers: Nodes that read a tensor.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self._proto = model.graph
        self.nodes = list(model.graph.node)
        self.weights: dict[str, Weights] = {
            tensor.name: numpy_helper.to_array(tensor)
            for tensor in model.graph.initializer
            if tensor.data_type == onnx.TensorProto.FLOAT
        }
        inferred = onnx.shape_inference.infer_shapes(model).graph
        self.shapes = {
            value.name: [axis.dim_value for axis in value.type.tensor_type.shape.dim]
            for value in (*inferred.value_info, *inferred.input, *inferred.output)
        }
        self.readers: dict[str, list[onnx.NodeProto]] = {}
        for node in self.nodes:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)
        # What the graph gives out is read by its caller too.
        self.outputs = {value.name for value in model.graph.output}

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """Store an initializer and return its name."""
        name = _ADDED + name
        self._proto.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def replace(self, replacements: dict[int, list[onnx.NodeProto]]) -> None:
        """Put new nodes in the place of old ones, given by `id`, and forget unused weights."""
        kept = [new for old in self.nodes for new in replacements.get(id(old), [old])]
        used = {name for node in kept for name in node.input}
        weights = [tensor for tensor in self._proto.initializer if tensor.name in used]
        del self._proto.node[:], self._proto.initializer[:]
        self._proto.node.extend(kept)
        self._proto.initializer.extend(weights)

    def plain_convolutions(self) -> Iterator[tuple[onnx.NodeProto, Weights, Weights]]:
        """Every Conv with constant weights, no groups and no dilation: node, weights, bias."""
        for node in self.nodes:
            found = self.plain_convolution(node)
            if found is not None:
                yield node, *found

    def plain_convolution(
        self, node: onnx.NodeProto, op: str = "Conv"
    ) -> tuple[Weights, Weights] | None:
        """Weights and bias of such a convolution, or ``None`` if it is another node."""
        if node.op_type != op or node.domain not in ("", "ai.onnx"):
            return None
        weights = self.weights.get(node.input[1])
        if weights is None or weights.ndim != 4 or weights.shape[2] != weights.shape[3]:
            return None
        plain = {"auto_pad": b"NOTSET", "group": 1, "dilations": [1, 1], "output_padding": [0, 0]}
        found = _attributes(node)
        if any(found.get(name, value) != value for name, value in plain.items()):
            return None
        if "output_shape" in found:
            return None
        if len(node.input) < 3:
            return weights, np.zeros(weights.shape[0 if op == "Conv" else 1], np.float32)
        bias = self.weights.get(node.input[2])
        return None if bias is None else (weights, bias)


def _split_elu(graph: _Graph) -> None:
    zero = one = ""
    replacements = {}
    for index, node in enumerate(graph.nodes):
        if node.op_type != "Elu" or _attributes(node).get("alpha", 1.0) != 1.0:
            continue
        if not zero:
            zero = graph.constant("zero", np.array(0, np.float32))
            one = graph.constant("one", np.array(1, np.float32))
        x, stem = node.input[0], f"elu_{index}"
        negative = _node("Clip", [x, "", zero], f"{stem}/negative")
        power = _node("Exp", [negative.output[0]], f"{stem}/power")
        shifted = _node("Sub", [power.output[0], one], f"{stem}/shifted")
        whole = _node("Max", [x, shifted.output[0]], stem, output=node.output[0])
        replacements[id(node)] = [negative, power, shifted, whole]
    graph.replace(replacements)


def _merge_shortcuts(graph: _Graph) -> None:
    replacements: dict[int, list[onnx.NodeProto]] = {}
    wide = {n.input[0]: (n, w, b) for n, w, b in graph.plain_convolutions() if _same_size(n, w, 3)}
    for index, (narrow, weights, bias) in enumerate(graph.plain_convolutions()):
        if not _same_size(narrow, weights, 1) or narrow.input[0] not in wide:
            continue
        node, kernel, kernel_bias = wide[narrow.input[0]]
        counts = [len(kernel), len(weights)]
        if id(node) in replacements or max(counts) > BLOCK_CHANNELS // 2:
            continue
        merged = np.zeros((sum(counts), *kernel.shape[1:]), np.float32)
        merged[: counts[0]], merged[counts[0] :, :, 1, 1] = kernel, weights[:, :, 0, 0]
        stem = f"block_{index}"
        both = _convolution(
            graph, node.input[0], merged, np.concatenate([kernel_bias, bias]), f"{stem}/both"
        )
        split = helper.make_node(
            "Split",
            [both.output[0], graph.constant(f"{stem}/counts", np.array(counts, np.int64))],
            [node.output[0], narrow.output[0]],
            name=f"{_ADDED}{stem}/split",
            axis=1,
        )
        # Both inputs exist where the first of the two stood.
        first, second = sorted((node, narrow), key=lambda n: graph.nodes.index(n))
        replacements[id(first)], replacements[id(second)] = [both, split], []
    graph.replace(replacements)


def _multiply_heads(graph: _Graph) -> None:
    replacements = {}
    for index, (node, weights, bias) in enumerate(graph.plain_convolutions()):
        shape = graph.shapes.get(node.output[0], [])
        if not _same_size(node, weights, 1) or len(shape) != 4 or 0 in shape[1:]:
            continue
        channels, height, width = shape[1:]
        if channels > BLOCK_CHANNELS // 4 or height * width < _MIN_PLANE_PX:
            continue
        stem = f"head_{index}"
        flat = graph.constant(f"{stem}/flat", np.array([0, weights.shape[1], -1], np.int64))
        whole = graph.constant(f"{stem}/whole", np.array([0, channels, height, width], np.int64))
        matrix = graph.constant(f"{stem}/matrix", weights[:, :, 0, 0])
        offset = graph.constant(f"{stem}/bias", bias.reshape(-1, 1))
        columns = _node("Reshape", [node.input[0], flat], f"{stem}/columns")
        product = _node("MatMul", [matrix, columns.output[0]], f"{stem}/product")
        shifted = _node("Add", [product.output[0], offset], f"{stem}/shifted")
        plane = _node("Reshape", [shifted.output[0], whole], stem, output=node.output[0])
        replacements[id(node)] = [columns, product, shifted, plane]
    graph.replace(replacements)


def _compose_upsampling(graph: _Graph) -> None:
    replacements: dict[int, list[onnx.NodeProto]] = {}
    for index, node in enumerate(graph.nodes):
        grow = graph.plain_convolution(node, "ConvTranspose")
        if grow is None or not _doubles(node, grow[0]):
            continue
        concat = _only_concat(graph, node.output[0])
        if concat is None:
            continue
        found = [(n, graph.plain_convolution(n)) for n in graph.readers.get(concat.output[0], [])]
        convolutions = [(n, *f) for n, f in found if f is not None]
        usable = [_same_size(n, w, 1) or _same_size(n, w, 3) for n, w, _ in convolutions]
        if len(convolutions) < len(found) or not all(usable):
            continue
        if not _saves_work(grow[0], [weights for _, weights, _ in convolutions]):
            continue
        for number, (reader, weights, bias) in enumerate(convolutions):
            stem = f"up_{index}_{number}"
            replacements[id(reader)] = _composed(graph, node, concat, reader, weights, bias, stem)
        replacements[id(node)] = replacements[id(concat)] = []
    graph.replace(replacements)


def _only_concat(graph: _Graph, tensor: str) -> onnx.NodeProto | None:
    """The Concat of two tensors along the channels that alone reads a tensor."""
    readers = graph.readers.get(tensor, [])
    if tensor in graph.outputs or len(readers) != 1 or readers[0].op_type != "Concat":
        return None
    concat = readers[0]
    known = len(graph.shapes.get(concat.output[0], [])) == 4
    if not known or 0 in graph.shapes[concat.output[0]][1:] or concat.output[0] in graph.outputs:
        return None
    return concat if len(concat.input) == 2 and _attributes(concat)["axis"] in (1, -3) else None


def _saves_work(grow: Weights, kernels: list[Weights]) -> bool:
    """Whether fewer multiplications are left, counted per pixel before upsampling."""
    source, middle = grow.shape[:2]
    before = 4 * source * middle + sum(4 * middle * len(k) * k.shape[2] ** 2 for k in kernels)
    after = sum(source * len(k) * (k.shape[2] + 1) ** 2 for k in kernels)
    return after < before


def _composed(
    graph: _Graph,
    grow: onnx.NodeProto,
    concat: onnx.NodeProto,
    reader: onnx.NodeProto,
    weights: Weights,
    bias: Weights,
    stem: str,
) -> list[onnx.NodeProto]:
    """``conv(concat(grow(x), skip))`` as ``grown(x) + conv(skip)``."""
    found = graph.plain_convolution(grow, "ConvTranspose")
    assert found is not None  # the caller has asked before
    kernel, kernel_bias = found
    first = concat.input[0] == grow.output[0]
    skip = concat.input[1 if first else 0]
    cut = kernel.shape[1] if first else weights.shape[1] - kernel.shape[1]
    halves = weights[:, :cut], weights[:, cut:]
    grown_part, skip_part = halves if first else halves[::-1]
    height, width = graph.shapes[concat.output[0]][2:]
    pad = weights.shape[2] // 2
    grown = _node(
        "ConvTranspose",
        [grow.input[0], graph.constant(f"{stem}/kernel", composed_kernel(kernel, grown_part))],
        f"{stem}/grown",
        kernel_shape=[weights.shape[2] + 1] * 2,
        strides=[2, 2],
        pads=[pad] * 4,
    )
    # The bias of the transposed convolution reaches fewer taps at the border, where the second
    # convolution sees padding: it becomes a map unless it is the same everywhere.
    offset = bias_map(grown_part, kernel_bias, (height, width))
    nodes, total = [grown], grown.output[0]
    if pad == 0 or not kernel_bias.any():
        bias = bias + offset[:, 0, 0]
    else:
        shifted = _node(
            "Add", [total, graph.constant(f"{stem}/offset", offset[np.newaxis])], f"{stem}/shifted"
        )
        nodes.append(shifted)
        total = shifted.output[0]
    skipped = _convolution(graph, skip, skip_part, bias, f"{stem}/skip")
    whole = _node("Add", [skipped.output[0], total], stem, output=reader.output[0])
    return [*nodes, skipped, whole]


def composed_kernel(grow: Weights, kernel: Weights) -> Weights:
    """The kernel of ``conv(grow(x))`` as one transposed convolution of stride 2.

    A transposed convolution puts ``grow[c, m, a, b] x[c, i, j]`` at ``(2i + a, 2j + b)``; the
    convolution with padding ``p = k // 2`` carries it on to ``(2i + a - r + p, 2j + b - s + p)``.

    Args:
        grow: Of the transposed convolution, float32 [source, middle, 2, 2].
        kernel: Of the convolution, float32 [target, middle, k, k].

    Returns:
        Float32 [source, target, k + 1, k + 1], to be used with padding ``k // 2``.
    """
    size = kernel.shape[2]
    composed = np.zeros((grow.shape[0], kernel.shape[0], size + 1, size + 1))
    for a, b in np.ndindex(2, 2):
        for r, s in np.ndindex(size, size):
            taps = grow[:, :, a, b].astype(np.float64) @ kernel[:, :, r, s].astype(np.float64).T
            composed[:, :, a - r + size - 1, b - s + size - 1] += taps
    return composed.astype(np.float32)


def bias_map(kernel: Weights, bias: Weights, size_hw: tuple[int, int]) -> Weights:
    """What a convolution with padding ``k // 2`` makes of a picture that is ``bias`` everywhere.

    Args:
        kernel: Float32 [target, middle, k, k].
        bias: Float32 [middle].
        size_hw: Height and width of the picture.

    Returns:
        Float32 [target, height, width].
    """
    size, (height, width) = kernel.shape[2], size_hw
    pad = size // 2
    inside = np.pad(np.ones(size_hw), pad)
    total = np.zeros((len(kernel), height, width))
    for r, s in np.ndindex(size, size):
        share = kernel[:, :, r, s].astype(np.float64) @ bias.astype(np.float64)
        total += share[:, np.newaxis, np.newaxis] * inside[r : r + height, s : s + width]
    return total.astype(np.float32)


def _same_size(node: onnx.NodeProto, weights: Weights, kernel: int) -> bool:
    """Whether a convolution has this kernel, keeps height and width, and pads with zeros."""
    found = _attributes(node)
    return (
        weights.shape[2] == kernel
        and found.get("strides", [1, 1]) == [1, 1]
        and found.get("pads", [0] * 4) == [kernel // 2] * 4
    )


def _doubles(node: onnx.NodeProto, weights: Weights) -> bool:
    found = _attributes(node)
    return (
        weights.shape[2] == 2
        and found.get("strides", [1, 1]) == [2, 2]
        and found.get("pads", [0] * 4) == [0] * 4
    )


def _convolution(
    graph: _Graph, x: str, weights: Weights, bias: Weights, stem: str
) -> onnx.NodeProto:
    kernel = graph.constant(f"{stem}/kernel", weights)
    offset = graph.constant(f"{stem}/bias", bias.astype(np.float32))
    side = weights.shape[2]
    return _node("Conv", [x, kernel, offset], stem, kernel_shape=[side, side], pads=[side // 2] * 4)


def _node(
    op: str, inputs: list[str], stem: str, *, output: str | None = None, **attributes: Any
) -> onnx.NodeProto:
    name = _ADDED + stem
    return helper.make_node(op, inputs, [output or name], name=name, **attributes)


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
