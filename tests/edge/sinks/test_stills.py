"""JSON, overlay and mask of a picture appear together and whole, or not at all."""

from __future__ import annotations

import fcntl
import io
import json
import os
import resource
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from edge.engines.base import EngineIdentity
from edge.frame import Frame
from edge.result import FrameStamp, Quality, Result, Stage
from edge.sinks.base import Shot
from edge.sinks.partial import remove_dead_partials
from edge.sinks.png_stream import write_png
from edge.sinks.stills import is_finished, still_paths, write_still
from edge.sinks.whole_file import OutputError, check_writable, whole_files


def shot(size_wh=(40, 30), status="nothing_found", seed=0) -> Shot:
    """A picture of noise with an answer, or without one where the status says so."""
    width, height = size_wh
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
    frame = Frame(pixels, 0, "file:größe.jpg", None, None, "file")
    stamp = FrameStamp("file:größe.jpg", 0, size_wh, None, None, "file", None, None, False)
    answered = status == "nothing_found"
    identity = EngineIdentity("n", "1", "onnx", "fp32", "0" * 64)
    result = Result(
        software="dermedge test",
        status=status,
        reasons=(f"seed {seed}",),
        frame=stamp,
        threshold=0.5,
        regions=() if answered else None,
        regions_not_classified=0,
        skin_tone=None,
        quality=Quality(),
        timings_ms={Stage.TOTAL: 1.0},
        engines={"segmenter": identity},
    )
    mask = rng.integers(0, 2, (height, width), np.uint8) * 255 if answered else None
    return Shot(frame, result, mask, 255 - pixels)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- PNG ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 1), (1, 1, 3), (3, 1, 3), (7, 5), (200, 300, 3), (9, 70000)])
def test_png_is_read_back_by_two_readers(shape):
    pixels = np.random.default_rng(3).integers(0, 256, shape, np.uint8)
    file = io.BytesIO()

    write_png(file, pixels)

    data = file.getvalue()
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), pixels)
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(decoded, pixels[..., ::-1] if pixels.ndim == 3 else pixels)


def test_png_of_more_than_one_strip():
    pixels = np.random.default_rng(3).integers(0, 256, (900, 700, 3), np.uint8)
    assert pixels.nbytes > 1 << 20
    file = io.BytesIO()

    write_png(file, pixels)

    assert np.array_equal(np.asarray(Image.open(file)), pixels)


def test_png_of_part_of_a_larger_picture():
    pixels = np.random.default_rng(3).integers(0, 256, (40, 50, 3), np.uint8)[5:25, 10:40]
    file = io.BytesIO()

    write_png(file, pixels)

    assert np.array_equal(np.asarray(Image.open(file)), pixels)


# --- the three files ----------------------------------------------------------------------------


def test_three_files(tmp_path):
    written = shot()
    base = tmp_path / "sub" / "größe 皮膚.jpg"

    assert not is_finished(base)
    write_still(base, written)

    assert names(base.parent) == [base.name + s for s in (".json", ".mask.png", ".overlay.png")]
    assert is_finished(base)
    json_path, overlay_path, mask_path = still_paths(base)
    text = json_path.read_text(encoding="utf-8")
    assert json.loads(text) == written.result.to_json_dict()
    assert "größe" in text
    assert np.array_equal(np.asarray(Image.open(overlay_path)), written.drawn)
    assert np.array_equal(np.asarray(Image.open(mask_path)), written.mask)


def test_files_can_be_read_by_others(tmp_path):
    before = os.umask(0o022)
    try:
        write_still(tmp_path / "a.jpg", shot())
    finally:
        os.umask(before)

    for path in still_paths(tmp_path / "a.jpg"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_without_pictures_only_json(tmp_path):
    write_still(tmp_path / "000000", shot(), pictures=False)

    assert names(tmp_path) == ["000000.json"]


def test_a_mask_of_an_earlier_run_does_not_stay_beside_no_answer(tmp_path):
    write_still(tmp_path / "a.jpg", shot())
    write_still(tmp_path / "a.jpg", shot(status="poor_quality"))

    assert names(tmp_path) == ["a.jpg.json", "a.jpg.overlay.png"]


# --- failures -----------------------------------------------------------------------------------


def test_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "out").write_bytes(b"precious")

    with pytest.raises(OutputError) as refused:
        write_still(tmp_path / "out" / "a.jpg", shot())
    with pytest.raises(OutputError):
        check_writable(tmp_path / "out")

    assert not refused.value.place_is_full
    assert (tmp_path / "out").read_bytes() == b"precious"


def test_a_name_that_is_too_long(tmp_path):
    with pytest.raises(OutputError, match="File name too long"):
        write_still(tmp_path / ("a" * 250 + ".jpg"), shot())
    assert names(tmp_path) == []


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a file system of 300 kB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_leaves_nothing_half_written(small_disk):
    with pytest.raises(OutputError, match="No space left") as refused:
        write_still(small_disk / "a.jpg", shot((400, 300)))

    assert refused.value.place_is_full
    assert names(small_disk) == []


def test_a_full_disk_leaves_the_earlier_run_as_it_was(small_disk):
    write_still(small_disk / "a.jpg", shot((150, 100)))
    before = {name: (small_disk / name).read_bytes() for name in names(small_disk)}

    with pytest.raises(OutputError):
        write_still(small_disk / "a.jpg", shot((400, 300), seed=1))

    assert {name: (small_disk / name).read_bytes() for name in names(small_disk)} == before


@pytest.mark.parametrize("limit", [0, 100, 5_000, 40_000])
def test_a_file_size_limit_leaves_nothing_half_written(tmp_path, limit):
    """Without root: the system refuses to let files grow, as a quota does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with pytest.raises(OutputError, match="File too large"):
            write_still(tmp_path / "a.jpg", shot((200, 100)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert names(tmp_path) == []


def test_an_error_while_writing_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), whole_files([tmp_path / "a"]) as [file]:
        file.write(b"half")
        raise RuntimeError

    assert names(tmp_path) == []


def test_killed_at_any_moment_only_whole_files_have_names(tmp_path):
    """SIGKILL while it overwrites the same three files again and again.

    Between the removal of the old JSON and the last renaming there is none, and that is right.
    """
    program = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path; from test_stills import shot, write_still\n"
        "shots = [shot((300, 200), seed=seed) for seed in range(4)]\n"
        "write_still(Path(sys.argv[1]) / 'a.jpg', shots[0])\n"
        "print('ready', flush=True)\n"
        "while True:\n"
        "    for one in shots: write_still(Path(sys.argv[1]) / 'a.jpg', one)\n"
    )
    here = str(Path(__file__).parent)
    expected = {seed: shot((300, 200), seed=seed) for seed in range(4)}
    command = [sys.executable, "-c", program, str(tmp_path), here]
    json_path, overlay_path, mask_path = still_paths(tmp_path / "a.jpg")
    for round_number in range(3):
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        process.stdout.readline()
        time.sleep(0.05 + 0.037 * round_number)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if json_path.exists():
            seed = int(json.loads(json_path.read_text())["reasons"][0].split()[1])
            assert np.array_equal(np.asarray(Image.open(overlay_path)), expected[seed].drawn)
            assert np.array_equal(np.asarray(Image.open(mask_path)), expected[seed].mask)
    write_still(tmp_path / "a.jpg", expected[2])  # what the dead left is no hindrance
    assert np.array_equal(np.asarray(Image.open(mask_path)), expected[2].mask)
    left = [name for name in names(tmp_path) if not name.startswith("a.jpg")]
    assert all(name.startswith(".dermedge-") for name in left)
    check_writable(tmp_path)
    assert names(tmp_path) == ["a.jpg.json", "a.jpg.mask.png", "a.jpg.overlay.png"]


def test_what_is_being_written_is_not_taken_for_dead(tmp_path):
    """Another run into the same folder cleans up at any moment."""
    (tmp_path / ".dermedge-own.partial").touch()  # not called as ours are
    with whole_files([tmp_path / "a", tmp_path / "b"]) as files:
        for file in files:
            file.write(b"whole")
        remove_dead_partials(tmp_path)

    assert names(tmp_path) == [".dermedge-own.partial", "a", "b"]


def test_a_file_that_is_taken_for_dead_before_it_is_locked_is_made_again(tmp_path, monkeypatch):
    lock = fcntl.flock
    taken = []

    def late(file, how):
        if not taken:
            taken.append(file.name)
            monkeypatch.setattr(fcntl, "flock", lock)
            remove_dead_partials(tmp_path)
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with whole_files([tmp_path / "a"]) as [file]:
        assert file.name != taken[0]
        file.write(b"whole")

    assert (tmp_path / "a").read_bytes() == b"whole"
    assert names(tmp_path) == ["a"]
