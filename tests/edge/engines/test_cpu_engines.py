"""The CPU engines on real ONNX files: both behave alike behind the seam."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto
from prepared_graphs_for_tests import (
    HEIGHT,
    WIDTH,
    segmenter_answer,
    write_picky_classifier,
    write_segmenter,
)

from convert.cache import prepared_path
from convert.prepare import prepare_model
from convert.trial import TrialSession, trial_pictures
from edge.engines.base import Engine, EngineIdentity
from edge.engines.onnx import OnnxEngine
from edge.engines.openvino import OpenVinoEngine
from edge.errors import ModelRefusedError
from models.manifest import load_pack

IDENTITY = EngineIdentity("tiny", "1.0", "onnx", "fp32", "0" * 64)


def skip_without_openvino() -> None:
    if importlib.util.find_spec("openvino") is None:
        pytest.skip("the extra [openvino] is not installed")


def pictures(count: int) -> np.ndarray:
    shape = (count, HEIGHT, WIDTH, 3)
    return np.random.default_rng(count).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture(params=["onnx", "openvino"])
def make_engine(request: pytest.FixtureRequest) -> Callable[..., Engine]:
    if request.param == "onnx":
        return OnnxEngine
    skip_without_openvino()
    return OpenVinoEngine


@pytest.fixture
def engine(make_engine: Callable[..., Engine], tmp_path: Path) -> Engine:
    return make_engine(write_segmenter(tmp_path / "s.onnx"), IDENTITY, max_batch=3, threads=1)


def test_answers_as_numpy_does_for_every_allowed_batch(engine: Engine) -> None:
    for count in (1, 2, 3):
        found = engine.infer({"rgb": pictures(count)})
        assert set(found) == {"probability"}
        assert found["probability"].dtype == np.float32
        np.testing.assert_allclose(
            found["probability"], segmenter_answer(pictures(count)), rtol=0, atol=1e-6
        )


@pytest.mark.parametrize("part", ["segmenter", "classifier"])
def test_a_packs_prepared_graph_gives_the_same_numbers_as_before_the_rewrites(
    make_engine: Callable[..., Engine], tiny_pack: Path, tmp_path: Path, part: str
) -> None:
    model = getattr(load_pack(tiny_pack), part)
    width, height = model.manifest.size_wh
    pixels = trial_pictures((width, height), 3)
    plain = TrialSession(prepare_model(model.read_onnx(), model.manifest))
    wanted = np.concatenate([plain.run({"rgb": picture[np.newaxis]})[0] for picture in pixels])
    path = prepared_path(model, tmp_path, for_cpu=True)
    with make_engine(path, IDENTITY, max_batch=4, threads=2) as engine:
        (found,) = engine.infer({"rgb": pixels}).values()
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-3)


def test_says_what_it_is(engine: Engine) -> None:
    assert engine.identity is IDENTITY
    assert engine.input_size_wh == (WIDTH, HEIGHT)
    assert engine.max_batch == 3


def test_pixels_need_not_lie_contiguous(engine: Engine) -> None:
    wide = pictures(2)
    turned = np.ascontiguousarray(wide[:, :, ::-1])[:, :, ::-1]
    assert not turned.flags.c_contiguous
    np.testing.assert_array_equal(
        engine.infer({"rgb": turned})["probability"], engine.infer({"rgb": wide})["probability"]
    )


def test_an_answer_outlives_the_next_call(engine: Engine) -> None:
    first = engine.infer({"rgb": pictures(1)})["probability"]
    before = first.copy()
    engine.infer({"rgb": 255 - pictures(1)})
    np.testing.assert_array_equal(first, before)


def test_a_graph_of_fixed_batch_one_takes_one_picture_at_a_time(
    make_engine: Callable[..., Engine], tmp_path: Path
) -> None:
    path = write_segmenter(tmp_path / "fixed.onnx", batch=1)
    with make_engine(path, IDENTITY, max_batch=4) as engine:
        assert engine.max_batch == 1
        assert engine.infer({"rgb": pictures(1)})["probability"].shape == (1, HEIGHT, WIDTH)
        with pytest.raises(ModelRefusedError, match=r"\[1 to 1,6,10,3\]; got uint8 \[2, 6, 10, 3"):
            engine.infer({"rgb": pictures(2)})


@pytest.mark.parametrize(
    ("inputs", "got"),
    [
        ({}, "inputs named []"),
        ({"image": pictures(1)}, "inputs named ['image']"),
        ({"rgb": pictures(1), "mask": pictures(1)}, "inputs named ['mask', 'rgb']"),
        ({"rgb": pictures(1).astype(np.float32)}, "float32 [1, 6, 10, 3]"),
        ({"rgb": pictures(1)[0]}, "uint8 [6, 10, 3]"),
        ({"rgb": pictures(1)[:, :, :-1]}, "uint8 [1, 6, 9, 3]"),
        ({"rgb": pictures(4)}, "uint8 [4, 6, 10, 3]"),
        ({"rgb": pictures(0)}, "uint8 [0, 6, 10, 3]"),
    ],
)
def test_other_inputs_are_refused(engine: Engine, inputs: dict[str, np.ndarray], got: str) -> None:
    with pytest.raises(ModelRefusedError) as refusal:
        engine.infer(inputs)
    assert refusal.value.got == got
    assert "[1 to 3,6,10,3]" in refusal.value.expected


@pytest.mark.parametrize(
    "changes",
    [
        {"element": TensorProto.FLOAT},
        {"input_name": "image"},
        {"output_name": "mask"},
        {"output_name": "probabilities"},
        {"sides": ("H", "W")},
        {"batch": 4},
    ],
)
def test_graphs_that_are_not_prepared_are_refused(
    make_engine: Callable[..., Engine], tmp_path: Path, changes: dict[str, object]
) -> None:
    path = write_segmenter(tmp_path / "other.onnx", **changes)
    with pytest.raises(ModelRefusedError, match="tiny: a prepared graph") as refusal:
        make_engine(path, IDENTITY)
    assert "dermedge-convert prepare" in refusal.value.next_step


@pytest.mark.parametrize("content", [b"", b"no ONNX at all", None])
def test_files_that_are_no_onnx_are_refused(
    make_engine: Callable[..., Engine],
    tmp_path: Path,
    content: bytes | None,
    capfd: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "file.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelRefusedError, match="tiny: a prepared graph") as refusal:
        make_engine(path, IDENTITY)
    assert "\n" not in str(refusal.value)
    # The libraries would say the same a second time, in their own words.
    assert capfd.readouterr() == ("", "")


def test_a_graph_that_fails_on_a_picture_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write_picky_classifier(tmp_path / "picky.onnx")
    with OnnxEngine(path, IDENTITY, max_batch=4) as engine:
        assert engine.infer({"rgb": pictures(2)})["probabilities"].shape == (2, 3)
        with pytest.raises(ModelRefusedError, match="tiny: an answer from the network"):
            engine.infer({"rgb": pictures(3)})
    # ONNX Runtime would print the same a second time.
    assert capfd.readouterr() == ("", "")


def test_a_closed_engine_says_so(engine: Engine) -> None:
    with engine:
        engine.infer({"rgb": pictures(1)})
    engine.close()
    with pytest.raises(ModelRefusedError, match="closed"):
        engine.infer({"rgb": pictures(1)})


def test_importing_openvino_reports_to_nobody() -> None:
    """Its telemetry package sends an event as soon as it is imported."""
    skip_without_openvino()
    code = (
        "from edge.engines.openvino import import_openvino; import sys; import_openvino(); "
        "print([n for n, m in sys.modules.items() if m and n.startswith('openvino_telemetry')])"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert child.stdout.strip() == "[]"


_DROPPED_IN_A_THREAD = """
import signal, sys, threading
from pathlib import Path
from edge.engines.base import EngineIdentity
from edge.engines.{module} import {engine}
identity = EngineIdentity("tiny", "1.0", "onnx", "fp32", "0" * 64)
held = [{engine}(Path(sys.argv[1]), identity, max_batch=1, threads=1)]
thread = threading.Thread(target=held.clear)
thread.start()
thread.join()
signal.signal(signal.SIGTERM, lambda *_: print("an end in order"))
signal.raise_signal(signal.SIGTERM)
"""


def test_a_signal_after_an_engine_went_in_another_thread_is_harmless(
    make_engine: Callable[..., Engine], tmp_path: Path
) -> None:
    code = _DROPPED_IN_A_THREAD.format(
        module=make_engine.__module__.rpartition(".")[2], engine=make_engine.__name__
    )
    command = [sys.executable, "-c", code, str(write_segmenter(tmp_path / "s.onnx"))]
    child = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (child.returncode, child.stdout) == (0, "an end in order\n"), child.stderr


def test_two_threads_may_ask_at_once(tmp_path: Path) -> None:
    engine = OnnxEngine(write_segmenter(tmp_path / "s.onnx"), IDENTITY, max_batch=2)
    answers: dict[int, np.ndarray] = {}

    def ask(count: int) -> None:
        for _ in range(20):
            answers[count] = engine.infer({"rgb": pictures(count)})["probability"]

    threads = [threading.Thread(target=ask, args=(count,)) for count in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for count in (1, 2):
        np.testing.assert_allclose(
            answers[count], segmenter_answer(pictures(count)), rtol=0, atol=1e-6
        )
