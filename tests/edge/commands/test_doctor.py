"""``dermedge doctor``: one line for each cause, whatever is missing or broken."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest
from click.testing import CliRunner
from engine_cards_for_tests import card

from edge.commands import doctor
from edge.commands.doctor import examine
from edge.engine_folder import ModelEngines
from models.manifest import load_pack
from standin_for_tests import Standin


@pytest.fixture(autouse=True)
def own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DERMEDGE_ENGINES", str(tmp_path / "engines"))


def lines(pack: Path) -> dict[str, doctor.Line]:
    return {line.name: line for line in examine(str(pack))}


def test_a_desk_without_a_gpu_has_no_problem(tiny_pack: Path) -> None:
    done = CliRunner().invoke(doctor.doctor, ["--pack", str(tiny_pack)])
    assert done.exception is None and done.return_value is None
    assert done.exit_code == 0
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


def test_engines_that_do_not_fit_are_problems(standin_here: Standin, tiny_pack: Path) -> None:
    manifest = load_pack(tiny_pack).segmenter.manifest
    engines = ModelEngines(Path(doctor.engines_root()), manifest.name, manifest.onnx.sha256)
    other = card()
    engines.write_card(other)
    engines.choose(other)
    found = lines(tiny_pack)["segmenter"]
    assert found.state == "problem" and "was built for" in found.found
    refused = card(gate=None)
    engines.write_card(refused)
    assert "not passed the gate" in lines(tiny_pack)["segmenter"].found
    engines.card_path(refused.precision, refused.key).write_text("{")
    assert lines(tiny_pack)["segmenter"].state == "problem"


def test_memory_and_clock(tmp_path: Path) -> None:
    little = tmp_path / "meminfo"
    little.write_text("MemTotal:  4000000 kB\nMemAvailable:  200000 kB\nSwapTotal: 0 kB\n")
    assert doctor._memory(little).state == "problem"
    assert "195 MB of 3.8 GB" in doctor._memory(little).found
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
    done = CliRunner().invoke(doctor.doctor, ["--pack", str(tmp_path)])
    assert "problem pack" in done.stdout and done.stdout.splitlines()[-1] == "problems: 1"
