"""Reading a network as somebody exported it: is it ONNX, is it whole, which opset is it.

What comes out has no local functions, no initializers posing as inputs and, after
:func:`readable_network`, the standard opset between 11 and 19 and an IR version between 8 and 10:
what TensorRT 10.3 and the last ONNX Runtime for Python 3.10 on aarch64 both read.
"""

from __future__ import annotations

import onnx
from google.protobuf.message import DecodeError, EncodeError
from onnx import checker, inliner, version_converter

from convert.trial import CannotRunError, network_feeds, run_graph, same_numbers
from models.errors import ModelRefusedError
from models.manifest import Manifest

OPSET_MIN, OPSET_MAX = 11, 19
IR_MIN, IR_MAX = 8, 10

OUR_PREFIX = "dermedge/"
"""Everything that preparation adds to a graph has a name that begins so."""


def subject(manifest: Manifest) -> str:
    """How messages name a network: the model, and the file it came from."""
    return f"{manifest.name} ({manifest.onnx.file})"


def read_network(content: bytes, manifest: Manifest) -> onnx.ModelProto:
    """Parse and check an ONNX file; its opset may still be any.

    Raises:
        ModelRefusedError: The bytes are no ONNX model, the model is invalid, keeps weights in
            other files, or was prepared already.
    """
    model = _parsed(content, manifest)
    _refuse_external_data(model, manifest)
    try:
        checker.check_model(model)
    except (checker.ValidationError, EncodeError) as error:
        raise ModelRefusedError(
            f"{subject(manifest)}: a valid ONNX model",
            got=first_line(error),
            next_step="export the network again",
        ) from error
    _refuse_prepared(model, manifest)
    if model.functions:
        model = inliner.inline_local_functions(model)
    _forget_overridable_weights(model.graph)
    return model


def readable_network(model: onnx.ModelProto, manifest: Manifest) -> onnx.ModelProto:
    """The network in an opset (11 to 19) and IR (8 to 10) that every engine reads.

    A conversion is believed only if ONNX Runtime gets the same numbers before and after it.

    Raises:
        ModelRefusedError: The opset is another one and cannot be converted.
    """
    found = standard_opset(model)
    if not OPSET_MIN <= found <= OPSET_MAX:
        try:
            model = _converted(model, OPSET_MAX if found > OPSET_MAX else 13, manifest)
        except CannotRunError as error:
            raise ModelRefusedError(
                f"{subject(manifest)}: opset {OPSET_MIN} to {OPSET_MAX}",
                got=f"opset {found}, not convertible ({error})",
                next_step="export the network with opset 17",
            ) from error
    model.ir_version = min(max(model.ir_version, IR_MIN), IR_MAX)
    return model


def _converted(model: onnx.ModelProto, opset: int, manifest: Manifest) -> onnx.ModelProto:
    try:
        converted = version_converter.convert_version(model, opset)
        checker.check_model(converted)
    # The converter is C++ and raises whatever its adapters do; each means "not convertible".
    except (RuntimeError, ValueError, TypeError, checker.ValidationError) as error:
        # What precedes it is a place in the converter's own source.
        raise CannotRunError(first_line(error).rpartition("failed: ")[2]) from error
    feeds = network_feeds(manifest)
    before, after = run_graph(model, feeds), run_graph(converted, feeds)
    if not all(same_numbers(b, a) for b, a in zip(before, after, strict=True)):
        raise CannotRunError("the converted graph computes something else")
    return converted


def standard_opset(model: onnx.ModelProto) -> int:
    """Version of the standard operator set that the model imports; 0 where it imports none."""
    versions = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    return int(versions[0]) if versions else 0


def _parsed(content: bytes, manifest: Manifest) -> onnx.ModelProto:
    try:
        model = onnx.load_model_from_string(content)
        if model.graph.node:
            return model
        problem = f"{len(content)} bytes without any node"
    except (DecodeError, UnicodeDecodeError) as error:
        problem = f"{len(content)} bytes that are no ONNX ({first_line(error)})"
    if content.startswith(b"version https://git-lfs"):
        raise ModelRefusedError(
            f"{subject(manifest)}: an ONNX model",
            got="a pointer of Git LFS",
            next_step="fetch the file itself: git lfs pull",
        )
    raise ModelRefusedError(
        f"{subject(manifest)}: an ONNX model",
        got=problem,
        next_step="copy or export the file again",
    )


def _refuse_external_data(model: onnx.ModelProto, manifest: Manifest) -> None:
    in_nodes = [a.t for node in model.graph.node for a in node.attribute if a.HasField("t")]
    for tensor in (*model.graph.initializer, *in_nodes):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            where = {entry.key: entry.value for entry in tensor.external_data}.get("location", "?")
            raise ModelRefusedError(
                f"{subject(manifest)}: an ONNX file that holds its weights, so that one hash "
                "covers them",
                got=f"weights in another file ({where})",
                next_step="load it beside that file with onnx.load, and write it with onnx.save "
                "without external data",
            )


def _refuse_prepared(model: onnx.ModelProto, manifest: Manifest) -> None:
    if any(
        name.startswith(OUR_PREFIX)
        for node in model.graph.node
        for name in (node.name, *node.output)
    ):
        raise ModelRefusedError(
            f"{subject(manifest)}: the network as it was exported",
            got=f"a graph that was prepared already (names begin with {OUR_PREFIX})",
            next_step="name the original ONNX file in the manifest",
        )


def _forget_overridable_weights(graph: onnx.GraphProto) -> None:
    """Initializers that are also graph inputs (IR 3 demanded it) become plain constants."""
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    del graph.input[:]
    graph.input.extend(inputs)


def first_line(error: Exception) -> str:
    """The first line of an error from a library, short enough for one line of ours."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    return text if len(text) <= 160 else text[:157] + "..."
