"""From a network as it was exported to the graph that every engine runs.

    rgb uint8 [N,H,W,3] -> front -> the network, untouched -> back -> one float32 output

The front is :mod:`convert.front` (cast, pigment separation, scaling, layout), the back
:mod:`convert.back` (missing activation, temperature). Nothing is computed on network inputs or
outputs anywhere else, so every engine gets the same numbers.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, checker, helper

from convert.back import output_name, write_back
from convert.batch import free_batch, set_batch
from convert.description import write_notes
from convert.front import write_front
from convert.graph_writer import GraphWriter
from convert.network import (
    OUR_PREFIX,
    read_network,
    readable_network,
    subject,
)
from convert.optimize_cpu import optimized_for_cpu
from convert.rewrites import (
    cancel_transposes,
    prune,
    rename_tensor,
    replace_uses,
    skip_uint8_round_trips,
    tensor_names,
)
from convert.trial import (
    CannotRunError,
    TrialSession,
    network_feeds,
    run_graph,
    same_numbers,
    trial_pictures,
)
from convert.verify import (
    impose_input_sizes,
    inferred_output,
    verify_activation,
    verify_inputs,
    verify_last_operator,
    verify_output,
    verify_output_name,
)
from models.errors import ModelRefusedError
from models.manifest import Manifest

INPUT_NAME = "rgb"
_TRIAL_BATCH = 4

log = logging.getLogger(__name__)


def prepare_model(onnx_bytes: bytes, manifest: Manifest) -> onnx.ModelProto:
    """Make the graph that engines run, and prove that it runs.

    The result takes ``rgb`` uint8 [N,H,W,3] and gives ``probability`` float32 [N,H,W] or
    ``probabilities`` float32 [N,C]. N is open if ONNX Runtime gets the same numbers for a batch
    of four as for its four pictures one by one, and 1 otherwise. Deterministic: the same bytes
    and manifest give the same graph.

    Args:
        onnx_bytes: The network as exported; fits the manifest's hash (``Model.read_onnx``).
        manifest: Describes it.

    Raises:
        ModelRefusedError: The bytes are no usable ONNX, or ONNX Runtime cannot run the graph.
        ManifestError: Graph and manifest disagree.
    """
    network = read_network(onnx_bytes, manifest)
    verify_inputs(network.graph, manifest)
    verify_output_name(network.graph, manifest)
    verify_last_operator(network.graph, manifest)
    _keep_one_output(network.graph, manifest.output.name)
    network = readable_network(network, manifest)
    impose_input_sizes(network.graph, manifest)
    set_batch(network.graph, dynamic=False)
    shape, element = _network_output(network, manifest)
    verify_output(shape, element, manifest)

    freed = onnx.ModelProto()
    freed.CopyFrom(network)
    free_batch(freed)
    single = _assembled(network, manifest, shape, element)
    dynamic = _assembled(freed, manifest, shape, element)
    set_batch(dynamic.model.graph, dynamic=True)
    reason = _try(single, dynamic, manifest)
    model = single.model if reason else dynamic.model
    checker.check_model(model)
    write_notes(model, hashlib.sha256(onnx_bytes).hexdigest(), manifest, reason)
    return model


def faster_on_cpu(model: onnx.ModelProto) -> onnx.ModelProto:
    """The prepared graph rewritten for CPU kernels, if it then still gives the same numbers.

    Args:
        model: From :func:`prepare_model`.

    Returns:
        The rewritten graph, or ``model`` itself, with a warning, where a trial run of the
        rewritten one fails or differs by more than a thousandth of the largest probability.
    """
    optimized = optimized_for_cpu(model)
    batch, height, width, _ = (
        dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim
    )
    pictures = trial_pictures((width, height), _TRIAL_BATCH)
    try:
        plain, fast = TrialSession(model), TrialSession(optimized)
        for pixels in (pictures[:1], pictures[1:2] if batch == 1 else pictures):
            feeds = {INPUT_NAME: pixels}
            if not same_numbers(plain.run(feeds)[0], fast.run(feeds)[0], relative=1e-3):
                raise CannotRunError("it gives other numbers")
    except CannotRunError as error:
        log.warning("the graph is used without the rewrites for CPUs: %s", error)
        return model
    return optimized


# --- assembling ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Assembled:
    """A whole graph, and the name that the network's own output has in it."""

    model: onnx.ModelProto
    raw: str


def _network_output(network: onnx.ModelProto, manifest: Manifest) -> tuple[list[int], int]:
    """Shape (for batch 1) and element type of the network's output."""
    inferred, element = inferred_output(network, manifest.output.name)
    known = [length for length in inferred if length is not None]
    if inferred and len(known) == len(inferred):
        return known, element
    # Sizes computed inside the graph: one run says what inference cannot.
    try:
        (found,) = run_graph(network, network_feeds(manifest))
    except CannotRunError as error:
        raise _cannot_run(manifest, error) from error
    return list(found.shape), helper.np_dtype_to_tensor_dtype(found.dtype)


def _assembled(
    network: onnx.ModelProto, manifest: Manifest, shape: list[int], element: int
) -> _Assembled:
    """Front, network and back in one graph of batch 1; ``network`` is left as it is."""
    model = onnx.ModelProto()
    model.CopyFrom(network)
    graph = model.graph
    final = output_name(manifest)
    inputs = {tensor.name for tensor in manifest.inputs}
    for taken in sorted({INPUT_NAME, final} & (tensor_names(graph) - inputs)):
        rename_tensor(graph, taken, f"{OUR_PREFIX}network/{taken}")

    writer = GraphWriter()
    replace_uses(graph, write_front(writer, graph, manifest, INPUT_NAME))
    front_end = len(writer.nodes)
    axis = 3 if manifest.output.layout == "NHWC" else 1
    raw = graph.output[0].name
    last = write_back(writer, manifest, raw, raw_element=element, channels=shape[axis])
    nodes = [*writer.nodes[:front_end], *graph.node, *writer.nodes[front_end:]]
    del graph.node[:], graph.input[:], graph.output[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.initializer.extend(writer.constants)

    width, height = manifest.size_wh
    image = helper.make_tensor_value_info(INPUT_NAME, TensorProto.UINT8, [1, height, width, 3])
    final_shape = [1, height, width] if manifest.task == "segmentation" else shape
    graph.input.append(image)
    graph.output.append(helper.make_tensor_value_info(last, TensorProto.FLOAT, final_shape))
    rename_tensor(graph, last, final)
    for tensor in (t for t in manifest.inputs if t.dtype == "uint8"):
        skip_uint8_round_trips(graph, f"{OUR_PREFIX}{tensor.name}/uint8")
    cancel_transposes(graph)
    prune(graph)
    return _Assembled(model, final if raw == last else raw)


def _keep_one_output(graph: onnx.GraphProto, name: str) -> None:
    kept = [value for value in graph.output if value.name == name]
    del graph.output[:]
    graph.output.extend(kept)


# --- trying -------------------------------------------------------------------------------------


def _try(single: _Assembled, dynamic: _Assembled, manifest: Manifest) -> str:
    """Run both graphs on the same pictures; why the batch must stay 1, or an empty string.

    Raises:
        ModelRefusedError: The graph for one picture does not run.
        ManifestError: Its output is not what the manifest describes.
    """
    pictures = trial_pictures(manifest.size_wh, _TRIAL_BATCH)
    try:
        session = TrialSession(_with_raw_output(single))
        answers = [session.run({INPUT_NAME: picture[np.newaxis]}) for picture in pictures]
    except CannotRunError as error:
        raise _cannot_run(manifest, error) from error
    del session
    expected = [np.concatenate(parts) for parts in zip(*answers, strict=True)]
    raw = expected[-1]
    verify_output([None, *raw.shape[1:]], helper.np_dtype_to_tensor_dtype(raw.dtype), manifest)
    verify_activation(raw, manifest)
    try:
        found = run_graph(_with_raw_output(dynamic), {INPUT_NAME: pictures})
    except CannotRunError as error:
        return f"a batch of {_TRIAL_BATCH} does not run: {error}"
    if all(same_numbers(e, f) for e, f in zip(expected, found, strict=True)):
        return ""
    return f"a batch of {_TRIAL_BATCH} gives other numbers than its pictures one by one"


def _with_raw_output(assembled: _Assembled) -> onnx.ModelProto:
    """The graph with the network's own output as last output, where that is another tensor."""
    if assembled.raw == assembled.model.graph.output[0].name:
        return assembled.model
    model = onnx.ModelProto()
    model.CopyFrom(assembled.model)
    # ONNX Runtime infers the type; a value without one is allowed only here, not in a file.
    model.graph.output.append(onnx.ValueInfoProto(name=assembled.raw))
    return model


def _cannot_run(manifest: Manifest, error: CannotRunError) -> ModelRefusedError:
    return ModelRefusedError(
        f"{subject(manifest)}: a graph that ONNX Runtime can run",
        got=str(error),
        next_step="export the network again, with standard operators of opset 17",
    )
