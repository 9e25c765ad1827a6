"""A graph as the check looks at it: who makes and reads what, and of which type, shape and value.

Names are looked up as ONNX does: a subgraph sees its own tensors and those around it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, defs, helper, numpy_helper, shape_inference

from convert.network import standard_opset

_WORDS = {
    "FLOAT": "FP32",
    "FLOAT16": "FP16",
    "BFLOAT16": "BF16",
    "DOUBLE": "FP64",
    "FLOAT8E4M3FN": "FP8",
    "FLOAT4E2M1": "FP4",
}
# Sizes are arithmetic on shapes, not on values: what they make is known before a picture comes.
_OF_SHAPES_ONLY = ("Shape", "Size")

Shape = tuple["int | None", ...]
"""Length of each axis; ``None`` where it is not known."""


@dataclass(frozen=True)
class Tensor:
    """What is known of a tensor.

    Attributes:
        element: Element type in TensorRT's words (``FP32``), or an empty string.
        shape: For a batch of 1; ``None`` where not even the number of axes is known.
    """

    element: str
    shape: Shape | None


UNKNOWN = Tensor("", None)


class ContradictionError(Exception):
    """Types or shapes of a graph do not fit together; the text is that of ONNX's inference."""


class ExaminedGraph:
    """One graph, or one subgraph with the graph around it.

    Attributes:
        proto: The graph itself.
        opset: Version of the standard operators.
        outer: The graph around a subgraph.
    """

    def __init__(
        self, proto: onnx.GraphProto, opset: int, outer: ExaminedGraph | None = None
    ) -> None:
        self.proto = proto
        self.opset = opset
        self.outer = outer
        self._makers = {name: node for node in proto.node for name in node.output if name}
        self._weights = {tensor.name: tensor for tensor in proto.initializer}
        self._tensors = {
            value.name: _tensor(value) for value in (*proto.value_info, *proto.output, *proto.input)
        }
        for name, weight in self._weights.items():
            self._tensors[name] = Tensor(element_word(weight.data_type), tuple(weight.dims))
        self._inner = {
            id(node): [ExaminedGraph(part, opset, self) for part in subgraphs(node)]
            for node in proto.node
        }
        self._readers: dict[str, list[onnx.NodeProto]] = {}
        for node in self.nodes_in_all():
            for name in node.input:
                self._readers.setdefault(name, []).append(node)

    def inner(self, node: onnx.NodeProto) -> list[ExaminedGraph]:
        """The subgraphs of one of this graph's own nodes."""
        return self._inner[id(node)]

    def all_graphs(self) -> Iterator[ExaminedGraph]:
        """This graph and every subgraph in it."""
        yield self
        for parts in self._inner.values():
            for part in parts:
                yield from part.all_graphs()

    def nodes_in_all(self) -> Iterator[onnx.NodeProto]:
        """The nodes of this graph and of every subgraph in it."""
        for graph in self.all_graphs():
            yield from graph.proto.node

    def readers(self, name: str) -> list[onnx.NodeProto]:
        """Nodes that read a tensor of this graph, those of its subgraphs included."""
        return self._readers.get(name, [])

    def is_used(self, name: str) -> bool:
        """Whether a node or whoever runs this graph reads a tensor of it."""
        return bool(self.readers(name)) or any(name == value.name for value in self.proto.output)

    def maker(self, name: str) -> onnx.NodeProto | None:
        """The node that makes a tensor; ``None`` for inputs and initializers."""
        if name in self._makers:
            return self._makers[name]
        if self.outer is None or name in self._weights or self._is_input(name):
            return None
        return self.outer.maker(name)

    def tensor(self, name: str) -> Tensor:
        """Type and shape of a tensor, as far as they are known."""
        if name in self._tensors:
            return self._tensors[name]
        return UNKNOWN if self.outer is None else self.outer.tensor(name)

    def is_constant(self, name: str) -> bool:
        """Whether a tensor is an initializer or what a Constant node holds."""
        if name in self._weights:
            return True
        if name in self._makers:
            return bool(self._makers[name].op_type == "Constant")
        return self.outer is not None and not self._is_input(name) and self.outer.is_constant(name)

    def value(self, name: str) -> NDArray[Any] | None:
        """The value of a constant; ``None`` where it is none, or lies in another file."""
        if name in self._weights:
            return _array(self._weights[name])
        if name in self._makers:
            return _held(self._makers[name])
        if self.outer is None or self._is_input(name):
            return None
        return self.outer.value(name)

    def varies(self, name: str) -> bool:
        """Whether a tensor's values depend on the network's inputs, not only on their shapes."""
        if name in self._varying:
            return True
        if self.outer is None or name in self._makers or name in self._weights:
            return False
        return self.outer.varies(name)

    def _is_input(self, name: str) -> bool:
        return any(value.name == name for value in self.proto.input)

    @cached_property
    def _varying(self) -> set[str]:
        varying = {value.name for value in self.proto.input} - set(self._weights)
        for node in self.proto.node:
            if node.op_type in _OF_SHAPES_ONLY:
                continue
            reads = {*node.input, *captured(node)}
            around = self.outer is not None and any(map(self.outer.varies, reads - {""}))
            if around or varying & reads:
                varying.update(node.output)
        return varying


def examine(model: onnx.ModelProto, *, strict: bool) -> ExaminedGraph:
    """Types and shapes of a whole model, for a batch of 1.

    With the batch fixed, every length that is still open depends on something else.

    Args:
        model: Left as it is.
        strict: Whether a contradiction is an error; otherwise inference ends there.

    Raises:
        ContradictionError: The graph contradicts itself.
    """
    single = onnx.ModelProto()
    single.CopyFrom(model)
    del single.graph.value_info[:]
    inputs = {value.name for value in single.graph.input}
    for value in (*single.graph.input, *single.graph.output):
        if value.name not in inputs:
            continue
        for axis in value.type.tensor_type.shape.dim[:1]:
            if not axis.HasField("dim_value"):
                axis.dim_value = 1
    try:
        inferred = shape_inference.infer_shapes(single, strict_mode=strict, data_prop=True)
    # The inference is C++: besides its own error it lets pass what its containers raise.
    except (
        shape_inference.InferenceError,
        RuntimeError,
        ValueError,
        TypeError,
        IndexError,
    ) as problem:
        raise ContradictionError(str(problem)) from problem
    return ExaminedGraph(inferred.graph, standard_opset(model))


def element_word(element: int) -> str:
    """An ``onnx.TensorProto`` element type as TensorRT calls it; empty for an unknown one."""
    if element == TensorProto.UNDEFINED:
        return ""
    name = str(TensorProto.DataType.Name(element))
    return _WORDS.get(name, name)


def called(node: onnx.NodeProto) -> str:
    """How a finding names a node: by its name, or by what it makes where it has none."""
    made = next((name for name in node.output if name), "")
    return node.name or made or node.op_type


def attribute(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    """Value of a node's attribute; text as ``str``."""
    for entry in node.attribute:
        if entry.name == name:
            value = helper.get_attribute_value(entry)
            return value.decode() if isinstance(value, bytes) else value
    return default


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs that a node's attributes hold."""
    for entry in node.attribute:
        if entry.type == onnx.AttributeProto.GRAPH:
            yield entry.g
        yield from entry.graphs


def captured(node: onnx.NodeProto) -> set[str]:
    """Every name that a node's subgraphs read or give, made inside or not."""
    names: set[str] = set()
    for graph in subgraphs(node):
        names.update(value.name for value in graph.output)
        for part in graph.node:
            names |= {*part.input, *captured(part)}
    return names - {""}


def data_inputs(node: onnx.NodeProto, opset: int) -> list[str]:
    """The inputs that share the type of a node's output, or of its first input.

    These are the data; what else a node reads are indices, sizes and conditions.
    """
    try:
        schema = defs.get_schema(node.op_type, opset, "")
    except defs.SchemaError:
        return [name for name in node.input[:1] if name]
    formals = [str(formal.type_str) for formal in schema.inputs]
    if not formals:
        return []
    made = str(schema.outputs[0].type_str)
    wanted = made if made in formals else formals[0]
    # The last formal input stands for all that follow it.
    kinds = [formals[min(index, len(formals) - 1)] for index in range(len(node.input))]
    return [name for name, kind in zip(node.input, kinds, strict=True) if name and kind == wanted]


def _tensor(value: onnx.ValueInfoProto) -> Tensor:
    kind = value.type.tensor_type
    if not kind.HasField("shape"):
        return Tensor(element_word(kind.elem_type), None)
    lengths = [axis.dim_value if axis.HasField("dim_value") else None for axis in kind.shape.dim]
    return Tensor(element_word(kind.elem_type), tuple(lengths))


def _array(tensor: onnx.TensorProto) -> NDArray[Any] | None:
    if tensor.data_location == TensorProto.EXTERNAL:
        return None
    value: NDArray[Any] = numpy_helper.to_array(tensor)
    return value


def _held(node: onnx.NodeProto) -> NDArray[Any] | None:
    """What a Constant node holds; ``None`` for another node, and for text."""
    if node.op_type != "Constant":
        return None
    for entry in node.attribute:
        if entry.name == "value":
            return _array(entry.t)
        if entry.name in ("value_float", "value_floats"):
            return np.asarray(helper.get_attribute_value(entry), np.float32)
        if entry.name in ("value_int", "value_ints"):
            return np.asarray(helper.get_attribute_value(entry), np.int64)
    return None
