"""``dermedge-convert prepare`` as a user types it."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnx
import pytest

from convert.__main__ import main
from packs_for_tests import write_pack


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    returncode: int | str | None
    stdout: str
    stderr: str


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """The command in this process, with the arguments that a user types."""

    def typed(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["dermedge-convert", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        out, err = capsys.readouterr()
        return Done(stop.value.code, out, err)

    return typed


def test_prepare_writes_what_it_prints(
    run: Callable[..., Done], tiny_pack: Path, tmp_path: Path
) -> None:
    done = run("prepare", tiny_pack, "--out", tmp_path / "new")
    assert (done.returncode, done.stderr) == (0, "")
    for name, output in (
        ("segmenter", "probability float32 [N,96,96]"),
        ("classifier", "probabilities float32 [N,6]"),
    ):
        path = tmp_path / "new" / f"{name}.prepared.onnx"
        onnx.checker.check_model(onnx.load(str(path)))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        assert f"{path}\n  model      tiny-{name} 1.0" in done.stdout
        assert f"  sha256     {digest}, from " in done.stdout
        assert f"  output     {output}\n" in done.stdout
    assert done.stdout.count("  input      rgb uint8 [N,96,96,3]\n") == 2
    assert done.stdout.count("  opset      17, IR 8\n  batch      any\n") == 2
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == [
        "classifier.prepared.onnx",
        "segmenter.prepared.onnx",
    ]


def test_a_network_that_is_no_onnx(run: Callable[..., Done], tmp_path: Path) -> None:
    folder = write_pack(tmp_path / "pack", segmenter_onnx=b"not a network")
    done = run("prepare", folder, "--out", tmp_path / "out")
    assert done.returncode == 4
    assert done.stderr.startswith("error: expected tiny-segmenter (segmenter.onnx): an ONNX model")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_wrong_hash(run: Callable[..., Done], tmp_path: Path) -> None:
    folder = write_pack(tmp_path / "pack", classifier__onnx__sha256="0" * 64)
    done = run("prepare", folder, "--out", tmp_path / "out")
    assert done.returncode == 4
    assert f"classifier.onnx with sha256 {'0' * 64}; got sha256 " in done.stderr
    assert not (tmp_path / "out").exists()


def test_no_such_pack(run: Callable[..., Done]) -> None:
    done = run("prepare", "no-such-pack")
    assert done.returncode == 2
    assert "expected a pack's name or a folder with pack.toml; got 'no-such-pack'" in done.stderr


def test_an_output_folder_that_cannot_be_written(
    run: Callable[..., Done], tiny_pack: Path, tmp_path: Path
) -> None:
    (tmp_path / "taken").write_text("a file")
    done = run("prepare", tiny_pack, "--out", tmp_path / "taken" / "out")
    assert done.returncode == 3
    assert "expected to write" in done.stderr
    assert "give another folder with --out" in done.stderr


def test_no_pack_named(run: Callable[..., Done]) -> None:
    done = run("prepare")
    assert done.returncode == 2
    assert "Missing argument 'PACK'" in done.stderr


def test_the_module_runs() -> None:
    command = [sys.executable, "-m", "convert", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "prepare  Write the graphs that engines run" in done.stdout
