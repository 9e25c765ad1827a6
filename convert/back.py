"""The nodes behind a network: the activation that it lacks, and the one output that engines give.

Segmentation: ``probability`` float32 [N,H,W]; classification: ``probabilities`` float32 [N,C].
"""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from convert.graph_writer import GraphWriter
from models.manifest import Manifest

# Below every probability that a float32 softmax of sane logits gives, above underflow.
_PROBABILITY_MIN = 1e-30


def output_name(manifest: Manifest) -> str:
    """Name of a prepared graph's only output."""
    return "probability" if manifest.task == "segmentation" else "probabilities"


def write_back(
    writer: GraphWriter, manifest: Manifest, raw: str, *, raw_element: int, channels: int
) -> str:
    """Write the nodes from the network's output to the prepared graph's.

    Args:
        writer: Takes the nodes.
        manifest: Says what the network has already applied.
        raw: Name of the network's output.
        raw_element: Its element type; float16 is widened first.
        channels: Its channels (segmentation: 1 or 2) or classes.

    Returns:
        Name of the tensor that is the prepared output: ``raw`` itself where nothing is missing.
    """
    if raw_element != TensorProto.FLOAT:
        raw = writer.add("Cast", [raw], "output/float32", to=TensorProto.FLOAT)
    if manifest.task == "segmentation":
        return _write_segmentation(writer, manifest, raw, channels)
    return _write_classification(writer, manifest, raw)


def _write_segmentation(writer: GraphWriter, manifest: Manifest, raw: str, channels: int) -> str:
    output = manifest.output
    axis = 1 if output.layout == "NCHW" else 3
    if channels == 1:
        width, height = manifest.size_wh
        shape = writer.constant(np.array([-1, height, width], np.int64))
        plane = writer.add("Reshape", [raw, shape], "output/plane")
    else:
        plane = _channel(writer, raw, 1, axis)
        if output.activation == "none":
            # Softmax of two channels is the sigmoid of their difference.
            plane = writer.add("Sub", [plane, _channel(writer, raw, 0, axis)], "output/difference")
    if output.activation == "none":
        plane = writer.add("Sigmoid", [plane], "output/sigmoid")
    return plane


def _channel(writer: GraphWriter, raw: str, index: int, axis: int) -> str:
    chosen = writer.constant(np.array(index, np.int64))
    return writer.add("Gather", [raw, chosen], f"output/channel_{index}", axis=axis)


def _write_classification(writer: GraphWriter, manifest: Manifest, raw: str) -> str:
    temperature = 1.0 if manifest.decision is None else manifest.decision.temperature
    logits = raw
    if manifest.output.activation == "softmax":
        if temperature == 1.0:
            return raw
        # Logits up to a constant, which softmax does not see.
        floor = writer.constant(np.float32(_PROBABILITY_MIN))
        floored = writer.add("Max", [raw, floor], "output/floor")
        logits = writer.add("Log", [floored], "output/logits")
    if temperature != 1.0:
        inverse = writer.constant(np.float32(1.0 / temperature))
        logits = writer.add("Mul", [logits, inverse], "output/temperature")
    return writer.add("Softmax", [logits], "output/softmax", axis=1)
