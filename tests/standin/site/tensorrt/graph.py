"""What the stand-in reads in an ONNX graph."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import onnx
from onnx import TensorProto, numpy_helper

from . import genuine

_DTYPES = {
    TensorProto.FLOAT: "FLOAT",
    TensorProto.FLOAT16: "HALF",
    TensorProto.INT8: "INT8",
    TensorProto.UINT8: "UINT8",
    TensorProto.INT32: "INT32",
    TensorProto.INT64: "INT64",
    TensorProto.BOOL: "BOOL",
}
# Operators that no release imports, though ONNX Runtime runs them.
_NEVER = {"QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "DynamicQuantizeLinear"}


@dataclass(frozen=True)
class Tensor:
    """An input or output of the graph; -1 where an axis is dynamic."""

    name: str
    dtype: Any
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Refused:
    """A node that cannot be imported."""

    index: int
    node: onnx.NodeProto
    code: str
    reason: str


def tensors(values: Any) -> list[Tensor]:
    """Inputs or outputs as the library shows them."""
    return [_tensor(value) for value in values]


def _tensor(value: Any) -> Tensor:
    kind = value.type.tensor_type
    shape = tuple(d.dim_value if d.HasField("dim_value") else -1 for d in kind.shape.dim)
    return Tensor(value.name, getattr(genuine.DataType, _DTYPES[kind.elem_type]), shape)


def precision(model: onnx.ModelProto) -> str:
    """``int8`` where anything is quantized, ``fp16`` where anything is half, else ``fp32``."""
    operators = {node.op_type for node in model.graph.node}
    if "QuantizeLinear" in operators:
        return "int8"
    halves = any(w.data_type == TensorProto.FLOAT16 for w in model.graph.initializer)
    casts = any(_attribute(node, "to") == TensorProto.FLOAT16 for node in model.graph.node)
    return "fp16" if halves or casts else "fp32"


def refused(model: onnx.ModelProto) -> Iterator[Refused]:
    """Nodes that the parser does not take."""
    constants = {w.name: w for w in model.graph.initializer}
    for index, node in enumerate(model.graph.node):
        known = node.domain in ("", "ai.onnx") and onnx.defs.has(node.op_type)
        if not known or node.op_type in _NEVER:
            reason = 'Assertion failed: creator && "Plugin not found, are the plugin name, '
            reason += 'version, and namespace correct?"'
            yield Refused(index, node, "UNSUPPORTED_NODE", reason)
        elif node.op_type in ("QuantizeLinear", "DequantizeLinear") and len(node.input) > 2:
            zero = constants.get(node.input[2])
            if zero is None or zero.data_type != TensorProto.INT8:
                yield Refused(index, node, "UNSUPPORTED_NODE_DATATYPE", "zero point is not INT8")
            elif numpy_helper.to_array(zero).any():
                yield Refused(index, node, "UNSUPPORTED_NODE", "zero point is not 0")


def misused_uint8(model: onnx.ModelProto) -> str | None:
    """The node that reads a uint8 input and is no Cast; the library takes uint8 for I/O only."""
    bytes_in = {v.name for v in model.graph.input if v.type.tensor_type.elem_type == 2}
    for node in model.graph.node:
        if node.op_type != "Cast" and bytes_in & set(node.input):
            return node.name or node.op_type
    return None


def _attribute(node: onnx.NodeProto, name: str) -> Any:
    found = [a for a in node.attribute if a.name == name]
    return onnx.helper.get_attribute_value(found[0]) if found else None
