"""The composition root: a pack becomes engines and an analyzer; other requests are refused."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from convert.trial import trial_pictures
from edge import compose
from edge.compose import CPU_BATCH, open_analyzer, open_engines
from edge.errors import ManifestError, ModelRefusedError, RequestError
from models.manifest import load_pack
from packs_for_tests import write_pack

HAS_OPENVINO = importlib.util.find_spec("openvino") is not None


@pytest.mark.parametrize(
    "backend",
    [
        "auto",
        "onnx",
        pytest.param(
            "openvino",
            marks=pytest.mark.skipif(not HAS_OPENVINO, reason="the extra openvino is not here"),
        ),
    ],
)
def test_engines_of_a_pack(tiny_pack: Path, backend: str) -> None:
    pack = load_pack(tiny_pack)
    expected = ("openvino" if HAS_OPENVINO else "onnx") if backend == "auto" else backend
    with open_engines(pack, backend, threads=1) as (segmenter, classifier):
        assert segmenter.identity.name == "tiny-segmenter"
        assert segmenter.identity.backend == expected
        assert segmenter.identity.precision == "fp32"
        assert segmenter.identity.model_sha256 == pack.segmenter.manifest.onnx.sha256
        assert segmenter.input_size_wh == classifier.input_size_wh == (96, 96)
        assert segmenter.max_batch == classifier.max_batch == CPU_BATCH
        pictures = trial_pictures((96, 96), CPU_BATCH)
        mask = segmenter.infer({"rgb": pictures})["probability"]
        classes = classifier.infer({"rgb": pictures})["probabilities"]
        assert (mask.shape, mask.dtype) == ((CPU_BATCH, 96, 96), np.float32)
        assert (classes.shape, classes.dtype) == ((CPU_BATCH, 6), np.float32)
        np.testing.assert_allclose(classes.sum(axis=1), 1.0, atol=1e-5)
    with pytest.raises(ModelRefusedError, match="closed"):
        segmenter.infer({"rgb": pictures})


def test_an_analyzer_of_a_pack(tiny_pack: Path) -> None:
    with open_analyzer(load_pack(tiny_pack), threads=1) as analyzer:
        assert type(analyzer).__name__ == "Analyzer"


@pytest.mark.parametrize(
    ("absent", "words"),
    [("tensorrt", "TensorRT is not installed"), ("binding", "neither pycuda nor cuda-python")],
)
def test_tensorrt_that_is_not_installed_is_a_wrong_request(
    tiny_pack: Path, monkeypatch: pytest.MonkeyPatch, absent: str, words: str
) -> None:
    found = compose.importlib.util.find_spec

    def find_spec(name: str) -> object:
        if name == "tensorrt":
            return None if absent == "tensorrt" else object()
        return found(name)

    monkeypatch.setattr(compose.importlib.util, "find_spec", find_spec)
    monkeypatch.setattr(compose, "has_binding", lambda: False)
    with pytest.raises(RequestError, match=words) as caught:
        open_engines(load_pack(tiny_pack), "tensorrt").__enter__()
    assert caught.value.exit_code == 2 and "dermedge doctor" in str(caught.value)


def test_auto_says_what_runs_and_why(
    tiny_pack: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO", "dermedge.backend")
    monkeypatch.setattr(compose, "why_no_tensorrt", lambda: "TensorRT is not installed")
    monkeypatch.setattr(compose, "_has_openvino", lambda: False)
    with open_engines(load_pack(tiny_pack)):
        pass
    monkeypatch.setattr(compose, "why_no_tensorrt", lambda: "")
    monkeypatch.setenv("DERMEDGE_ENGINES", str(tiny_pack / "none"))
    with open_engines(load_pack(tiny_pack)):
        pass
    assert caplog.messages == [
        "backend: onnx, because TensorRT is not installed",
        "backend: onnx, because no engine was built for tiny-segmenter",
    ]


def test_an_extra_that_is_missing_is_named(
    tiny_pack: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compose, "_has_openvino", lambda: False)
    with pytest.raises(RequestError) as caught:
        open_engines(load_pack(tiny_pack), "openvino").__enter__()
    assert str(caught.value) == (
        "expected the module openvino for --backend openvino; got none; "
        "in dermedge's folder: pip install '.[openvino]'"
    )
    with open_engines(load_pack(tiny_pack), "auto") as (segmenter, _):
        assert segmenter.identity.backend == "onnx"


def test_an_unknown_backend(tiny_pack: Path) -> None:
    with pytest.raises(RequestError, match="got 'cuda'; use --backend onnx") as caught:
        open_engines(load_pack(tiny_pack), "cuda").__enter__()
    assert caught.value.exit_code == 2


def test_a_pack_without_its_weights(tmp_path: Path) -> None:
    """A template: manifests without ONNX files."""
    folder = write_pack(tmp_path)
    (folder / "classifier.onnx").unlink()
    with pytest.raises(ManifestError, match="classifier.onnx; got No such file"):
        open_engines(load_pack(folder)).__enter__()


def test_a_network_that_keeps_batch_one_is_offered_as_such(tmp_path: Path) -> None:
    """The analyzer then runs it once for each region."""
    from onnx import TensorProto, helper

    shape = ["N", 3, 96, 96]
    nodes = [
        # Every answer depends on the whole batch.
        helper.make_node("ReduceMean", ["image"], ["colour"], axes=[0, 2, 3], keepdims=1),
        helper.make_node("ReduceMean", ["image"], ["own"], axes=[2, 3], keepdims=1),
        helper.make_node("Sub", ["own", "colour"], ["difference"]),
        helper.make_node("Sum", ["difference", "own"], ["both"]),
        helper.make_node("Flatten", ["both"], ["logits"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    folder = write_pack(tmp_path, classes=3, classifier_onnx=model.SerializeToString())
    with open_engines(load_pack(folder), threads=1) as (_, classifier):
        assert classifier.max_batch == 1
        with pytest.raises(ModelRefusedError):
            classifier.infer({"rgb": trial_pictures((96, 96), 2)})


def test_engines_load_no_training_and_no_hardware_library() -> None:
    script = (
        "import sys, edge.compose\n"
        "print(sorted({'torch', 'tensorrt', 'pycuda', 'gi', 'picamera2'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
