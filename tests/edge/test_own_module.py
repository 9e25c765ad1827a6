"""Another process of this program runs the program, not what lies in the current folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edge.own_module import own_module


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("name", ["json", "runpy", "edge", "numpy"])
def test_nothing_of_the_current_folder_is_run(tmp_path: Path, name: str):
    (tmp_path / f"{name}.py").write_text("raise SystemExit('anybody wrote this')\n")
    done = run([sys.executable, *own_module("edge.doctor.question"), "none"], tmp_path)
    assert "KeyError: 'none'" in done.stderr and "anybody" not in done.stderr


def test_its_arguments_are_those_of_the_module(tmp_path: Path):
    done = run([sys.executable, *own_module("edge"), "--version"], tmp_path)
    assert done.returncode == 0 and "dermedge" in done.stdout, done.stderr
