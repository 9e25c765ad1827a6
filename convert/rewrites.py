"""Exact rewrites of a graph: they change names and needless nodes, never a number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper


def replace_uses(graph: onnx.GraphProto, replacements: Mapping[str, str]) -> None:
    """Let everything that reads a tensor named in ``replacements`` read the other one instead."""
    for node in graph.node:
        for i, name in enumerate(node.input):
            if name in replacements:
                node.input[i] = replacements[name]
        for inner in _subgraphs(node):
            replace_uses(inner, replacements)
    for value in graph.output:
        value.name = replacements.get(value.name, value.name)


def rename_tensor(graph: onnx.GraphProto, old: str, new: str) -> None:
    """Give a tensor another name wherever it is made, stored or read."""
    replace_uses(graph, {old: new})
    for node in graph.node:
        for i, name in enumerate(node.output):
            if name == old:
                node.output[i] = new
    for value in (*graph.initializer, *graph.input, *graph.value_info):
        if value.name == old:
            value.name = new


def tensor_names(graph: onnx.GraphProto) -> set[str]:
    """Every tensor that a graph makes, stores or takes."""
    names = {name for node in graph.node for name in node.output}
    names.update(value.name for value in (*graph.initializer, *graph.input))
    return names


def cancel_transposes(graph: onnx.GraphProto) -> None:
    """Where a Transpose undoes the one before it, read the tensor before both.

    The nodes that nobody reads any more are left to :func:`prune`.
    """
    maker = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        before = maker.get(node.input[0]) if node.op_type == "Transpose" else None
        if before is None or before.op_type != "Transpose":
            continue
        first, second = _permutation(before), _permutation(node)
        if first and len(first) == len(second) and [first[i] for i in second] == sorted(first):
            replace_uses(graph, {node.output[0]: before.input[0]})


def skip_uint8_round_trips(graph: onnx.GraphProto, producer: str) -> None:
    """Drop a Cast of whole numbers 0..255 to uint8 that is only cast back at once.

    Args:
        graph: Changed in place; the Cast itself is left to :func:`prune`.
        producer: Name of a uint8 tensor made by a Cast from float32 values that are whole
            numbers in 0..255.
    """
    cast = next(node for node in graph.node if producer in node.output)
    readers = [node for node in graph.node if producer in node.input]
    if producer in {value.name for value in graph.output}:
        return
    if not readers or any(node.op_type != "Cast" for node in readers):
        return
    for reader in readers:
        reader.input[0] = cast.input[0]
        if any(a.name == "to" and a.i == TensorProto.FLOAT for a in reader.attribute):
            replace_uses(graph, {reader.output[0]: cast.input[0]})


def lift_constants(graph: onnx.GraphProto) -> None:
    """Store what Constant nodes hold as initializers of the same names."""
    outputs = {value.name for value in graph.output}
    kept = []
    for node in graph.node:
        tensor = _held_tensor(node)
        if tensor is None or node.output[0] in outputs:
            kept.append(node)
            continue
        tensor.name = node.output[0]
        graph.initializer.append(tensor)
    del graph.node[:]
    graph.node.extend(kept)


def prune(graph: onnx.GraphProto) -> None:
    """Remove nodes and initializers that no output of the graph depends on."""
    needed = {value.name for value in graph.output}
    kept = []
    # Nodes are in running order, so one pass from the end sees every reader before its maker.
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(_reads(node))
    kept.reverse()
    weights = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(kept)
    graph.initializer.extend(weights)


def _held_tensor(node: onnx.NodeProto) -> onnx.TensorProto | None:
    """A Constant's value; ``None`` for other nodes, and for text and sparse values."""
    if node.op_type != "Constant" or len(node.attribute) != 1:
        return None
    attribute = node.attribute[0]
    if attribute.name == "value":
        tensor = onnx.TensorProto()
        tensor.CopyFrom(attribute.t)
        return tensor
    values = {
        "value_float": (attribute.f, np.float32),
        "value_floats": (attribute.floats, np.float32),
        "value_int": (attribute.i, np.int64),
        "value_ints": (attribute.ints, np.int64),
    }
    if attribute.name not in values:
        return None
    value, dtype = values[attribute.name]
    return numpy_helper.from_array(np.array(value, dtype))


def _permutation(node: onnx.NodeProto) -> list[int]:
    return next((list(a.ints) for a in node.attribute if a.name == "perm"), [])


def _reads(node: onnx.NodeProto) -> set[str]:
    names = set(node.input)
    for inner in _subgraphs(node):
        names.update(value.name for value in inner.output)
        for nested in inner.node:
            names |= _reads(nested)
    return names


def _subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs
