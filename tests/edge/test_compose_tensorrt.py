"""Which backend runs, on the stand-ins: TensorRT where both engines are trusted, and why not."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from engine_cards_for_tests import card_of, use

from convert.cache import prepared_path
from edge.compose import check_backend, open_engines
from edge.engine_card import (
    DeviceFacts,
    EngineCard,
    Part,
)
from edge.engine_folder import ModelEngines
from edge.errors import DermedgeError, ModelRefusedError, RequestError
from models.manifest import Model, Pack, load_pack
from standin_for_tests import Standin, alive, build_engine

PARTS: tuple[Part, ...] = ("segmenter", "classifier")

Change = Callable[[EngineCard], EngineCard]


@pytest.fixture
def gpu_here(standin_here: Standin, monkeypatch: pytest.MonkeyPatch) -> Iterator[Standin]:
    # Earlier tests may have loaded the other binding, or an engine on another TensorRT.
    monkeypatch.setitem(sys.modules, "pycuda", None)
    monkeypatch.delitem(sys.modules, "edge.engines.tensorrt", raising=False)
    yield standin_here
    assert alive(standin_here.counters()) == {}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DERMEDGE_ENGINES", str(tmp_path / "engines"))
    return tmp_path / "engines"


def here() -> DeviceFacts:
    import tensorrt as trt

    from edge.engines.cuda import open_cuda
    from edge.engines.this_device import device_facts

    with open_cuda() as cuda:
        return device_facts(cuda, trt.__version__)


def engine_of(
    pack: Pack, part: Part, root: Path, change: Change = lambda its_card: its_card
) -> Path:
    """Build and choose an engine; its file."""
    model: Model = getattr(pack, part)
    content = build_engine(prepared_path(model).read_bytes())
    its_card = change(card_of(pack, part, content, here()))
    folder = ModelEngines(root, model.manifest.name, model.manifest.onnx.sha256)
    return use(folder, its_card, content)


@pytest.fixture
def pack(tiny_pack: Path) -> Pack:
    return load_pack(tiny_pack)


def backends(pack: Pack, backend: str = "auto") -> set[str]:
    with open_engines(pack, backend, threads=1) as engines:
        pixels = np.zeros((1, 96, 96, 3), np.uint8)
        for engine in engines:
            (answer,) = engine.infer({"rgb": pixels}).values()
            assert np.isfinite(answer).all()
        return {engine.identity.backend for engine in engines}


@pytest.mark.parametrize("backend", ["auto", "tensorrt"])
def test_engines_that_have_passed_are_used(
    gpu_here: Standin, root: Path, pack: Pack, caplog: pytest.LogCaptureFixture, backend: str
) -> None:
    caplog.set_level("INFO", "dermedge.backend")
    files = [engine_of(pack, part, root) for part in PARTS]
    with open_engines(pack, backend) as engines:
        for engine, file in zip(engines, files, strict=True):
            identity = engine.identity
            assert (identity.backend, identity.precision) == ("tensorrt", "fp16")
            assert identity.engine_sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    said = ["backend: tensorrt, both engines have passed on this device"]
    assert caplog.messages == (said if backend == "auto" else [])


def with_device(**facts: object) -> Change:
    return lambda c: c.model_copy(update={"device": c.device.model_copy(update=facts)})


def with_model(**facts: object) -> Change:
    return lambda c: c.model_copy(update={"model": c.model.model_copy(update=facts)})


def with_verdict(**facts: object) -> Change:
    def change(c: EngineCard) -> EngineCard:
        assert c.gate is not None
        return c.model_copy(update={"gate": c.gate.model_copy(update=facts)})

    return change


REFUSED: dict[str, tuple[Change, str]] = {
    "other GPU": (with_device(gpu_name="Thor"), "built for GPU Thor, this device has Orin"),
    "other TensorRT": (with_device(tensorrt="9.0.0.1"), "built for TensorRT 9.0.0.1"),
    "other program": (with_model(plain_sha256="0" * 64), "by another version of dermedge"),
    "other rules": (with_verdict(judged_under="0" * 64), "under other rules of the manifests"),
    "other manifest": (with_model(graph_key="{}"), "was built from another manifest"),
    "other ONNX": (with_model(onnx_sha256="0" * 64), "was built from another ONNX file"),
    "refused": (with_verdict(passed=False, reasons=("it is blank",)), "it is blank"),
    "not judged": (lambda c: c.model_copy(update={"gate": None}), "the gate has not judged it"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_one_engine_that_is_not_trusted_is_enough(
    gpu_here: Standin, root: Path, pack: Pack, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    change, words = REFUSED[kind]
    engine_of(pack, "segmenter", root)
    engine_of(pack, "classifier", root, change)
    with pytest.raises(ModelRefusedError, match=words) as caught:
        backends(pack, "tensorrt")
    assert caught.value.exit_code == 4 and "dermedge-convert" in caught.value.next_step
    caplog.set_level("INFO", "dermedge.backend")
    assert backends(pack) <= {"onnx", "openvino"}
    (line,) = caplog.messages
    assert words in line and ", because " in line


@pytest.mark.parametrize("damage", [b"", b"\0" * 100], ids=["empty", "zeros"])
def test_a_damaged_engine_is_not_used(
    gpu_here: Standin, root: Path, pack: Pack, damage: bytes
) -> None:
    engine_of(pack, "segmenter", root)
    engine_of(pack, "classifier", root).write_bytes(damage)
    with pytest.raises(ModelRefusedError, match="another file than its card says, or cut off"):
        backends(pack, "tensorrt")
    assert backends(pack) <= {"onnx", "openvino"}


def test_a_gpu_that_is_gone_leaves_the_processor(
    gpu_here: Standin, root: Path, pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in PARTS:
        engine_of(pack, part, root)
    monkeypatch.setenv("STANDIN_FAIL_INIT", "100")
    with pytest.raises(ModelRefusedError, match="an NVIDIA GPU and its driver"):
        backends(pack, "tensorrt")
    assert backends(pack) <= {"onnx", "openvino"}


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("raise ImportError('libnvinfer.so.10: cannot open shared object file')", "libnvinfer"),
        ("__version__ = '8.6.2'", "TensorRT 8.6.2, older than 10.3"),
    ],
)
def test_a_tensorrt_that_cannot_be_used_is_one_line(
    gpu_here: Standin,
    root: Path,
    pack: Pack,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    module: str,
    words: str,
) -> None:
    for part in PARTS:
        engine_of(pack, part, root)
    (tmp_path / "tensorrt.py").write_text(module + "\nclass ILogger: pass\n")
    for name in [n for n in sys.modules if n.partition(".")[0] == "tensorrt"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "edge.engines.tensorrt", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    # Whatever of it is loaded, the end of the test takes it away.
    monkeypatch.setitem(sys.modules, "tensorrt", ModuleType("tensorrt"))
    del sys.modules["tensorrt"]
    check_backend("tensorrt")  # it is there
    with pytest.raises(RequestError, match=words) as caught:
        backends(pack, "tensorrt")
    assert caught.value.exit_code == 2 and isinstance(caught.value, DermedgeError)
    assert backends(pack) <= {"onnx", "openvino"}
