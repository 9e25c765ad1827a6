"""TensorRT engines on the stand-ins: trusted only with their card, exact, and released in order."""

from __future__ import annotations

import hashlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_cards_for_tests import PASSED, card

from convert.cache import prepared_path
from edge.engine_card import DeviceFacts, EngineCard, EngineFile
from edge.engines.base import EngineIdentity
from edge.engines.onnx import OnnxEngine
from edge.errors import ModelRefusedError
from models.manifest import Model, find_pack
from packs_for_tests import write_pack
from standin_for_tests import Standin, alive, build_engine

IDENTITY = EngineIdentity("tiny-unet", "1", "tensorrt", "fp32", "1" * 64)
SIZE = 96


@pytest.fixture(params=["cuda-python", "pycuda"])
def gpu_here(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Standin]:
    """Both bindings in turn; whatever a test made on the GPU is gone at its end."""
    name = "standin_here" if request.param == "cuda-python" else "pycuda_here"
    standin: Standin = request.getfixturevalue(name)
    if request.param == "cuda-python":
        # An earlier test may have loaded the other binding, which would be preferred.
        for module in [n for n in sys.modules if n.partition(".")[0] == "pycuda"]:
            monkeypatch.delitem(sys.modules, module)
    # It holds the TensorRT of an earlier test.
    monkeypatch.delitem(sys.modules, "edge.engines.tensorrt", raising=False)
    yield standin
    assert alive(standin.counters()) == {}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    pack = find_pack(str(write_pack(tmp_path_factory.mktemp("trt") / "pack", size=SIZE)))
    return {"segmenter": pack.segmenter, "classifier": pack.classifier}


def here() -> DeviceFacts:
    import tensorrt as trt

    from edge.engines.cuda import open_cuda
    from edge.engines.this_device import device_facts

    with open_cuda() as cuda, cuda.current():
        return device_facts(cuda, trt.__version__)


def written(folder: Path, model: Model, **changes: Any) -> tuple[Path, EngineCard]:
    """An engine of the stand-in, and a card that fits it."""
    content = build_engine(prepared_path(model).read_bytes())
    path = folder / "e.engine"
    path.write_bytes(content)
    file = EngineFile(
        file=path.name, sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content)
    )
    return path, card(**{"engine": file, "device": here(), **changes})


def open_engine(path: Path, its_card: EngineCard, **options: Any) -> Any:
    from edge.engines.tensorrt import TensorRtEngine

    return TensorRtEngine(path, its_card, IDENTITY, **options)


def pictures(count: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 256, (count, SIZE, SIZE, 3), np.uint8)


@pytest.mark.parametrize("part", ["segmenter", "classifier"])
@pytest.mark.parametrize("ways", [{}, {"rgb": "mapped"}, {"rgb": "mapped", "OUT": "mapped"}])
def test_it_gives_the_numbers_of_onnx_runtime(
    gpu_here: Standin, models: dict[str, Model], tmp_path: Path, part: str, ways: dict[str, str]
) -> None:
    output = {"segmenter": "probability", "classifier": "probabilities"}[part]
    transfer = {output if name == "OUT" else name: way for name, way in ways.items()}
    path, its_card = written(tmp_path, models[part], transfer=transfer)
    reference = OnnxEngine(prepared_path(models[part]), IDENTITY, max_batch=4)
    with open_engine(path, its_card) as engine, reference:
        assert engine.max_batch == 4 and engine.input_size_wh == (SIZE, SIZE)
        for seed, count in enumerate((1, 3, 4, 1, 2, 4)):
            given = {"rgb": pictures(count, seed)}
            found = engine.infer(given)
            assert set(found) == {output} and found[output].dtype == np.float32
            np.testing.assert_allclose(found[output], reference.infer(given)[output], atol=1e-5)
            assert 0.0 <= engine.last_timings.device_ms <= engine.last_timings.host_ms
    copied = gpu_here.counters()["bytes_to_device"]
    assert (copied == 0) == ("rgb" in ways)


def test_graphs_are_replayed_where_the_binding_offers_them(
    gpu_here: Standin, models: dict[str, Model], tmp_path: Path
) -> None:
    path, its_card = written(tmp_path, models["segmenter"])
    with open_engine(path, its_card) as engine:
        for _ in range(3):
            engine.infer({"rgb": pictures(1)})
        offers = engine._gpu.call(lambda cuda: cuda.binding) == "cuda-python"
    launched = gpu_here.counters()["graph_launches"]
    assert launched >= 3 if offers else launched == 0


def test_what_cannot_be_captured_runs_all_the_same(
    gpu_here: Standin, models: dict[str, Model], tmp_path: Path
) -> None:
    from edge.engines.gpu_thread import GpuThread

    path, its_card = written(tmp_path, models["segmenter"])
    with GpuThread() as gpu:
        kind = gpu.call(lambda cuda: type(cuda))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(kind, "capture", lambda *_: None)
            with open_engine(path, its_card, gpu=gpu) as engine:
                plain = [engine.infer({"rgb": pictures(n)})["probability"].copy() for n in (1, 3)]
        with open_engine(path, its_card, gpu=gpu) as engine:
            for wanted in (*plain, *plain):
                found = engine.infer({"rgb": pictures(len(wanted))})["probability"]
                np.testing.assert_array_equal(found, wanted)


def test_the_faster_way_is_measured_and_kept(
    gpu_here: Standin, models: dict[str, Model], tmp_path: Path
) -> None:
    path, its_card = written(tmp_path, models["segmenter"])
    with open_engine(path, its_card) as engine:
        before = engine.infer({"rgb": pictures(1)})["probability"].copy()
        chosen = engine.measure_transfer(runs=3)
        assert set(chosen) == {"rgb", "probability"}
        assert set(chosen.values()) <= {"mapped", "staged"}
        np.testing.assert_array_equal(engine.infer({"rgb": pictures(1)})["probability"], before)


def test_a_gpu_that_cannot_map_stages(
    gpu_here: Standin, models: dict[str, Model], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STANDIN_GPU_CAN_MAP_HOST", "0")
    path, its_card = written(
        tmp_path, models["segmenter"], transfer={"rgb": "mapped", "probability": "mapped"}
    )
    with open_engine(path, its_card) as engine:
        assert engine.infer({"rgb": pictures(1)})["probability"].shape == (1, SIZE, SIZE)
        assert set(engine.measure_transfer(runs=1).values()) == {"staged"}
    assert gpu_here.counters()["bytes_to_device"] > 0


def test_any_thread_may_call_it(
    gpu_here: Standin, models: dict[str, Model], tmp_path: Path
) -> None:
    path, its_card = written(tmp_path, models["segmenter"])
    found: list[Any] = []
    with open_engine(path, its_card) as engine:
        wanted = engine.infer({"rgb": pictures(1)})["probability"].copy()
        thread = threading.Thread(
            target=lambda: found.append(engine.infer({"rgb": pictures(1)})["probability"].copy())
        )
        thread.start()
        thread.join()
    np.testing.assert_array_equal(found[0], wanted)


def test_two_engines_share_one_thread_of_the_gpu(
    gpu_here: Standin, models: dict[str, Model], tmp_path: Path
) -> None:
    from edge.engines.gpu_thread import GpuThread

    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    first, second = (
        written(tmp_path / name, models[part])
        for name, part in (("a", "segmenter"), ("b", "classifier"))
    )
    with GpuThread() as gpu:
        with open_engine(*first, gpu=gpu) as a, open_engine(*second, gpu=gpu) as b:
            assert a.infer({"rgb": pictures(1)}) and b.infer({"rgb": pictures(2)})
            a.close()
            assert b.infer({"rgb": pictures(1)})
        assert gpu.call(lambda cuda: cuda.gpu_name) == "Orin"
    with pytest.raises(ModelRefusedError, match="closed before"):
        gpu.call(lambda cuda: cuda.gpu_name)


def test_closed_is_closed(gpu_here: Standin, models: dict[str, Model], tmp_path: Path) -> None:
    path, its_card = written(tmp_path, models["segmenter"])
    engine = open_engine(path, its_card)
    answer = engine.infer({"rgb": pictures(1)})["probability"]
    engine.close()
    engine.close()
    assert alive(gpu_here.counters()) == {}
    assert np.isfinite(answer).all()  # its memory is not the GPU's
    with pytest.raises(ModelRefusedError, match="closed before"):
        engine.infer({"rgb": pictures(1)})


@pytest.mark.parametrize(
    "wrong",
    [
        pictures(5),
        pictures(1)[:, :, :50],
        pictures(1).astype(np.float32),
    ],
)
def test_wrong_inputs_are_refused(
    gpu_here: Standin, models: dict[str, Model], tmp_path: Path, wrong: np.ndarray[Any, Any]
) -> None:
    path, its_card = written(tmp_path, models["segmenter"])
    with open_engine(path, its_card) as engine:
        with pytest.raises(ModelRefusedError, match="one input 'rgb'"):
            engine.infer({"rgb": wrong})
        assert engine.infer({"rgb": pictures(1)})


# --- the card -------------------------------------------------------------------------------------


def failed() -> Any:
    return PASSED.model_copy(update={"passed": False, "reasons": ("it is blank",)})


CARDS: dict[str, tuple[Callable[[EngineCard], EngineCard], str]] = {
    "not judged": (lambda c: c.model_copy(update={"gate": None}), "the gate has not judged it"),
    "refused": (lambda c: c.model_copy(update={"gate": failed()}), "refused it: it is blank"),
    "other GPU": (lambda c: with_device(c, gpu_name="Thor"), "built for GPU Thor"),
    "other SM count": (lambda c: with_device(c, sm_count=16), "multiprocessors 16"),
    "other TensorRT": (lambda c: with_device(c, tensorrt="10.9.0.1"), "TensorRT 10.9.0.1"),
    "other Jetson Linux": (lambda c: with_device(c, l4t="36.4.3"), "Jetson Linux 36.4.3"),
}


def with_device(its_card: EngineCard, **facts: object) -> EngineCard:
    return its_card.model_copy(update={"device": its_card.device.model_copy(update=facts)})


@pytest.mark.parametrize("kind", CARDS)
def test_the_card_decides_before_the_file_is_opened(
    gpu_here: Standin, models: dict[str, Model], tmp_path: Path, kind: str
) -> None:
    change, words = CARDS[kind]
    path, its_card = written(tmp_path, models["segmenter"])
    path.unlink()
    with pytest.raises(ModelRefusedError, match=words):
        open_engine(path, change(its_card))


def test_the_gate_may_open_what_has_no_verdict(
    gpu_here: Standin, models: dict[str, Model], tmp_path: Path
) -> None:
    path, its_card = written(tmp_path, models["segmenter"], gate=None)
    with open_engine(path, its_card, judged=False) as engine:
        assert engine.infer({"rgb": pictures(1)})


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: path.unlink(), "No such file"),
        (lambda path: path.write_bytes(path.read_bytes()[:100]), r"cut off \(100 bytes\)"),
        (lambda path: path.write_bytes(b"\0" * 100), "another file"),
    ],
)
def test_a_file_that_is_not_the_cards_is_refused(
    gpu_here: Standin,
    models: dict[str, Model],
    tmp_path: Path,
    damage: Callable[[Path], None],
    words: str,
) -> None:
    path, its_card = written(tmp_path, models["segmenter"])
    damage(path)
    with pytest.raises(ModelRefusedError, match=words):
        open_engine(path, its_card)


@pytest.mark.parametrize("content", [b"", b"no engine at all", b"ftrt" + b"\0" * 400])
def test_a_file_that_tensorrt_does_not_take_is_refused_in_its_words(
    gpu_here: Standin, models: dict[str, Model], tmp_path: Path, content: bytes
) -> None:
    path, its_card = written(tmp_path, models["segmenter"])
    path.write_bytes(content or b"x")
    content = path.read_bytes()
    file = EngineFile(
        file=path.name, sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content)
    )
    with pytest.raises(ModelRefusedError, match="TensorRT does not take the file: .*ngine"):
        open_engine(path, its_card.model_copy(update={"engine": file}))


# --- failures on the way --------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(1, 7))
def test_no_memory_while_opening_leaves_nothing(
    gpu_here: Standin,
    models: dict[str, Model],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    path, its_card = written(tmp_path, models["segmenter"])
    monkeypatch.setenv("STANDIN_FAIL_ALLOC", f"{gpu_here.counters()['all_allocations'] + number}+")
    try:
        engine = open_engine(path, its_card)
    except ModelRefusedError as error:
        assert "memory" in str(error).lower()
    else:
        # Both sides of two tensors, and a context: all that an engine wants was there.
        assert number > 5
        engine.close()
    assert alive(gpu_here.counters()) == {}


@pytest.mark.parametrize("is_borrowed", [False, True])
def test_ctrl_c_while_it_opens_leaves_nothing(
    gpu_here: Standin,
    models: dict[str, Model],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_borrowed: bool,
) -> None:
    from edge.engines.gpu_thread import GpuThread

    path, its_card = written(tmp_path, models["segmenter"])
    monkeypatch.setenv("STANDIN_RUN_MS", "300")  # the warm-up has twelve runs
    with ExitStack() as stack:
        gpu = stack.enter_context(GpuThread()) if is_borrowed else None
        timer = threading.Timer(0.5, signal.pthread_kill, [threading.get_ident(), signal.SIGINT])
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            open_engine(path, its_card, gpu=gpu)
        timer.join()
        if gpu is not None:
            left = gpu.call(lambda _: alive(gpu_here.counters()))
            assert left == {"contexts": 1}  # the thread's own


def test_a_launch_that_fails_is_one_line_and_closing_still_works(
    gpu_here: Standin, models: dict[str, Model], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, its_card = written(tmp_path, models["segmenter"])
    with open_engine(path, its_card) as engine:
        monkeypatch.setenv("STANDIN_FAIL_LAUNCH", f"{gpu_here.counters()['all_launches'] + 1}+")
        with pytest.raises(ModelRefusedError) as caught:
            engine.infer({"rgb": pictures(1)})
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [("STANDIN_GPU_COUNT", "0", "GPU"), ("STANDIN_FAIL_INIT", "100", "NVIDIA GPU")],
)
def test_no_gpu_is_named(
    gpu_here: Standin,
    models: dict[str, Model],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
    words: str,
) -> None:
    path, its_card = written(tmp_path, models["segmenter"])
    monkeypatch.setenv(variable, value)
    with pytest.raises(ModelRefusedError, match=words):
        open_engine(path, its_card)
