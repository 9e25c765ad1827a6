"""Does the target's TensorRT read every operator of a graph, with these types and attributes?"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import onnx

from convert.examined_graph import (
    ExaminedGraph,
    attribute,
    called,
    data_inputs,
    subgraphs,
)
from convert.finding import Finding, error, warning
from convert.targets import STANDARD_DOMAINS, Operator, Target

_QDQ = "quantize with QuantizeLinear and DequantizeLinear around the float operators (QDQ format)"
_WITHOUT = "export the network without it"

# What quantizers write that no release reads: whole operators on integers, in whatever domain.
_INTEGER_OPERATORS = (
    "ConvInteger", "DynamicQuantizeLinear", "MatMulInteger", "DynamicQuantizeMatMul",
)  # fmt: skip

# Of these the table means what they make.
_TYPED_BY_OUTPUT = frozenset(
    {
        "BlackmanWindow", "Constant", "ConstantOfShape", "EyeLike", "HammingWindow", "HannWindow",
        "If", "Loop", "RandomNormal", "RandomUniform", "Scan",
    }
)  # fmt: skip
_QUANTIZING = ("QuantizeLinear", "DequantizeLinear")

_Problem = tuple[str, str]
"""What was found, and the way out."""


def check_operator_names(graph: onnx.GraphProto, target: Target) -> Iterator[Finding]:
    """Operators that the target does not read at all; of any graph, an invalid one too."""
    for node in graph.node:
        if node.domain not in STANDARD_DOMAINS:
            yield _foreign(node)
        elif not target.reads(node.op_type, node.domain):
            yield _unsupported(node, target)
        for inner in subgraphs(node):
            yield from check_operator_names(inner, target)


def check_operator_use(graph: ExaminedGraph, target: Target) -> Iterator[Finding]:
    """Types, constants and attributes of the operators that the target does read."""
    for node in graph.proto.node:
        if target.reads(node.op_type, node.domain):
            operator = target.operators[node.op_type]
            yield from _check_types(node, graph, operator, target)
            yield from _check_constant_inputs(node, graph, operator, target)
            for found, way_out in _LIMITS.get(node.op_type, _no_limit)(node, graph, target):
                yield error(called(node), f"{node.op_type} {found}", way_out)
            if operator.limit:
                yield warning(
                    called(node),
                    f"{node.op_type} is read with a limit: {operator.limit}",
                    f"see that it keeps to it, or {_WITHOUT}",
                )
        for inner in graph.inner(node):
            yield from check_operator_use(inner, target)


def _foreign(node: onnx.NodeProto) -> Finding:
    return error(
        called(node),
        f"{node.op_type} of the domain {node.domain}, which TensorRT takes for a plugin",
        _QDQ if _is_integer(node) else "export the network with standard operators of opset 17",
    )


def _unsupported(node: onnx.NodeProto, target: Target) -> Finding:
    found = f"{node.op_type} is no operator that TensorRT {target.tensorrt} reads"
    if node.op_type in target.later:
        release = target.later[node.op_type]
        return error(
            called(node),
            f"{found} (TensorRT {release} does)",
            f"{_WITHOUT}, or use a device with TensorRT {release}",
        )
    return error(called(node), found, _QDQ if _is_integer(node) else _WITHOUT)


def _is_integer(node: onnx.NodeProto) -> bool:
    return node.op_type in _INTEGER_OPERATORS or node.op_type.startswith(("QLinear", "QGemm"))


def _no_limit(node: onnx.NodeProto, graph: ExaminedGraph, target: Target) -> Iterator[_Problem]:
    return iter(())


# --- types --------------------------------------------------------------------------------------


def _check_types(
    node: onnx.NodeProto, graph: ExaminedGraph, operator: Operator, target: Target
) -> Iterator[Finding]:
    if node.op_type in _QUANTIZING:
        return
    mixed = {graph.tensor(name).element for name in data_inputs(node, graph.opset)} - {""}
    if len(mixed) > 1 and node.op_type not in _TYPED_BY_OUTPUT:
        yield error(
            called(node),
            f"{node.op_type} of {_listed(frozenset(mixed))} at once",
            "cast one to the other's type: a strongly typed network converts nothing by itself",
        )
        return
    for name, allowed in _typed_tensors(node, graph, operator):
        found = graph.tensor(name).element
        # UINT8, and types that TensorRT lacks, have rules of their own: convert.check_types.
        if found in target.element_types - allowed - {"UINT8"}:
            yield error(
                called(node),
                f"{node.op_type} of {found} ({name}), where TensorRT {target.tensorrt} reads "
                f"{_listed(allowed)}",
                f"cast to {_nearest(found, allowed)} in front of it and back behind it",
            )
            return


def _typed_tensors(
    node: onnx.NodeProto, graph: ExaminedGraph, operator: Operator
) -> Iterator[tuple[str, frozenset[str]]]:
    """The tensors of a node that the table speaks of, and the types that it allows for them."""
    if node.op_type in _TYPED_BY_OUTPUT:
        names = list(node.output)
    elif node.op_type in ("Cast", "CastLike"):
        names = [node.input[0], node.output[0]]
    elif node.op_type == "Pow":
        yield node.input[0], operator.types
        yield node.input[1], operator.exponent_types
        return
    else:
        names = data_inputs(node, graph.opset)
    for name in names:
        yield name, operator.types


def _listed(types: frozenset[str]) -> str:
    *most, last = sorted(types)
    return f"{', '.join(most)} and {last}" if most else last


def _nearest(found: str, allowed: frozenset[str]) -> str:
    """The allowed type that loses least."""
    if found == "INT64" and "INT32" in allowed:
        return "INT32"
    return "FP32" if "FP32" in allowed else min(allowed)


# --- constants ----------------------------------------------------------------------------------


def _check_constant_inputs(
    node: onnx.NodeProto, graph: ExaminedGraph, operator: Operator, target: Target
) -> Iterator[Finding]:
    for index in operator.constant_inputs:
        if (
            index < len(node.input)
            and node.input[index]
            and not graph.is_constant(node.input[index])
        ):
            yield error(
                called(node),
                f"{node.op_type} computes its input {index} ({node.input[index]}), where "
                f"TensorRT {target.tensorrt} takes a constant",
                "export the network with that value fixed",
            )


# --- limits of single operators -----------------------------------------------------------------


def _pooling(node: onnx.NodeProto, graph: ExaminedGraph, target: Target) -> Iterator[_Problem]:
    if any(step != 1 for step in attribute(node, "dilations", ())):
        yield "with dilations", _WITHOUT
    if node.op_type == "MaxPool" and len(node.output) > 1 and node.output[1]:
        yield f"gives the places of its maxima ({node.output[1]})", _WITHOUT
    shape = graph.tensor(node.input[0]).shape
    if node.op_type != "LpPool" and shape is not None and len(shape) not in (4, 5):
        axes = len(shape) - 2
        yield (
            f"over {axes} {'axis' if axes == 1 else 'axes'}",
            "pool over 2 or 3, by an Unsqueeze in front",
        )


def _batch_normalization(
    node: onnx.NodeProto, graph: ExaminedGraph, target: Target
) -> Iterator[_Problem]:
    types = {graph.tensor(name).element for name in node.input if name} - {""}
    if len(types) > 1 and not target.is_at_least("10.7"):
        yield (
            f"of {_listed(frozenset(types))} at once, which only TensorRT 10.7 reads",
            "give all five inputs one type",
        )


def _resize(node: onnx.NodeProto, graph: ExaminedGraph, target: Target) -> Iterator[_Problem]:
    allowed = {
        "coordinate_transformation_mode": (
            "half_pixel", "pytorch_half_pixel", "tf_half_pixel_for_nn", "asymmetric",
            "align_corners",
        ),
        # The table leaves cubic out; the parser of the same release takes it.
        "mode": ("nearest", "linear", "cubic"),
        "nearest_mode": ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil"),
        "keep_aspect_ratio_policy": ("stretch",),
        "antialias": (0,),
    }  # fmt: skip
    for name, values in allowed.items():
        found = attribute(node, name, values[0])
        if found not in values:
            text = " or ".join(str(value) for value in values)
            yield f"with {name} {found}", f"export the network with {name} {text}"
    axes = attribute(node, "axes")
    scales = node.input[2] if len(node.input) > 2 else ""
    computed = scales != "" and not graph.is_constant(scales)
    if computed and axes is not None and list(axes) != list(range(len(axes))):
        yield f"with axes {list(axes)} and computed scales", "export the network with fixed scales"


def _constant(node: onnx.NodeProto, graph: ExaminedGraph, target: Target) -> Iterator[_Problem]:
    for name in ("sparse_value", "value_string", "value_strings"):
        if attribute(node, name) is not None:
            yield f"holds a {name}", _WITHOUT


def _dropout(node: onnx.NodeProto, graph: ExaminedGraph, target: Target) -> Iterator[_Problem]:
    if len(node.input) > 2 and node.input[2]:
        training = graph.value(node.input[2])
        if training is not None and np.any(training):
            yield "drops values, as in training", "export the network in evaluation mode"


def _layer_normalization(
    node: onnx.NodeProto, graph: ExaminedGraph, target: Target
) -> Iterator[_Problem]:
    if any(node.output[1:]):
        yield "gives mean or deviation too", "export the network without those outputs"


def _long_short_term(
    node: onnx.NodeProto, graph: ExaminedGraph, target: Target
) -> Iterator[_Problem]:
    for name in ("input_forget", "layout"):
        if attribute(node, name, 0):
            yield f"with {name} 1", f"export the network with {name} 0"


def _top_k(node: onnx.NodeProto, graph: ExaminedGraph, target: Target) -> Iterator[_Problem]:
    if not attribute(node, "sorted", 1):
        yield "with sorted 0", "export the network with sorted 1"
    count = graph.value(node.input[1]) if len(node.input) > 1 else None
    if count is not None and np.any(count >= 3840):
        yield f"of {int(count.max())} values", "take fewer than 3840"


def _scatter_nd(node: onnx.NodeProto, graph: ExaminedGraph, target: Target) -> Iterator[_Problem]:
    reduction = attribute(node, "reduction")
    # Up to 10.8 the parser refuses the attribute itself, even where it says "none".
    if reduction is not None and (reduction != "none" or not target.is_at_least("10.9")):
        yield f"with reduction {reduction}", "export the network with opset 13, which has none"


def _grid_sample(node: onnx.NodeProto, graph: ExaminedGraph, target: Target) -> Iterator[_Problem]:
    shape = graph.tensor(node.input[0]).shape
    if shape is not None and len(shape) != 4:
        yield f"of {len(shape)} axes", "sample planes, [N,C,H,W]"


def _deform_conv(node: onnx.NodeProto, graph: ExaminedGraph, target: Target) -> Iterator[_Problem]:
    pads = list(attribute(node, "pads", ()))
    half = len(pads) // 2
    if pads[:half] != pads[half:]:
        yield f"with pads {pads}", "pad both ends of each axis alike, with a Pad in front"
    if half > 2:
        yield f"over {half} axes", _WITHOUT


def _branches(node: onnx.NodeProto, graph: ExaminedGraph, target: Target) -> Iterator[_Problem]:
    inner = graph.inner(node)
    names = [[value.name for value in branch.proto.output] for branch in inner]
    for pair in zip(*names, strict=False):
        if len(set(pair)) < len(pair):
            yield f"gives {pair[0]} from both branches", "give their outputs different names"
            continue
        shapes = [branch.tensor(name).shape for branch, name in zip(inner, pair, strict=True)]
        if len({len(shape) for shape in shapes if shape is not None}) > 1:
            yield f"gives {' or '.join(pair)} of different rank", _WITHOUT


def _einsum(node: onnx.NodeProto, graph: ExaminedGraph, target: Target) -> Iterator[_Problem]:
    equation = str(attribute(node, "equation", "")).replace(" ", "")
    terms = equation.partition("->")[0].split(",")
    diagonal = any(len(set(term)) < len(term) for term in (t.replace(".", "") for t in terms))
    if diagonal and not target.is_at_least("10.12"):
        yield (
            f"with equation {equation}, which only TensorRT 10.12 reads",
            "write it as MatMul and Transpose",
        )


_LIMITS: dict[str, Callable[[onnx.NodeProto, ExaminedGraph, Target], Iterator[_Problem]]] = {
    "AveragePool": _pooling,
    "BatchNormalization": _batch_normalization,
    "Constant": _constant,
    "DeformConv": _deform_conv,
    "Dropout": _dropout,
    "Einsum": _einsum,
    "GridSample": _grid_sample,
    "If": _branches,
    "LSTM": _long_short_term,
    "LayerNormalization": _layer_normalization,
    "LpPool": _pooling,
    "MaxPool": _pooling,
    "Resize": _resize,
    "ScatterND": _scatter_nd,
    "TopK": _top_k,
}
"""The restrictions of the table that can be read from a graph."""
