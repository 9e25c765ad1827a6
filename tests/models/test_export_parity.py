"""What torch computed, ONNX Runtime computes: on committed tiny exports, without torch.

`tests/train/make_tiny.py` makes the files; `make test-train` proves that they can be made again.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from models.offline import onnx_runtime

DATA = Path(__file__).parent / "data"
NAMES = ("tiny_unet", "tiny_efficientnet")
TOLERANCE = 1e-4
"""Of a logit; those here are of the order of 1."""


def _run(content: bytes, image: np.ndarray) -> np.ndarray:
    session = onnx_runtime().InferenceSession(content, providers=["CPUExecutionProvider"])
    return session.run(["logits"], {"image": image})[0]


@pytest.mark.parametrize("name", NAMES)
def test_onnx_runtime_gives_torchs_numbers(name: str) -> None:
    content = (DATA / f"{name}.onnx").read_bytes()
    with np.load(DATA / f"{name}.npz") as saved:
        image, logits = saved["image"], saved["logits"]
    assert np.ptp(logits) > 0.1, "the recorded answer must not be constant"
    np.testing.assert_allclose(_run(content, image), logits, atol=TOLERANCE)
    np.testing.assert_allclose(_run(content, image[1:]), logits[1:], atol=TOLERANCE)


@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_weight_shows(name: str) -> None:
    model = onnx.load(str(DATA / f"{name}.onnx"))
    weights = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    values = onnx.numpy_helper.to_array(weights).copy()
    values += 0.05
    weights.CopyFrom(onnx.numpy_helper.from_array(values, weights.name))
    with np.load(DATA / f"{name}.npz") as saved:
        difference = np.abs(_run(model.SerializeToString(), saved["image"]) - saved["logits"])
    assert difference.max() > 10 * TOLERANCE


@pytest.mark.parametrize("name", NAMES)
def test_graphs_are_plain_small_and_old_enough(name: str) -> None:
    path = DATA / f"{name}.onnx"
    assert path.stat().st_size < 200_000
    model = onnx.load(str(path))
    assert model.ir_version <= 10
    assert [(entry.domain, entry.version <= 19) for entry in model.opset_import] == [("", True)]
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"
    plain = {
        "tiny_unet": {"Conv", "Elu", "BatchNormalization", "Add", "ConvTranspose", "Concat"},
        "tiny_efficientnet": {
            "Conv", "Sigmoid", "Mul", "Add", "GlobalAveragePool", "Flatten", "Gemm",
        },
    }  # fmt: skip
    assert {node.op_type for node in model.graph.node} == plain[name]


def test_shortcut_norms_are_folded() -> None:
    """One norm stays in each of the tiny U-Net's five blocks; the shortcuts' five are gone."""
    kinds = [node.op_type for node in onnx.load(str(DATA / "tiny_unet.onnx")).graph.node]
    assert kinds.count("BatchNormalization") == 5
