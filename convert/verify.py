"""Does a network's graph say the same as its manifest?

Every disagreement is a :class:`~models.errors.ManifestError` that names the tensor, what the
manifest says, what the graph has, and the key to correct.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, shape_inference

from convert.network import subject
from models.errors import ManifestError
from models.manifest import InputTensor, Manifest

Shape = list["int | None"]
"""Length of each axis; ``None`` where the graph leaves it open."""

_ELEMENT = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "uint8": TensorProto.UINT8,
}
_OUTPUT_ELEMENTS = (TensorProto.FLOAT, TensorProto.FLOAT16)

ACTIVATIONS = ("Sigmoid", "HardSigmoid", "Softmax")
"""Operators that turn logits into probabilities."""

ONLY_RESHAPING = ("Identity", "Cast", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten")
"""Operators that may stand behind them and compute nothing."""

# How far a network's own sigmoid or softmax may be from 0..1, and its sum from 1; float16 ones
# are this inexact.
_PROBABILITY_SLACK = 1e-2


def verify_inputs(graph: onnx.GraphProto, manifest: Manifest) -> None:
    """Names, element types and shapes of the inputs.

    Raises:
        ManifestError: The graph lacks an input, has one more, or it is of another kind.
    """
    found = {value.name: value for value in graph.input}
    for tensor in manifest.inputs:
        if tensor.name not in found:
            raise ManifestError(
                f"{subject(manifest)}: an input named {tensor.name!r}",
                got=f"inputs {_names(found)}",
                next_step="correct inputs.name in the manifest",
            )
        _verify_input(found[tensor.name], tensor, manifest)
    surplus = [name for name in found if name not in {t.name for t in manifest.inputs}]
    if surplus:
        raise ManifestError(
            f"{subject(manifest)}: an [[inputs]] entry for each of the graph's inputs",
            got=f"none for {_names(surplus)}",
            next_step="describe that input in the manifest, or export the network without it",
        )


def verify_output_name(graph: onnx.GraphProto, manifest: Manifest) -> None:
    """The output that the manifest names exists; others are allowed and left unused.

    Raises:
        ManifestError: It does not.
    """
    names = [value.name for value in graph.output]
    if manifest.output.name not in names:
        raise ManifestError(
            f"{subject(manifest)}: an output named {manifest.output.name!r}",
            got=f"outputs {_names(names)}",
            next_step="correct output.name in the manifest",
        )


def impose_input_sizes(graph: onnx.GraphProto, manifest: Manifest) -> None:
    """Write the manifest's sizes into the open axes (all but the batch) of the inputs."""
    found = {value.name: value for value in graph.input}
    for tensor in manifest.inputs:
        dims = found[tensor.name].type.tensor_type.shape.dim
        for dim, size in zip(dims[1:], _wanted_shape(tensor)[1:], strict=True):
            dim.dim_value = size


def inferred_output(model: onnx.ModelProto, name: str) -> tuple[Shape, int]:
    """Shape and element type of an output, as far as ONNX's shape inference gets."""
    try:
        inferred = shape_inference.infer_shapes(model, data_prop=True)
    except shape_inference.InferenceError:
        # Contradictions are told by ONNX Runtime, in words that name the node.
        return [], TensorProto.UNDEFINED
    value = next(value for value in inferred.graph.output if value.name == name)
    return _shape(value), value.type.tensor_type.elem_type


def verify_output(shape: Sequence[int | None], element: int, manifest: Manifest) -> None:
    """Shape and element type of the network's output, once they are known.

    Args:
        shape: Batch first.
        element: ``onnx.TensorProto`` element type.
        manifest: Says task, layout, size and labels.

    Raises:
        ManifestError: They are not what the manifest describes.
    """
    output = manifest.output
    if element not in _OUTPUT_ELEMENTS:
        raise ManifestError(
            f"{subject(manifest)}: output {output.name!r} of type float32 or float16",
            got=_element_name(element),
            next_step="export the network with a floating point output",
        )
    if manifest.task == "classification":
        _verify_label_count(shape, manifest)
        return
    width, height = manifest.size_wh
    channels = _allowed_channels(manifest)
    axis = 1 if output.layout == "NCHW" else 3
    for count in channels:
        wanted = [None, count, height, width] if axis == 1 else [None, height, width, count]
        if _fits(shape, wanted):
            return
    text = " or ".join(str(count) for count in channels)
    axes = f"N, {text}, {height}, {width}" if axis == 1 else f"N, {height}, {width}, {text}"
    raise ManifestError(
        f"{subject(manifest)}: output {output.name!r} of shape ({axes})",
        got=_shape_text(shape),
        next_step="correct output.layout, output.activation or inputs.size_wh in the manifest",
    )


def verify_last_operator(graph: onnx.GraphProto, manifest: Manifest) -> None:
    """A network whose activation is missing must not end in one: it would be applied twice.

    Raises:
        ManifestError: ``output.activation`` is ``none`` and the output comes out of a Sigmoid or
            Softmax.
    """
    makers = {name: node for node in graph.node for name in node.output}
    node = makers.get(manifest.output.name)
    while node is not None and node.op_type in ONLY_RESHAPING:
        node = makers.get(node.input[0])
    if manifest.output.activation == "none" and node is not None and node.op_type in ACTIVATIONS:
        _refuse_activation("logits", f"the output of a {node.op_type}", manifest)


def verify_activation(raw: NDArray[Any], manifest: Manifest) -> None:
    """What the network gave for pictures is what its activation promises.

    A network whose softmax is missing or doubled still gives plausible pictures, so the
    manifest's word is checked: probabilities lie in 0..1, a softmax sums to 1, and logits do not
    look like a softmax.

    Args:
        raw: The network's output for some pictures, batch first. NaN is left to the engine's own
            check.
        manifest: Says what is already applied.

    Raises:
        ManifestError: The numbers are of another kind.
    """
    values = raw.astype(np.float64)
    if not np.isfinite(values).all():
        return
    activation = manifest.output.activation
    axis = 3 if manifest.output.layout == "NHWC" else 1
    in_range = bool(
        values.min() >= -_PROBABILITY_SLACK and values.max() <= 1.0 + _PROBABILITY_SLACK
    )
    sums_to_one = bool(np.abs(values.sum(axis=axis) - 1.0).max() <= _PROBABILITY_SLACK)
    several = values.shape[axis] > 1
    if activation == "none":
        if several and in_range and sums_to_one:
            _refuse_activation("logits", "values that sum to 1, as after a softmax", manifest)
        return
    span = f"values from {values.min():.3g} to {values.max():.3g}"
    if not in_range:
        _refuse_activation("probabilities", span, manifest)
    if activation == "softmax" and not sums_to_one:
        _refuse_activation("probabilities that sum to 1", span, manifest)


def _refuse_activation(expected: str, got: str, manifest: Manifest) -> None:
    raise ManifestError(
        f"{subject(manifest)}: {expected} from output {manifest.output.name!r}, as "
        f"output.activation {manifest.output.activation!r} says",
        got=got,
        next_step="correct output.activation in the manifest",
    )


def _allowed_channels(manifest: Manifest) -> tuple[int, ...]:
    return {"none": (1, 2), "sigmoid": (1,), "softmax": (2,)}[manifest.output.activation]


def _verify_label_count(shape: Sequence[int | None], manifest: Manifest) -> None:
    labels = len(manifest.output.labels)
    if _fits(shape, [None, labels]):
        return
    if len(shape) == 2:
        raise ManifestError(
            f"{subject(manifest)}: as many labels as output {manifest.output.name!r} has "
            f"columns, {shape[1]}",
            got=f"{labels} labels",
            next_step="correct output.labels in the manifest",
        )
    raise ManifestError(
        f"{subject(manifest)}: output {manifest.output.name!r} of shape (N, {labels})",
        got=_shape_text(shape),
        next_step="name the output with one row of class scores per picture in output.name",
    )


def _verify_input(value: onnx.ValueInfoProto, tensor: InputTensor, manifest: Manifest) -> None:
    element = value.type.tensor_type.elem_type
    if element != _ELEMENT[tensor.dtype]:
        raise ManifestError(
            f"{subject(manifest)}: input {tensor.name!r} of type {tensor.dtype}",
            got=_element_name(element),
            next_step="correct inputs.dtype in the manifest",
        )
    shape, wanted = _shape(value), _wanted_shape(tensor)
    if not _fits(shape, wanted):
        raise ManifestError(
            f"{subject(manifest)}: input {tensor.name!r} of shape {_shape_text(wanted)} "
            f"({tensor.layout}, roles {', '.join(tensor.roles)})",
            got=_shape_text(shape),
            next_step="correct inputs.size_wh, inputs.layout or inputs.roles in the manifest",
        )
    if shape[0] not in (None, 1):
        raise ManifestError(
            f"{subject(manifest)}: input {tensor.name!r} with an open batch or batch 1",
            got=f"batch {shape[0]}",
            next_step="export the network with an open batch",
        )


def _wanted_shape(tensor: InputTensor) -> list[Any]:
    width, height = tensor.size_wh
    if tensor.layout == "NCHW":
        return [None, tensor.channels, height, width]
    return [None, height, width, tensor.channels]


def _fits(shape: Sequence[int | None], wanted: Sequence[int | None]) -> bool:
    return len(shape) == len(wanted) and all(
        found is None or want is None or found == want
        for found, want in zip(shape, wanted, strict=True)
    )


def _shape(value: onnx.ValueInfoProto) -> Shape:
    dims = value.type.tensor_type.shape.dim
    return [dim.dim_value if dim.HasField("dim_value") else None for dim in dims]


def _shape_text(shape: Sequence[int | None]) -> str:
    axes = ["?" if length is None else str(length) for length in shape]
    if shape and shape[0] is None:
        axes[0] = "N"
    return f"({', '.join(axes)})"


def _element_name(element: int) -> str:
    names = {code: name for name, code in _ELEMENT.items()}
    return names.get(element) or str(TensorProto.DataType.Name(element)).lower()


def _names(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names) or "none"
