"""Which nodes of a prepared graph compute in float16, and which stay float32.

float32 stay:

* Everything that preparation wrote: in front of the network, logarithms and exponentials of
  pixels; behind it, the activation.
* The network's own last sigmoid or softmax, and what follows it.
* Operators that add up many values, and those whose results leave float16's range for inputs well
  inside it (:data:`FLOAT32_OPERATORS`).
* Nodes with a constant that float16 turns into 0, as the epsilon of a division.
* Nodes without weights between two such nodes: casting there and back would gain nothing.

What depends on no pixel (sizes and other arithmetic on shapes) is left as it is.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import Enum

import numpy as np
import onnx
from onnx import TensorProto, defs, helper, numpy_helper

from convert.network import OUR_PREFIX, standard_opset
from convert.verify import ACTIVATIONS, ONLY_RESHAPING

FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16)

FLOAT32_OPERATORS = frozenset(
    {
        # Sums over many values: float16 has 11 significant bits, and 65,504 is soon reached.
        "AveragePool", "CumSum", "GlobalAveragePool", "GlobalLpPool", "LpPool", "ReduceL1",
        "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMean", "ReduceProd", "ReduceSum",
        "ReduceSumSquare",
        # Normalisations by sums.
        "GroupNormalization", "InstanceNormalization", "LRN", "LayerNormalization",
        "LogSoftmax", "LpNormalization", "MeanVarianceNormalization", "Softmax",
        # exp(11.1) and 256 squared are too large, 1e-4 squared is too small.
        "Exp", "Log", "Pow", "Reciprocal", "Softplus", "Sqrt",
        # Their output's type is another input's, or an attribute.
        "CastLike", "EyeLike", "RandomNormalLike", "RandomUniformLike",
    }
)  # fmt: skip
"""Operators that are never computed in float16."""

_WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum"})

# Integers of which float16 holds every value.
_EXACT_IN_HALF = (TensorProto.BOOL, TensorProto.UINT8, TensorProto.INT8)


class Kind(Enum):
    """What becomes of a node: ``LEFT`` keeps every type that it has."""

    HALF = "float16"
    SINGLE = "float32"
    LEFT = "left"


def plan(model: onnx.ModelProto, types: Mapping[str, int]) -> list[Kind]:
    """The kind of each node, in the graph's order.

    Args:
        model: Standard operators without subgraphs; constants are initializers.
        types: ``onnx.TensorProto`` element type of every tensor.
    """
    graph = model.graph
    varying = varying_tensors(graph)
    tail = _tail(graph)
    tiny = _lost_in_half(graph)
    kinds = []
    for index, node in enumerate(graph.node):
        if _is_left(node, types, varying):
            kinds.append(Kind.LEFT)
        elif (
            index in tail
            or node.name.startswith(OUR_PREFIX)
            or node.op_type in FLOAT32_OPERATORS
            or tiny.intersection(node.input)
            or not _can_be_half(node, types, standard_opset(model))
        ):
            kinds.append(Kind.SINGLE)
        else:
            kinds.append(Kind.HALF)
    _join_islands(graph, kinds)
    return kinds


def varying_tensors(graph: onnx.GraphProto) -> set[str]:
    """Tensors whose values depend on the graph's input, not only on its shape."""
    varying = {value.name for value in graph.input}
    for node in graph.node:
        if varying.intersection(node.input) and node.op_type not in ("Shape", "Size"):
            varying.update(node.output)
    return varying


def half_variables(node: onnx.NodeProto, opset: int) -> set[str]:
    """The type variables of a node's outputs that may be float16 as well as float32.

    An input whose type is no such variable keeps float32 (the scales of a Resize).
    """
    schema = defs.get_schema(node.op_type, opset, "")
    allowed = {
        constraint.type_param_str
        for constraint in schema.type_constraints
        if {"tensor(float)", "tensor(float16)"} <= set(constraint.allowed_type_strs)
    }
    if node.op_type == "BatchNormalization":
        # ONNX lets its parameters have types of their own; TensorRT's scaling layer does not.
        return allowed
    return allowed & {output_variable(node, index, opset) for index in range(len(node.output))}


def input_variable(node: onnx.NodeProto, index: int, opset: int) -> str:
    """The type variable of an input; the last one stands for all that follow it."""
    formals = defs.get_schema(node.op_type, opset, "").inputs
    return str(formals[min(index, len(formals) - 1)].type_str)


def output_variable(node: onnx.NodeProto, index: int, opset: int) -> str:
    """The type variable of an output; the last one stands for all that follow it."""
    formals = defs.get_schema(node.op_type, opset, "").outputs
    return str(formals[min(index, len(formals) - 1)].type_str)


def cast_target(node: onnx.NodeProto) -> int:
    """The element type that a Cast makes."""
    return int(next(helper.get_attribute_value(a) for a in node.attribute if a.name == "to"))


# --- rules --------------------------------------------------------------------------------------


def _is_left(node: onnx.NodeProto, types: Mapping[str, int], varying: Collection[str]) -> bool:
    if not any(name in varying for name in node.input) or node.op_type in ("Shape", "Size"):
        return True
    if node.op_type == "Cast":
        return cast_target(node) not in FLOATS
    return not any(types[name] in FLOATS for name in (*node.input, *node.output) if name)


def _can_be_half(node: onnx.NodeProto, types: Mapping[str, int], opset: int) -> bool:
    if node.op_type == "Cast":
        return types[node.input[0]] in (*FLOATS, *_EXACT_IN_HALF)
    variables = half_variables(node, opset)
    floats = [i for i, name in enumerate(node.output) if name and types[name] in FLOATS]
    return bool(floats) and all(output_variable(node, i, opset) in variables for i in floats)


def _tail(graph: onnx.GraphProto) -> set[int]:
    """Indices of the nodes that make the outputs, and of those back to the last activation."""
    maker = {name: index for index, node in enumerate(graph.node) for name in node.output}
    tail = {maker[value.name] for value in graph.output if value.name in maker}
    waiting = list(tail)
    while waiting:
        node = graph.node[waiting.pop()]
        passes = node.op_type in ONLY_RESHAPING or node.name.startswith(OUR_PREFIX)
        before = maker.get(node.input[0]) if passes and node.op_type not in ACTIVATIONS else None
        if before is not None and _stands_behind(graph.node[before]):
            tail.add(before)
            waiting.append(before)
    return tail


def _stands_behind(node: onnx.NodeProto) -> bool:
    return node.op_type in (*ONLY_RESHAPING, *ACTIVATIONS) or node.name.startswith(OUR_PREFIX)


def _lost_in_half(graph: onnx.GraphProto) -> set[str]:
    """Initializers of one value that is not 0 and becomes 0 in float16."""
    lost = set()
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and np.prod(tensor.dims, dtype=np.int64) == 1:
            value = numpy_helper.to_array(tensor).item()
            # Below half of the smallest subnormal, 2^-24; ties go to the even number, which is 0.
            if 0.0 < abs(value) <= 2.0**-25:
                lost.add(tensor.name)
    return lost


def _join_islands(graph: onnx.GraphProto, kinds: list[Kind]) -> None:
    """Make float32 each group of float16 nodes with float32 nodes all around; in place."""
    weights = {t.name for t in graph.initializer if np.prod(t.dims, dtype=np.int64) > 1}
    neighbours = _neighbours(graph)
    seen: set[int] = set()
    for start, kind in enumerate(kinds):
        if kind is not Kind.HALF or start in seen:
            continue
        group, waiting = {start}, [start]
        while waiting:
            fresh = {other for other in neighbours[waiting.pop()] if kinds[other] is Kind.HALF}
            waiting += fresh - group
            group |= fresh
        seen |= group
        if not any(
            graph.node[index].op_type in _WEIGHTED or weights.intersection(graph.node[index].input)
            for index in group
        ):
            for index in group:
                kinds[index] = Kind.SINGLE


def _neighbours(graph: onnx.GraphProto) -> list[set[int]]:
    """For each node, those that make what it reads or read what it makes."""
    maker = {name: index for index, node in enumerate(graph.node) for name in node.output if name}
    neighbours: list[set[int]] = [set() for _ in graph.node]
    for index, node in enumerate(graph.node):
        for name in node.input:
            if name in maker:
                neighbours[index].add(maker[name])
                neighbours[maker[name]].add(index)
    return neighbours
