"""Everything that was closed stays, everything opens, and of the rest little is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from shots_for_tests import shot

from edge.errors import InputError
from edge.recording import playable as playable_module
from edge.recording import retention as retention_module
from edge.recording import sink as sink_module
from edge.recording.playable import make_playable
from edge.recording.segment import (
    FRAMES,
    LOCK,
    OPEN_SUFFIX,
    VIDEO,
    list_segments,
    next_number,
    read_frames,
    recover,
)
from edge.recording.sink import RecordSink

SIZE_WH = (128, 96)


def record(folder: Path, count: int, **options) -> RecordSink:
    sink = RecordSink(folder, reserve_bytes=0, **options)
    sink.open()
    for number in range(count):
        assert sink.write(shot(number, SIZE_WH))
    return sink


def ids(segment: Path) -> list[int]:
    return [line.result["frame"]["id"] for line, _ in read_frames(segment)]


def test_every_frame_is_there_with_its_result(tmp_path: Path):
    record(tmp_path, 20).close()
    (segment,) = list_segments(tmp_path)
    assert ids(segment) == list(range(20))
    summary = json.loads((segment / "segment.json").read_text())
    assert summary["frames"] == 20 and summary["what"] == "clean"
    assert summary["size_wh"] == [128, 96] and summary["schema"] == "dermedge.segment/1"
    for line, jpeg in read_frames(segment):
        picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert picture.shape == (96, 128, 3)
        assert line.result["schema"] == "dermedge.result/1"


@pytest.mark.parametrize("what", ["clean", "drawn"])
def test_what_is_recorded_is_what_was_asked_for(tmp_path: Path, what: str):
    sink = RecordSink(tmp_path, what, reserve_bytes=0)
    assert sink.wants_drawn == (what == "drawn")
    sink.open()
    some = shot(1, SIZE_WH)
    sink.write(some)
    sink.close()
    ((_, jpeg),) = read_frames(list_segments(tmp_path)[0])
    seen = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)[..., ::-1].astype(int)
    wanted = some.frame.pixels if what == "clean" else some.drawn
    other = some.drawn if what == "clean" else some.frame.pixels
    assert abs(seen - wanted.astype(int)).mean() < abs(seen - other.astype(int)).mean()


def test_a_new_segment_after_its_time_and_with_another_size(tmp_path: Path):
    sink = record(tmp_path, 3, segment_s=0.0)
    sink.close()
    assert [ids(segment) for segment in list_segments(tmp_path)] == [[0], [1], [2]]
    sink = record(tmp_path, 2)
    sink.write(shot(7, (64, 48)))
    sink.close()
    assert [ids(segment) for segment in list_segments(tmp_path)][3:] == [[0, 1], [7]]
    assert [path.name for path in list_segments(tmp_path)] == [f"{n:06d}" for n in range(1, 6)]


# --- power cuts and kills -----------------------------------------------------------------------


def test_what_was_left_open_is_closed_at_its_last_whole_picture(tmp_path: Path):
    """Cut anywhere in either file, as a power cut may leave them."""
    sink = record(tmp_path / "a", 12)
    sink._segment._sync()
    left = tmp_path / "a" / f"000001{OPEN_SUFFIX}"
    video, frames = (left / VIDEO).read_bytes(), (left / FRAMES).read_bytes()
    rng = np.random.default_rng(2)
    for round_ in range(60):
        folder = tmp_path / f"cut{round_}"
        (folder / f"000004{OPEN_SUFFIX}").mkdir(parents=True)
        cut_video, cut_frames = rng.integers(0, len(video) + 1), rng.integers(0, len(frames) + 1)
        tail = bytes(int(rng.integers(0, 3)) * 4096)  # sectors that were never written
        (folder / f"000004{OPEN_SUFFIX}" / VIDEO).write_bytes(video[:cut_video] + tail)
        (folder / f"000004{OPEN_SUFFIX}" / FRAMES).write_bytes(frames[:cut_frames])
        (segment,) = recover(folder)
        seen = ids(segment)
        assert seen == list(range(len(seen)))
        whole = sum(end <= cut_video for end in _ends(frames)) if cut_video else 0
        lines = frames[:cut_frames].count(b"\n")
        assert len(seen) == min(whole, lines)
        assert (segment / VIDEO).stat().st_size == sum(
            len(jpeg) for _, jpeg in read_frames(segment)
        )
        assert recover(folder) == [] and list_segments(folder) == [segment]
        assert next_number(folder) == 5
    sink.close()


def _ends(frames: bytes) -> list[int]:
    lines = [json.loads(line) for line in frames.splitlines()]
    return [line["offset"] + line["bytes"] for line in lines]


_WRITER = """
import sys
sys.path[:0] = sys.argv[2:]
from pathlib import Path
from edge.recording.sink import RecordSink
from shots_for_tests import shot
sink = RecordSink(Path(sys.argv[1]), reserve_bytes=0, segment_s=0.15)
sink.open()
print("ready", flush=True)
number = 0
while True:
    sink.write(shot(number, (128, 96)))
    number += 1
"""


def test_killed_at_any_moment_closed_segments_stay_and_everything_opens(tmp_path: Path):
    rng = np.random.default_rng(3)
    roots = [str(Path(__file__).parents[3]), str(Path(__file__).parents[2])]
    before: dict[str, list[int]] = {}
    for _ in range(6):
        child = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(tmp_path), *roots], stdout=subprocess.PIPE
        )
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        time.sleep(float(rng.uniform(0.05, 0.6)))
        child.send_signal(signal.SIGKILL)
        child.communicate()
        for name, seen in before.items():
            assert ids(tmp_path / name) == seen
        RecordSink(tmp_path, reserve_bytes=0).open()
        assert not list(tmp_path.glob(f"*{OPEN_SUFFIX}"))
        before = {path.name: ids(path) for path in list_segments(tmp_path)}
        assert all(
            seen == list(range(seen[0], seen[0] + len(seen))) for seen in before.values() if seen
        )
    assert len(before) > 6


def test_only_what_is_surely_ours_is_recovered_or_removed(tmp_path: Path):
    others = [tmp_path / "notes.open", tmp_path / "000009", tmp_path / "000008.open"]
    for path in others:
        path.mkdir()
        (path / "mine.txt").write_text("x")
    (tmp_path / "000007.open").symlink_to(tmp_path / "notes.open")
    assert recover(tmp_path) == [] and list_segments(tmp_path) == []
    assert all((path / "mine.txt").exists() for path in others)
    assert next_number(tmp_path) == 10


# --- room ---------------------------------------------------------------------------------------


@pytest.fixture
def disk(monkeypatch):
    """A disk on which every segment takes 100 MB of the 1000 that it has."""

    def free(folder: Path) -> int:
        return 1000 - 100 * len([path for path in folder.iterdir() if path.is_dir()])

    monkeypatch.setattr(retention_module, "free_bytes", free)
    monkeypatch.setattr(sink_module, "free_bytes", free)
    monkeypatch.setattr(sink_module, "ROOM_MARGIN_BYTES", 0)
    monkeypatch.setattr(sink_module, "LOOK_AT_ROOM_EVERY_S", 0.0)
    return free


def test_the_oldest_go_first_and_locked_ones_never(tmp_path: Path, disk):
    sink = RecordSink(tmp_path, reserve_bytes=0, segment_s=0.0)
    sink.open()
    for number in range(6):
        sink.write(shot(number, SIZE_WH))
    sink.close()
    (tmp_path / "000002" / LOCK).touch()
    (tmp_path / "somebody's").mkdir()
    sink = RecordSink(tmp_path, reserve_bytes=600, segment_s=0.0)
    sink.open()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "000002",
        "000005",
        "000006",
        "somebody's",
    ]
    sink.close()


def test_where_only_locked_ones_are_left_recording_ends_with_words(tmp_path: Path, disk):
    sink = record(tmp_path, 3, segment_s=0.0)
    sink.close()
    for segment in list_segments(tmp_path):
        (segment / LOCK).touch()
    with pytest.raises(InputError, match="only locked recordings are left"):
        RecordSink(tmp_path, reserve_bytes=800).open()
    assert len(list_segments(tmp_path)) == 3


def test_a_full_disk_ends_recording_and_what_was_closed_stays(tmp_path: Path):
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    mounted = tmp_path / "disk"
    mounted.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(mounted)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("no tmpfs can be mounted here")
    try:
        sink = RecordSink(mounted, reserve_bytes=0, segment_s=0.0)  # one picture each
        sink.open()
        with pytest.raises(InputError, match="No space left on device"):
            for number in range(2000):
                sink.write(shot(number, SIZE_WH))
        sink.close()
        closed = list_segments(mounted)
        assert closed and all(ids(segment) for segment in closed)
    finally:
        subprocess.run(["umount", mounted], check=True)


# --- to be played -------------------------------------------------------------------------------


def test_a_segment_becomes_a_video_that_plays(tmp_path: Path):
    record(tmp_path / "rec", 12).close()
    (segment,) = list_segments(tmp_path / "rec")
    video = make_playable(segment, tmp_path / "out")
    assert video.suffix in (".webm", ".mp4")
    capture = cv2.VideoCapture(str(video))
    frames = 0
    while capture.read()[0]:
        frames += 1
    capture.release()
    assert frames >= 12 - 1


def test_an_empty_segment_is_no_video(tmp_path: Path):
    record(tmp_path / "rec", 1).close()
    (segment,) = list_segments(tmp_path / "rec")
    (segment / FRAMES).write_text("")
    with pytest.raises(InputError, match="a recording with pictures"):
        make_playable(segment, tmp_path / "out")


def test_a_video_that_is_interrupted_leaves_nothing_that_looks_whole(tmp_path: Path, monkeypatch):
    record(tmp_path / "rec", 12).close()
    (segment,) = list_segments(tmp_path / "rec")

    def interrupted(_):
        yield from list(read_frames(segment))[:3]
        raise KeyboardInterrupt

    calls = iter([read_frames, interrupted])
    monkeypatch.setattr(playable_module, "read_frames", lambda path: next(calls)(path))
    with pytest.raises(KeyboardInterrupt):
        make_playable(segment, tmp_path / "video" / "video")
    assert not [p for p in (tmp_path / "video").iterdir() if p.suffix in (".mp4", ".webm")]
