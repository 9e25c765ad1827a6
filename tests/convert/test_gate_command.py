"""``dermedge-convert gate`` at a desk: figures, reasons, exit codes."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from convert import golden
from convert.commands.gate import gate
from edge.errors import InputError, ModelRefusedError
from packs_for_tests import write_pack


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Small phantoms, and nothing of the user's own folders."""
    monkeypatch.setattr(golden, "_SIZES_WH", ((96, 72), (72, 96)))
    monkeypatch.setenv("DERMEDGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DERMEDGE_ENGINES", str(tmp_path / "engines"))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(gate, arguments)


@pytest.mark.parametrize("backend", ["onnx", "float16"])
def test_a_pack_that_agrees_passes(tmp_path: Path, backend: str) -> None:
    pack = write_pack(tmp_path / "pack")
    done = run(str(pack), "--backend", backend)
    assert done.exception is None and done.exit_code == 0
    assert done.stdout.count("200 golden frames against ONNX Runtime, float32") == 2
    assert done.stdout.count("\n  passed") == 2
    assert "Dice, mean" in done.stdout and "at least 0.9900" in done.stdout


def test_one_part_is_judged_alone(tmp_path: Path) -> None:
    pack = write_pack(tmp_path / "pack")
    done = run(str(pack), "--backend", "onnx", "--part", "classifier")
    assert done.exit_code == 0 and "Dice" not in done.stdout and "crops" in done.stdout


def test_a_limit_that_is_not_held_refuses(tmp_path: Path) -> None:
    pack = write_pack(tmp_path / "pack", segmenter__gate={"probability_change_p99_max": 0.0})
    done = run(str(pack), "--backend", "float16", "--part", "segmenter")
    assert isinstance(done.exception, ModelRefusedError)
    assert "segmenter: one probability in a hundred changes" in str(done.exception)
    assert "NOT PASSED" in done.stdout


def test_pictures_of_the_user_are_judged_or_named(tmp_path: Path) -> None:
    pack = write_pack(tmp_path / "pack")
    (tmp_path / "mine").mkdir()
    done = run(str(pack), "--backend", "onnx", "--frames", str(tmp_path / "mine"))
    assert isinstance(done.exception, InputError) and "an empty folder" in str(done.exception)
    (tmp_path / "mine" / "text.jpg").write_text("no picture")
    done = run(str(pack), "--backend", "onnx", "--frames", str(tmp_path / "mine"))
    assert isinstance(done.exception, InputError) and "text.jpg" in str(done.exception)
