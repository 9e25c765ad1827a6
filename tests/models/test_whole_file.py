"""Files of the desk tools are there whole or not at all."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from models.whole_file import write_whole

ROOT = Path(__file__).parents[2]


def test_a_file_and_its_folder_are_made_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.bin"
    for content in (b"one", b"another"):
        write_whole(path, content)
        assert path.read_bytes() == content
    assert os.listdir(path.parent) == ["a.bin"] and path.stat().st_mode & 0o777 == 0o644


def test_what_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.bin"
    write_whole(path, b"before")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, b"after")
    assert os.listdir(tmp_path) == ["a.bin"] and path.read_bytes() == b"before"


def test_links_pipes_and_devices_are_written_into(tmp_path: Path) -> None:
    """As root a rename would put a file in the place of /dev/stdout or /dev/null."""
    link, pipe = tmp_path / "link", tmp_path / "pipe"
    link.symlink_to("behind")
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    for path in (link, pipe):
        write_whole(path, b"content")
    assert os.read(reader, 100) == (tmp_path / "behind").read_bytes() == b"content"
    assert link.is_symlink() and pipe.is_fifo()
    os.close(reader)


_ON_A_FULL_DISK = """
import resource, signal, sys
from models.__main__ import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
main()
"""


def test_a_full_disk_costs_nobody_the_picture_that_was_there(tmp_path: Path) -> None:
    (tmp_path / "skin.png").write_bytes(b"an earlier one")
    words = ["phantom", "--size", "96x64", "--out", "skin.png"]
    child = subprocess.run(
        [sys.executable, "-c", _ON_A_FULL_DISK, *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (child.returncode, child.stderr.count("\n")) == (3, 1) and "skin.png" in child.stderr
    assert os.listdir(tmp_path) == ["skin.png"]
    assert (tmp_path / "skin.png").read_bytes() == b"an earlier one"


def test_no_tool_writes_a_file_in_its_place() -> None:
    """Where the desk's tools open a file for writing, or give its path to who does."""
    found = set()
    for path in [*ROOT.glob("models/**/*.py"), *ROOT.glob("convert/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                call = ast.unparse(node.func)
                opens = node.func.attr == "open" and {"'w'", "'wb'", "'a'"} & {
                    ast.unparse(word) for word in node.args
                }
                if opens or node.func.attr in ("write_text", "write_bytes", "copyfile", "copy2"):
                    found.add(f"{path.relative_to(ROOT)}: {call}")
    assert found == {
        "models/schedule.py: path.open",  # a training's log grows line by line
        "models/whole_file.py: path.write_bytes",  # into a pipe or a device
    }
