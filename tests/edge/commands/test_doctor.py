"""``dermedge doctor``: one line for each cause, whatever is missing or broken."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from pathlib import Path

import pytest
from click.testing import CliRunner
from engine_cards_for_tests import card_of, use

from edge.commands.doctor import doctor as command
from edge.doctor import basis as doctor
from edge.doctor.basis import examine
from edge.doctor.line import Line
from edge.engine_folder import ModelEngines
from models.manifest import load_pack
from models.offline import TELEMETRY_OFF
from standin_for_tests import Standin


@pytest.fixture(autouse=True)
def own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DERMEDGE_ENGINES", str(tmp_path / "engines"))


def lines(pack: Path) -> dict[str, Line]:
    return {line.name: line for line in examine(str(pack))}


def test_a_desk_without_a_gpu_has_no_problem(tiny_pack: Path) -> None:
    # In a process of its own: what other tests have loaded would be found.
    call = [sys.executable, "-m", "edge", "doctor", "--pack", str(tiny_pack)]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    rows = done.stdout.splitlines()
    assert rows[-1] == "no problem found"
    assert all(row.startswith(("ok ", "note ")) for row in rows[:-1])
    assert any("TensorRT     not installed" in row for row in rows)
    assert any("OpenCV" in row and "GStreamer" in row for row in rows)


def test_a_device_is_named(standin_here: Standin, tiny_pack: Path) -> None:
    found = lines(tiny_pack)
    assert found["TensorRT"].state == "ok" and found["TensorRT"].found.startswith("1")
    assert found["CUDA"].state == "ok"
    for words in ("Orin", "8.7", "8 multiprocessors"):
        assert words in found["CUDA"].found
    assert (
        found["segmenter"].state == "note" and f"build {tiny_pack}" in found["segmenter"].next_step
    )


def test_a_gpu_without_a_driver_is_a_problem(
    standin_here: Standin, tiny_pack: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STANDIN_GPU_COUNT", "0")
    found = lines(tiny_pack)["CUDA"]
    assert found.state == "problem" and found.next_step


def test_tensorrt_without_a_binding_is_a_problem(
    tiny_pack: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = types.ModuleType("tensorrt")
    module.__version__ = "10.3.0"  # type: ignore[attr-defined]
    module.__spec__ = types.SimpleNamespace()  # type: ignore[assignment]
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    monkeypatch.setattr(doctor, "has_binding", lambda: False)
    found = lines(tiny_pack)
    assert found["TensorRT"].state == "ok"
    assert found["CUDA"].state == "problem" and "pip install" in found["CUDA"].next_step


def test_an_old_tensorrt_is_told(tiny_pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("tensorrt")
    module.__version__ = "8.6.2.3"  # type: ignore[attr-defined]
    module.__spec__ = types.SimpleNamespace()  # type: ignore[assignment]
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    found = lines(tiny_pack)["TensorRT"]
    assert found.state == "note" and "10.3 is needed" in found.found


@pytest.fixture
def engines(tiny_pack: Path) -> ModelEngines:
    manifest = load_pack(tiny_pack).segmenter.manifest
    return ModelEngines(Path(doctor.engines_root()), manifest.name, manifest.onnx.sha256)


def test_an_engine_that_fits_is_named(
    standin_here: Standin, tiny_pack: Path, engines: ModelEngines
) -> None:
    device = doctor._device_facts()
    assert device is not None
    fits = card_of(load_pack(tiny_pack), "segmenter", b"an engine", device)
    use(engines, fits, b"an engine")
    found = lines(tiny_pack)["segmenter"]
    assert (found.state, found.found) == ("ok", "e.engine, fp16, built on Orin")


def test_engines_that_do_not_fit_are_problems(
    standin_here: Standin, tiny_pack: Path, engines: ModelEngines
) -> None:
    device = doctor._device_facts()
    assert device is not None
    fits = card_of(load_pack(tiny_pack), "segmenter", b"an engine", device)
    assert fits.gate is not None
    other_device = device.model_copy(update={"sm_count": 16})
    other_rules = fits.gate.model_copy(update={"judged_under": "0" * 64})
    for changes, content, words in (
        ({"device": other_device}, b"an engine", "was built for number of multiprocessors 16"),
        ({"gate": None}, b"an engine", "has not passed the gate"),
        ({"gate": other_rules}, b"an engine", "judged under other rules"),
        ({}, b"an eng", "6 bytes"),
    ):
        path = use(engines, fits.model_copy(update=changes), content)
        found = lines(tiny_pack)["segmenter"]
        assert found.state == "problem" and words in found.found
        assert "dermedge-convert build" in found.next_step
    path.with_name(f"{path.stem}.card.json").write_text("{")
    assert lines(tiny_pack)["segmenter"].state == "problem"


@pytest.mark.parametrize(
    ("said", "state", "words"),
    [("NV Power Mode: 15W\n0", "ok", "mode 15W"), ("", "note", "does not tell its mode")],
)
def test_the_power_mode_of_a_jetson(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: str, state: str, words: str
) -> None:
    program = tmp_path / "nvpmodel"
    program.write_text(f"#!/bin/sh\necho '{said}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    (line,) = doctor._power()
    assert line.state == state and words in line.found
    monkeypatch.setenv("PATH", "")
    assert not list(doctor._power())


def test_an_opencv_for_another_numpy_is_one_line(tiny_pack: Path, tmp_path: Path) -> None:
    words = "numpy.core.multiarray failed to import"
    (tmp_path / "cv2.py").write_text(
        f"import sys\nsys.stderr.write('a page of advice')\nraise ImportError({words!r})\n"
    )
    call = [sys.executable, "-m", "edge", "doctor", "--pack", str(tiny_pack)]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(call, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (2, "")
    (row,) = (row for row in done.stdout.splitlines() if "OpenCV" in row)
    assert row.startswith("problem") and words in row and "numpy<2" in row


def test_onnx_runtime_is_loaded_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in TELEMETRY_OFF:
        monkeypatch.delenv(name, raising=False)
    assert doctor._version_of("onnxruntime")
    assert all(os.environ[name] == "1" for name in TELEMETRY_OFF)


def test_memory_and_clock(tmp_path: Path) -> None:
    little = tmp_path / "meminfo"
    little.write_text("MemTotal:  4000000 kB\nMemAvailable:  200000 kB\nSwapTotal: 0 kB\n")
    assert doctor._memory(little).state == "problem"
    assert "195 MB of 3.8 GB" in doctor._memory(little).found
    swaps = tmp_path / "swaps"
    swaps.write_text("Filename Type Size Used Priority\n/dev/zram0 partition 1048576 0 5\n")
    assert "1.0 GB of it zram" in doctor._memory(little, swaps).found
    assert doctor._memory(tmp_path / "none").state == "note"
    assert doctor._clock(lambda: 0.0).state == "note"
    assert "1970-01-01" in doctor._clock(lambda: 0.0).found


def test_a_folder_that_cannot_be_written_is_named(
    tiny_pack: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DERMEDGE_ENGINES", str(tmp_path / "file" / "engines"))
    found = lines(tiny_pack)["engines"]
    assert found.state == "problem" and "file" in found.found


def test_a_pack_that_is_none_is_one_line(tmp_path: Path) -> None:
    done = CliRunner().invoke(command, ["--pack", str(tmp_path)])
    assert "problem pack" in done.stdout and done.stdout.splitlines()[-1] == "problems: 1"
