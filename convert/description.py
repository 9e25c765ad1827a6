"""What a prepared graph says of itself, in the metadata of its ONNX file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import onnx
from onnx import TensorProto

from convert.network import standard_opset
from convert.notes import SCHEMA, manifest_key
from models.errors import ModelRefusedError
from models.manifest import Manifest


@dataclass(frozen=True)
class Description:
    """What a prepared graph says of itself.

    Attributes:
        output: Name of its output.
        batch: ``None`` where it takes any batch, else 1.
        batch_reason: Why only 1, or an empty string.
        precision: ``fp32``, ``fp16`` or ``int8``.
        opset: Version of the standard operator set.
        model_sha256: Hash of the ONNX file that it was made from.
    """

    output: str
    batch: int | None
    batch_reason: str
    precision: str
    opset: int
    model_sha256: str


def describe(model: onnx.ModelProto) -> Description:
    """What a prepared graph says of itself.

    Raises:
        ModelRefusedError: It was not made by :func:`prepare_model`.
    """
    notes = {entry.key: entry.value for entry in model.metadata_props}
    if notes.get("dermedge.schema") != SCHEMA:
        raise ModelRefusedError(
            f"a graph prepared as {SCHEMA}",
            got=notes.get("dermedge.schema", "a graph without that note"),
            next_step="prepare it: dermedge-convert prepare PACK",
        )
    batch = model.graph.input[0].type.tensor_type.shape.dim[0]
    return Description(
        output=model.graph.output[0].name,
        batch=batch.dim_value if batch.HasField("dim_value") else None,
        batch_reason=notes["dermedge.batch_reason"],
        precision=notes["dermedge.precision"],
        opset=standard_opset(model),
        model_sha256=notes["dermedge.model_sha256"],
    )


def write_notes(model: onnx.ModelProto, sha256: str, manifest: Manifest, batch_reason: str) -> None:
    """Write into the graph where it comes from.

    Args:
        model: The prepared graph, changed in place.
        sha256: Hash of the ONNX file that it was made from.
        manifest: The manifest that it was made with.
        batch_reason: Why its batch is 1, or an empty string.
    """
    key = manifest_key(manifest).encode()
    notes = {
        "dermedge.schema": SCHEMA,
        "dermedge.model_sha256": sha256,
        "dermedge.manifest_sha256": hashlib.sha256(key).hexdigest(),
        "dermedge.precision": _precision(model.graph),
        "dermedge.batch_reason": batch_reason,
    }
    for name, value in notes.items():
        model.metadata_props.add(key=name, value=value)


def note_precision(model: onnx.ModelProto, precision: str) -> None:
    """Write into a prepared graph, in place, that it was given another precision."""
    for entry in model.metadata_props:
        if entry.key == "dermedge.precision":
            entry.value = precision
            return
    model.metadata_props.add(key="dermedge.precision", value=precision)


def _precision(graph: onnx.GraphProto) -> str:
    if any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in graph.node):
        return "int8"
    weights = {tensor.data_type for tensor in graph.initializer}
    return "fp16" if TensorProto.FLOAT16 in weights else "fp32"
