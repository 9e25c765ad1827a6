"""The cache of prepared graphs: keys, damage, two processes, no room, no right to write."""

from __future__ import annotations

import hashlib
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from convert import cache, prepare
from convert.cache import KEPT_FILES, cache_folder, prepared_path
from models.errors import InputError, ManifestError
from models.manifest import Model, load_pack
from packs_for_tests import write_pack


@pytest.fixture
def segmenter(tiny_pack: Path) -> Model:
    return load_pack(tiny_pack).segmenter


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the models that were really prepared."""
    names: list[str] = []
    original = prepare.prepare_model

    def counting(content: bytes, manifest: object) -> object:
        names.append(manifest.name)  # type: ignore[attr-defined]
        return original(content, manifest)  # type: ignore[arg-type]

    monkeypatch.setattr(prepare, "prepare_model", counting)
    return names


def test_the_second_use_reads_the_first_one(
    tmp_path: Path, segmenter: Model, counted: list[str]
) -> None:
    first = prepared_path(segmenter, tmp_path / "new" / "folder")
    content = first.read_bytes()
    assert prepared_path(segmenter, tmp_path / "new" / "folder") == first
    assert first.read_bytes() == content
    assert counted == ["tiny-segmenter"]
    assert first.stem.partition("-")[2] == hashlib.sha256(content).hexdigest()
    assert [path.name for path in first.parent.iterdir()] == [first.name]


def test_two_folders_get_the_same_bytes(tmp_path: Path, segmenter: Model) -> None:
    first = prepared_path(segmenter, tmp_path / "a")
    second = prepared_path(segmenter, tmp_path / "b")
    assert first.name == second.name
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(
    ("changes", "new_entry"),
    [
        ({"segmenter__output__threshold": 0.3}, False),
        ({"segmenter__card__summary": "Other words."}, False),
        ({"segmenter__name": "renamed"}, False),
        ({"segmenter__inputs__0__scale": 1.0}, True),
        ({"segmenter__pigments": {"floor": 2.0}}, True),
        ({"segmenter__inputs__0__colour_order": "BGR"}, True),
    ],
)
def test_only_what_changes_the_graph_makes_a_new_entry(
    tmp_path: Path, segmenter: Model, changes: dict[str, object], new_entry: bool
) -> None:
    folder = tmp_path / "cache"
    first = prepared_path(segmenter, folder)
    other = load_pack(write_pack(tmp_path / "pack", **changes)).segmenter
    assert (prepared_path(other, folder) != first) == new_entry


def test_the_cpu_variant_is_an_entry_of_its_own(tmp_path: Path, segmenter: Model) -> None:
    plain = prepared_path(segmenter, tmp_path)
    fast = prepared_path(segmenter, tmp_path, for_cpu=True)
    assert plain.name.partition("-")[0] != fast.name.partition("-")[0]


def test_other_code_makes_a_new_entry(
    tmp_path: Path, segmenter: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = prepared_path(segmenter, tmp_path)
    monkeypatch.setattr(cache, "_code_hash", lambda: "another version")
    assert prepared_path(segmenter, tmp_path) != first


@pytest.mark.parametrize("damage", ["truncated", "one bit", "empty"])
def test_a_damaged_entry_is_made_again(
    tmp_path: Path, segmenter: Model, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = prepared_path(segmenter, tmp_path)
    whole = path.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    path.write_bytes({"truncated": whole[:middle], "one bit": flipped, "empty": b""}[damage])
    with caplog.at_level(logging.WARNING):
        assert prepared_path(segmenter, tmp_path) == path
    assert path.read_bytes() == whole
    assert "is damaged and is made again" in caplog.text


def test_the_hash_is_checked_even_when_the_graph_is_cached(tmp_path: Path) -> None:
    folder = write_pack(tmp_path / "pack")
    model = load_pack(folder).segmenter
    prepared_path(model, tmp_path / "cache")
    model.onnx_path.write_bytes(model.onnx_path.read_bytes() + b"\n")
    with pytest.raises(ManifestError, match="with sha256"):
        prepared_path(model, tmp_path / "cache")


def test_a_cache_that_cannot_be_written(
    tmp_path: Path, segmenter: Model, caplog: pytest.LogCaptureFixture
) -> None:
    """Its place is taken by a file: that fails for root too, whom no mode bits stop."""
    (tmp_path / "taken").write_text("not a folder")
    with caplog.at_level(logging.WARNING):
        path = prepared_path(segmenter, tmp_path / "taken" / "cache")
    assert path.is_file()
    assert tmp_path not in path.parents
    assert "prepared graphs cannot be kept in" in caplog.text
    assert "set DERMEDGE_CACHE to a folder that can be written" in caplog.text
    # The process has one such folder, however many models it needs.
    assert prepared_path(segmenter, tmp_path / "taken" / "cache").parent == path.parent


def test_a_full_disk_leaves_no_half_file(
    tmp_path: Path, segmenter: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(InputError, match="got No space left on device; set DERMEDGE_CACHE"):
            prepared_path(segmenter, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_oldest_entries_go(tmp_path: Path, segmenter: Model) -> None:
    for age in range(KEPT_FILES + 4):
        old = tmp_path / f"{age:032x}-{age:064x}.onnx"
        old.write_bytes(b"old")
        os.utime(old, (1000.0 - age, 1000.0 - age))
    abandoned = tmp_path / ".new-abandoned"
    abandoned.write_bytes(b"half")
    os.utime(abandoned, (1000.0, 1000.0))
    running = tmp_path / ".new-running"
    running.write_bytes(b"half")
    path = prepared_path(segmenter, tmp_path)
    left = sorted(tmp_path.glob("*.onnx"))
    assert len(left) == KEPT_FILES
    assert path in left
    assert tmp_path / f"{0:032x}-{0:064x}.onnx" in left
    assert not abandoned.exists()
    assert running.exists()


def test_use_keeps_an_entry_young(tmp_path: Path, segmenter: Model) -> None:
    path = prepared_path(segmenter, tmp_path)
    os.utime(path, (1000.0, 1000.0))
    prepared_path(segmenter, tmp_path)
    assert time.time() - path.stat().st_mtime < 60


def test_two_processes_at_once(tmp_path: Path, tiny_pack: Path) -> None:
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from convert.cache import prepared_path\n"
        "from models.manifest import load_pack\n"
        "sys.stdin.readline()\n"
        "print(prepared_path(load_pack(Path(sys.argv[1])).segmenter, Path(sys.argv[2])))\n"
    )
    command = [sys.executable, "-c", script, str(tiny_pack), str(tmp_path)]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = {process.communicate(timeout=60)[0].strip() for process in processes}
    assert [process.returncode for process in processes] == [0, 0]
    (answer,) = answers
    assert list(tmp_path.iterdir()) == [Path(answer)]


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DERMEDGE_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.delenv("DERMEDGE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "dermedge" / "prepared"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "dermedge" / "prepared"
    # A service may have no usable home at all.
    monkeypatch.setenv("HOME", "nowhere")
    assert cache_folder().is_dir()
