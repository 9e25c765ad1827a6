"""Would a device's TensorRT take this graph? Asked at a desk, before any device is touched.

:func:`check_graph` looks at any graph, :func:`check_model` at a model as somebody exported it, at
its manifest, and at the graph that a device would compile from them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence

import onnx
from google.protobuf.message import EncodeError
from onnx import checker

from convert.cache import prepared_path
from convert.check_operators import check_operator_names, check_operator_use
from convert.check_quantized import check_quantized
from convert.check_shapes import check_shapes
from convert.check_types import check_external_data, check_types
from convert.description import describe
from convert.examined_graph import ContradictionError, ExaminedGraph, called, examine, subgraphs
from convert.finding import Finding, error, warning
from convert.network import IR_MAX, first_line, read_network, standard_opset
from convert.precision import graph_for
from convert.targets import Target
from convert.verify import verify_inputs, verify_last_operator, verify_output_name
from edge.engine_card import Precision
from models.errors import ModelRefusedError
from models.manifest import Manifest, Model

__all__ = ["Finding", "check_graph", "check_model"]

# How ONNX's checker, its inference of shapes and ONNX Runtime name the node that they speak of.
_NODE_NAME = re.compile(r"\b[Nn]ame: (.+) OpType:|node name: (.+?)\): |\bName:'(.+?)'")


def check_graph(
    graph: onnx.ModelProto, target: Target, *, exclude: Sequence[str] = ()
) -> list[Finding]:
    """Everything in a graph that the target's TensorRT would refuse or get wrong.

    Args:
        graph: A graph to be compiled, in any precision; left as it is.
        target: The device's TensorRT.
        exclude: Names of the nodes that stay out of INT8, from the manifest's ``[quantize]``.

    Returns:
        Errors and warnings; none where there is nothing to say.
    """
    model = _with_names(graph)
    findings = [*_check_versions(model, target), *check_operator_names(model.graph, target)]
    broken = list(check_external_data(model.graph)) or _check_validity(model)
    if broken:
        return [*findings, *broken]
    examined, contradictions = _examined(model)
    findings += [*contradictions, *check_operator_use(examined, target)]
    findings += check_types(examined, target)
    if not contradictions:
        findings += check_shapes(examined, target)
    findings += check_quantized(examined, target, exclude)
    return list(dict.fromkeys(findings))


def check_model(
    model: Model,
    target: Target,
    precision: Precision = "fp32",
    ranges: Mapping[str, float] | None = None,
) -> list[Finding]:
    """Everything in a model, its manifest and its prepared graph that a device would refuse.

    The prepared graph comes from the cache, or is made now and kept there.

    Args:
        model: Its ONNX file is read and its hash checked.
        target: The device's TensorRT.
        precision: Of the graph that the device would compile.
        ranges: For ``int8``: what its calibration measured.

    Returns:
        Errors and warnings, as of :func:`check_graph`.

    Raises:
        ManifestError: The ONNX file is missing, or is another one than the manifest names.
        InputError: The prepared graph cannot be written anywhere.
    """
    content, manifest = model.read_onnx(), model.manifest
    try:
        prepared = onnx.load(str(prepared_path(model)))
    except ModelRefusedError as refused:
        return list(_why_not_prepared(content, manifest, target, refused))
    findings = list(_check_manifest(prepared, manifest))
    try:
        graph = graph_for(model, prepared, precision, ranges)
    except ModelRefusedError as refused:
        findings.append(_as_finding(refused, manifest))
        graph = prepared
    return findings + check_graph(graph, target, exclude=manifest.quantize.exclude)


# --- the model ----------------------------------------------------------------------------------


def _why_not_prepared(
    content: bytes, manifest: Manifest, target: Target, refused: ModelRefusedError
) -> Iterator[Finding]:
    """What is wrong with the network as exported: all that can be told, not only the first."""
    try:
        network = read_network(content, manifest)
    except ModelRefusedError as unreadable:
        yield _as_finding(unreadable, manifest)
        return
    disagreements = []
    for verify in (verify_inputs, verify_output_name, verify_last_operator):
        try:
            verify(network.graph, manifest)
        except ModelRefusedError as disagreement:
            disagreements.append(_as_finding(disagreement, manifest))
    if disagreements:
        yield from disagreements
    else:
        # ONNX Runtime has names of its own for nodes that it joined.
        yield _as_finding(refused, manifest, {node.name for node in network.graph.node})
    yield from check_operator_names(network.graph, target)


def _as_finding(
    refused: ModelRefusedError, manifest: Manifest, known: Collection[str] | None = None
) -> Finding:
    """An error as a finding: of the node that its cause names, or else of the whole file."""
    where = _named_node(str(refused.__cause__ or ""))
    if not where or (known is not None and where not in known):
        where = manifest.onnx.file
    return error(where, f"expected {refused.expected}; got {refused.got}", refused.next_step)


def _check_manifest(prepared: onnx.ModelProto, manifest: Manifest) -> Iterator[Finding]:
    """What a manifest asks of the prepared graph that it does not have."""
    names = {node.name for node in prepared.graph.node}
    for name in manifest.quantize.exclude:
        if name not in names:
            yield error(
                name,
                "a node in [quantize] exclude that the graph does not have",
                "correct quantize.exclude in the manifest",
            )
    facts = describe(prepared)
    if facts.batch == 1 and manifest.max_batch > 1:
        yield warning(
            manifest.onnx.file,
            f"max_batch is {manifest.max_batch}, but the graph takes one picture at a time "
            f"({facts.batch_reason})",
            "export the network with an open batch, or set max_batch to 1 in the manifest",
        )


# --- the graph ----------------------------------------------------------------------------------


def _check_versions(model: onnx.ModelProto, target: Target) -> Iterator[Finding]:
    opset, name = standard_opset(model), model.graph.name or "graph"
    if not target.opset_min <= opset <= target.opset_max:
        yield error(
            name,
            f"opset {opset}, where TensorRT {target.tensorrt} reads {target.opset_min} to "
            f"{target.opset_max}",
            "export the network with opset 17",
        )
    if model.ir_version > IR_MAX:
        yield error(
            name,
            f"IR version {model.ir_version}, where the devices' ONNX Runtime reads {IR_MAX} at "
            "most",
            f"export the network again with an IR version up to {IR_MAX}",
        )


def _check_validity(model: onnx.ModelProto) -> list[Finding]:
    try:
        checker.check_model(model)
    except (checker.ValidationError, EncodeError) as invalid:
        return [_invalid(invalid, model)]
    return []


def _examined(model: onnx.ModelProto) -> tuple[ExaminedGraph, list[Finding]]:
    """The graph with as many types and shapes as can be told, and where they do not fit."""
    try:
        return examine(model, strict=True), []
    except ContradictionError as problem:
        contradictions = [_invalid(problem, model)]
    try:
        return examine(model, strict=False), contradictions
    except ContradictionError:
        return ExaminedGraph(model.graph, standard_opset(model)), contradictions


def _invalid(problem: Exception, model: onnx.ModelProto) -> Finding:
    reason = re.sub(
        r"\[\w+Error\] |Inference error\(s\): |\(op_type:.+?\): ", "", first_line(problem)
    )
    return error(
        _named_node(str(problem)) or model.graph.name or "graph",
        f"no valid ONNX ({reason})",
        "export the network again",
    )


def _named_node(text: str) -> str:
    """The node that an error of a library speaks of, or an empty string."""
    found = _NODE_NAME.search(text)
    return next(part for part in found.groups() if part) if found else ""


def _with_names(graph: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which every node has a name, so that whoever complains can use it."""
    model = onnx.ModelProto()
    model.CopyFrom(graph)
    waiting = [model.graph]
    while waiting:
        for node in waiting.pop().node:
            node.name = called(node)
            waiting += subgraphs(node)
    return model
