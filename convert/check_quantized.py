"""Quantized graphs: is every QuantizeLinear and DequantizeLinear one that TensorRT takes?

What it takes is symmetric INT8 around FP16 compute: zero points of 0, constant positive scales,
one scale per tensor or, for weights, one per output channel, and plain biases.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
import onnx

from convert.examined_graph import ExaminedGraph, attribute, called
from convert.finding import Finding, error
from convert.targets import Target

_SYMMETRIC = "quantize symmetrically to INT8, with a zero point of 0"

# The last input of these is a bias, the one before it the weights.
_WITH_BIAS = ("Conv", "ConvTranspose", "Gemm")
_WITH_WEIGHTS = (*_WITH_BIAS, "MatMul")

# They compute nothing, so what lies behind them is what a DequantizeLinear feeds.
_MOVING = frozenset(
    {
        "Cast", "Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "Identity", "Reshape",
        "Slice", "SpaceToDepth", "Split", "Squeeze", "Transpose", "Unsqueeze",
    }
)  # fmt: skip


def check_quantized(
    graph: ExaminedGraph, target: Target, exclude: Collection[str]
) -> Iterator[Finding]:
    """Findings about the quantizing nodes of a graph, those of subgraphs included.

    Args:
        graph: Any graph; one without such nodes has no findings.
        target: What is to read it.
        exclude: Names of the nodes that may compute in FP32 behind a DequantizeLinear.
    """
    for node in graph.proto.node:
        if node.op_type == "QuantizeLinear":
            yield from _check_quantize(node, graph)
        elif node.op_type == "DequantizeLinear":
            yield from _check_dequantize(node, graph, target)
            yield from _check_fp32_readers(node, graph, exclude)
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            yield from _check_scale(node, graph)
            yield from _check_zero_point(node, graph)
        elif node.op_type in _WITH_WEIGHTS:
            yield from _check_bias(node, graph)
            yield from _check_weight_axis(node, graph)
        for inner in graph.inner(node):
            yield from check_quantized(inner, target, exclude)


# --- the two operators --------------------------------------------------------------------------


def _check_quantize(node: onnx.NodeProto, graph: ExaminedGraph) -> Iterator[Finding]:
    element = graph.tensor(node.output[0]).element
    if element not in ("INT8", ""):
        # ONNX quantizes to UINT8 where a zero point says nothing else.
        way_out = _SYMMETRIC if len(node.input) > 2 else f"{_SYMMETRIC} of type INT8"
        yield error(called(node), f"QuantizeLinear to {element}", way_out)
    if len(_channels(node, graph)) > 1 and not graph.is_constant(node.input[0]):
        yield _per_channel_activation(node)


def _check_dequantize(
    node: onnx.NodeProto, graph: ExaminedGraph, target: Target
) -> Iterator[Finding]:
    element = graph.tensor(node.input[0]).element
    if element == "INT32":
        yield error(
            called(node),
            "DequantizeLinear of INT32, as quantizers write it for biases",
            "leave the biases unquantized",
        )
    elif element and element not in target.operators["DequantizeLinear"].types:
        yield error(called(node), f"DequantizeLinear of {element}", _SYMMETRIC)
    scale = _channels(node, graph)
    if len(scale) < 2:
        return
    if not graph.is_constant(_before_quantizing(node.input[0], graph)):
        yield _per_channel_activation(node)
        return
    shape = graph.tensor(node.input[0]).shape
    axis = attribute(node, "axis", 1)
    if shape is None or not -len(shape) <= axis < len(shape) or shape[axis] != len(scale):
        yield error(
            called(node),
            f"{len(scale)} scales along axis {axis} of a tensor of shape {_shape_text(shape)}",
            "give one scale for each output channel",
        )


def _per_channel_activation(node: onnx.NodeProto) -> Finding:
    return error(
        called(node),
        f"{node.op_type} with a scale per channel of a tensor that is no constant",
        "give one scale for the whole tensor; scales per channel are for weights",
    )


def _check_scale(node: onnx.NodeProto, graph: ExaminedGraph) -> Iterator[Finding]:
    name = node.input[1]
    if not graph.is_constant(name):
        yield error(
            called(node),
            f"{node.op_type} computes its scale ({name})",
            "calibrate, and store the scale in the graph",
        )
        return
    value = graph.value(name)
    if value is None:
        return
    scale = value.astype(np.float64)
    if not np.all(np.isfinite(scale) & (scale > 0)):
        worst = scale[~(np.isfinite(scale) & (scale > 0))].flat[0]
        yield error(
            called(node),
            f"{node.op_type} with a scale of {worst:g} ({name})",
            "calibrate again: scales are finite and above 0, in float16 too",
        )
    if scale.ndim > 1 or attribute(node, "block_size", 0):
        yield error(
            called(node),
            f"{node.op_type} with a scale per block",
            "give one scale per tensor, or per output channel of weights",
        )


def _check_zero_point(node: onnx.NodeProto, graph: ExaminedGraph) -> Iterator[Finding]:
    if len(node.input) < 3 or not node.input[2]:
        return
    if not graph.is_constant(node.input[2]):
        yield error(
            called(node),
            f"{node.op_type} computes its zero point ({node.input[2]})",
            _SYMMETRIC,
        )
        return
    value = graph.value(node.input[2])
    if value is not None and np.any(value.astype(np.float64) != 0):
        worst = value[value.astype(np.float64) != 0].flat[0]
        yield error(
            called(node), f"{node.op_type} with zero point {worst} ({node.input[2]})", _SYMMETRIC
        )


def _channels(node: onnx.NodeProto, graph: ExaminedGraph) -> list[float]:
    """The scales along an axis; one or none where there is one for the whole tensor."""
    value = graph.value(node.input[1])
    return [] if value is None or value.ndim != 1 else [float(part) for part in value]


def _before_quantizing(name: str, graph: ExaminedGraph) -> str:
    """What was quantized: weights may be stored as INT8, or as floats with a QuantizeLinear."""
    maker = graph.maker(name)
    return maker.input[0] if maker is not None and maker.op_type == "QuantizeLinear" else name


# --- around them --------------------------------------------------------------------------------


def _check_fp32_readers(
    node: onnx.NodeProto, graph: ExaminedGraph, exclude: Collection[str]
) -> Iterator[Finding]:
    """Whatever computes in FP32 behind a DequantizeLinear would run neither in INT8 nor in FP16."""
    waiting, seen = [node.output[0]], {node.output[0]}
    while waiting:
        name = waiting.pop()
        for reader in graph.readers(name):
            if reader.op_type in _MOVING:
                fresh = [made for made in reader.output if made not in seen]
                waiting += fresh
                seen.update(fresh)
            elif (
                graph.tensor(name).element == "FP32"
                and reader.op_type != "QuantizeLinear"
                and reader.name not in exclude
            ):
                yield error(
                    called(node),
                    f"DequantizeLinear feeds {called(reader)} ({reader.op_type}), which computes "
                    "in FP32",
                    "give it a float16 scale and compute in float16, or name "
                    f"{called(reader)} in [quantize] exclude",
                )


def _check_bias(node: onnx.NodeProto, graph: ExaminedGraph) -> Iterator[Finding]:
    if node.op_type not in _WITH_BIAS or len(node.input) < 3:
        return
    maker = _maker_before_casts(node.input[2], graph)
    if maker is None or maker.op_type not in ("QuantizeLinear", "DequantizeLinear"):
        return
    if graph.tensor(maker.input[0]).element != "INT32":  # that is said already
        yield error(
            called(maker),
            f"{maker.op_type} on the bias of {called(node)}",
            "leave the biases unquantized",
        )


def _check_weight_axis(node: onnx.NodeProto, graph: ExaminedGraph) -> Iterator[Finding]:
    """Scales of weights go along their output channels."""
    weights = _maker_before_casts(node.input[1], graph)
    if weights is None or weights.op_type != "DequantizeLinear":
        return
    shape = graph.tensor(weights.input[0]).shape
    if len(_channels(weights, graph)) < 2 or not shape:
        return
    wanted = _output_channel_axis(node, len(shape))
    found = int(attribute(weights, "axis", 1))
    if found % len(shape) != wanted:
        yield error(
            called(weights),
            f"scales along axis {found} of the weights of {called(node)} ({node.op_type})",
            f"give one for each output channel, axis {wanted}",
        )


def _maker_before_casts(name: str, graph: ExaminedGraph) -> onnx.NodeProto | None:
    maker = graph.maker(name)
    while maker is not None and maker.op_type in ("Cast", "Identity"):
        maker = graph.maker(maker.input[0])
    return maker


def _output_channel_axis(node: onnx.NodeProto, rank: int) -> int:
    if node.op_type == "MatMul":
        return rank - 1
    if node.op_type == "Gemm":
        return 0 if attribute(node, "transB", 0) else 1
    return 1 if node.op_type == "ConvTranspose" else 0


def _shape_text(shape: tuple[int | None, ...] | None) -> str:
    return "?" if shape is None else str([("?" if n is None else n) for n in shape])
