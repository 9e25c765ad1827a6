"""Element types and stored weights: what TensorRT has no type for, and what may not be where."""

from __future__ import annotations

from collections.abc import Iterator

import onnx

from convert.examined_graph import ExaminedGraph, called, element_word, subgraphs
from convert.finding import Finding, error, warning
from convert.targets import Target

_QUANTIZING = ("QuantizeLinear", "DequantizeLinear")


def check_types(graph: ExaminedGraph, target: Target) -> Iterator[Finding]:
    """Findings about inputs, stored tensors, and what nodes make; subgraphs included."""
    if graph.outer is None:
        for value in graph.proto.input:
            yield from _check_input(value.name, graph, target)
    for tensor in graph.proto.initializer:
        yield from _check_stored(tensor, graph, target)
    for node in graph.proto.node:
        # What an operator makes that is not read at all (convert.check_operators) is no matter.
        if target.reads(node.op_type, node.domain):
            yield from _check_made(node, graph, target)
        for inner in graph.inner(node):
            yield from check_types(inner, target)


def check_external_data(graph: onnx.GraphProto) -> Iterator[Finding]:
    """Weights that lie in another file: the graph alone is not whole."""
    named = [(tensor.name, tensor) for tensor in graph.initializer]
    for node in graph.node:
        named += [(called(node), entry.t) for entry in node.attribute if entry.HasField("t")]
        for inner in subgraphs(node):
            yield from check_external_data(inner)
    for name, tensor in named:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            where = {entry.key: entry.value for entry in tensor.external_data}.get("location", "?")
            yield error(
                name,
                f"its values lie in another file ({where})",
                "load the graph beside that file with onnx.load, and write it with onnx.save "
                "without external data",
            )


def _check_input(name: str, graph: ExaminedGraph, target: Target) -> Iterator[Finding]:
    element = graph.tensor(name).element
    if element == "UINT8":
        yield from _check_uint8_input(name, graph)
    elif element == "INT64":
        yield error(
            name, "an input of INT64", "take INT32 as input and cast, or pass sizes as constants"
        )
    elif element not in target.element_types:
        yield error(name, f"an input of {element or 'no known type'}", _way_out(element))


def _check_uint8_input(name: str, graph: ExaminedGraph) -> Iterator[Finding]:
    """TensorRT takes UINT8 only as a network input that one Cast reads."""
    if name in {value.name for value in graph.proto.output}:
        yield error(name, "a UINT8 input that is an output too", "give the output of its Cast")
    readers = graph.readers(name)
    if not readers:
        yield error(name, "a UINT8 input that no Cast reads", "cast it, or leave the input out")
    first_cast = next((node for node in readers if node.op_type == "Cast"), None)
    for node in readers:
        if node.op_type != "Cast":
            yield error(
                called(node),
                f"{node.op_type} reads the UINT8 input {name}",
                "let one Cast read the input, and this node what the Cast makes",
            )
        elif node is not first_cast:
            yield error(
                called(node),
                f"a second Cast of the UINT8 input {name}",
                f"let it read what {called(first_cast or node)} makes",
            )


def _check_stored(
    tensor: onnx.TensorProto, graph: ExaminedGraph, target: Target
) -> Iterator[Finding]:
    element = element_word(tensor.data_type)
    readers = graph.readers(tensor.name)
    if element == "UINT8" and readers and all(node.op_type in _QUANTIZING for node in readers):
        return  # convert.check_quantized names those nodes
    if element == "UINT8" or element not in target.element_types:
        yield error(tensor.name, f"a stored tensor of {element}", _way_out(element))


def _check_made(node: onnx.NodeProto, graph: ExaminedGraph, target: Target) -> Iterator[Finding]:
    """What a node makes of a type that it did not read: where a type begins."""
    read = {graph.tensor(name).element for name in node.input if name}
    for name in node.output:
        element = graph.tensor(name).element if name else ""
        if not element:
            continue
        if element not in target.element_types:
            if element not in read:
                yield error(called(node), f"{node.op_type} makes {element}", _way_out(element))
        elif element == "UINT8":
            if "UINT8" not in read and node.op_type != "QuantizeLinear":
                yield error(
                    called(node),
                    f"{node.op_type} makes UINT8 inside the graph",
                    "cast to INT32, or leave the cast to UINT8 out",
                )
        elif element == "INT64" and _begins_int64_of_values(name, node, graph):
            yield warning(
                called(node),
                f"{node.op_type} makes INT64 of the picture's values",
                "cast to INT32 there: 64 bits are for sizes and indices",
            )


def _begins_int64_of_values(name: str, node: onnx.NodeProto, graph: ExaminedGraph) -> bool:
    if not graph.varies(name) or not graph.is_used(name):
        return False
    return not any(graph.tensor(n).element == "INT64" and graph.varies(n) for n in node.input if n)


def _way_out(element: str) -> str:
    if element == "FP64":
        return "export the network in float32: TensorRT has no FP64"
    if element == "UINT8":
        return "store it as INT32, or as FP32: TensorRT takes UINT8 only as a network input"
    return "export the network in float32 and INT32"
