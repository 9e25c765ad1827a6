"""Small networks whose inner tensors a test can look at, and manifests made from a few words."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from models.manifest import Manifest
from models.offline import onnx_runtime
from packs_for_tests import changed, classifier_manifest, segmenter_manifest

SIZE_WH = (24, 16)
"""Not square, so that a swap of the axes shows."""

ELEMENTS = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "uint8": TensorProto.UINT8,
}


def segmentation(inputs: list[dict[str, Any]] | None = None, **changes: Any) -> Manifest:
    """A segmentation manifest for 24x16 pixels; ``changes`` as in ``packs_for_tests.change``."""
    table = segmenter_manifest(16)
    table["inputs"] = inputs or [input_table("image", ["rgb"])]
    return Manifest.model_validate(changed(table, **changes))


def classification(inputs: list[dict[str, Any]] | None = None, **changes: Any) -> Manifest:
    """A classification manifest for 24x16 pixels."""
    table = classifier_manifest(16, 6)
    table["inputs"] = inputs or [input_table("image", ["rgb"])]
    return Manifest.model_validate(changed(table, **changes))


def input_table(name: str, roles: list[str], **keys: Any) -> dict[str, Any]:
    """One ``[[inputs]]`` entry."""
    table = {"name": name, "roles": roles, "layout": "NCHW", "size_wh": SIZE_WH, "scale": 1 / 255}
    return {**table, **keys}


def input_shape(manifest: Manifest, index: int, batch: int | str = "N") -> list[int | str]:
    """Shape of an input as the manifest describes it."""
    tensor = manifest.inputs[index]
    width, height = tensor.size_wh
    if tensor.layout == "NCHW":
        return [batch, tensor.channels, height, width]
    return [batch, height, width, tensor.channels]


def model_of(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    weights: list[onnx.TensorProto] | None = None,
    *,
    opset: int = 17,
) -> bytes:
    """A checked ONNX file."""
    graph = helper.make_graph(nodes, "network", inputs, outputs, weights or [])
    imports = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=min(8, 10))
    onnx.checker.check_model(model)
    return model.SerializeToString()


def seeing_network(manifest: Manifest) -> bytes:
    """A segmenter that shows its inputs: tensor ``seen_<name>`` equals the input ``<name>``.

    The output ``logit`` [N,1,H,W] is the sum over the inputs of their mean over channels.
    """
    nodes, inputs, means = [], [], []
    for index, tensor in enumerate(manifest.inputs):
        name, element = tensor.name, ELEMENTS[tensor.dtype]
        shape = input_shape(manifest, index)
        inputs.append(helper.make_tensor_value_info(name, element, shape))
        nodes.append(helper.make_node("Identity", [name], [f"seen_{name}"], name=f"see_{name}"))
        source = f"wide_{name}"
        nodes.append(helper.make_node("Cast", [f"seen_{name}"], [source], to=TensorProto.FLOAT))
        if tensor.layout == "NHWC":
            source = f"channels_first_{name}"
            nodes.append(
                helper.make_node("Transpose", [f"wide_{name}"], [source], perm=[0, 3, 1, 2])
            )
        nodes.append(helper.make_node("ReduceMean", [source], [f"mean_{name}"], axes=[1]))
        means.append(f"mean_{name}")
    nodes.append(helper.make_node("Sum", means, ["logit"]))
    width, height = manifest.size_wh
    output = helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["N", 1, height, width])
    return model_of(nodes, inputs, [output])


def run_onnx(
    model: bytes | onnx.ModelProto, feeds: dict[str, np.ndarray], *tensors: str
) -> list[np.ndarray]:
    """Named tensors (by default all outputs) of a graph, inner ones included."""
    if isinstance(model, bytes):
        model = onnx.load_model_from_string(model)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    known = {value.name for value in copy.graph.output}
    copy.graph.output.extend(onnx.ValueInfoProto(name=t) for t in tensors if t not in known)
    session = onnx_runtime().InferenceSession(
        copy.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(list(tensors) or None, feeds)


def hard_pictures(seed: int = 0) -> np.ndarray:
    """uint8 (4, 16, 24, 3): noise; skin colours; near black; corners of the cube and greys."""
    width, height = SIZE_WH
    rng = np.random.default_rng(seed)
    shape = (height, width, 3)
    noise = rng.integers(0, 256, shape)
    skin = np.clip(rng.normal((190, 140, 115), 25, shape), 0, 255)
    dark = rng.integers(0, 4, shape)
    corners = rng.choice([0, 1, 254, 255], shape)
    corners[: height // 2] = rng.integers(0, 256, (height // 2, width, 1))
    return np.stack([noise, skin, dark, corners]).astype(np.uint8)


def sha256(content: bytes) -> str:
    """Hash of a file's content, in hex."""
    return hashlib.sha256(content).hexdigest()
