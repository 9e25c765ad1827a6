"""Files of the desk tools are there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from models.whole_file import write_whole


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
