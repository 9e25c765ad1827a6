"""Everything that was closed stays, everything opens, and of the rest little is lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from h264_for_tests import needs_h264, number_of, numbered
from shots_for_tests import shot

from edge.errors import InputError
from edge.recording import playable as playable_module
from edge.recording import retention as retention_module
from edge.recording import sink as sink_module
from edge.recording.h264 import decode
from edge.recording.playable import make_playable
from edge.recording.segment import (
    FRAMES,
    LOCK,
    OPEN_SUFFIX,
    codec_of,
    list_segments,
    next_number,
    read_frames,
    recover,
    video_of,
)
from edge.recording.sink import RecordSink

SIZE_WH = (128, 96)


@pytest.fixture(params=["mjpeg", "h264"])
def codec(request) -> str:
    """Both, where something here encodes the second."""
    if request.param == "h264":
        needs_h264()
    return request.param


def record(folder: Path, count: int, codec: str = "mjpeg", **options) -> RecordSink:
    sink = RecordSink(folder, codec=codec, reserve_bytes=0, **options)
    sink.open()
    for number in range(count):
        assert sink.write(shot(number, SIZE_WH))
    return sink


def ids(segment: Path) -> list[int]:
    return [line.result["frame"]["id"] for line, _ in read_frames(segment)]


def decoded(segment: Path) -> list[np.ndarray]:
    pictures = [picture for _, picture in read_frames(segment)]
    if codec_of(segment) == "h264":
        return list(decode(pictures))
    return [cv2.imdecode(np.frombuffer(one, np.uint8), 1)[..., ::-1] for one in pictures]


def test_every_frame_is_there_with_its_result(tmp_path: Path, codec: str):
    record(tmp_path, 40, codec).close()
    (segment,) = list_segments(tmp_path)
    assert ids(segment) == list(range(40))
    summary = json.loads((segment / "segment.json").read_text())
    assert summary["frames"] == 40 and summary["what"] == "clean"
    assert summary["codec"] == codec == codec_of(segment) and summary["lost"] == 0
    assert summary["size_wh"] == [128, 96] and summary["schema"] == "dermedge.segment/1"
    pictures = decoded(segment)
    assert [picture.shape for picture in pictures] == [(96, 128, 3)] * 40
    assert all(
        line.result["schema"] == "dermedge.result/1"
        and line.result["frame"]["captured_ns"] is not None
        for line, _ in read_frames(segment)
    )


@pytest.mark.parametrize("what", ["clean", "drawn"])
def test_what_is_recorded_is_what_was_asked_for(tmp_path: Path, what: str, codec: str):
    sink = RecordSink(tmp_path, what, codec=codec, reserve_bytes=0)
    assert sink.wants_drawn == (what == "drawn")
    sink.open()
    some = shot(1, SIZE_WH)
    sink.write(some)
    sink.close()
    (picture,) = decoded(list_segments(tmp_path)[0])
    seen = picture.astype(int)
    wanted = some.frame.pixels if what == "clean" else some.drawn
    other = some.drawn if what == "clean" else some.frame.pixels
    assert abs(seen - wanted.astype(int)).mean() < abs(seen - other.astype(int)).mean()


def test_a_new_segment_after_its_time_and_with_another_size(tmp_path: Path, codec: str):
    sink = record(tmp_path, 3, codec, segment_s=0.0)
    sink.close()
    assert [ids(segment) for segment in list_segments(tmp_path)] == [[0], [1], [2]]
    sink = record(tmp_path, 2, codec)
    sink.write(shot(7, (64, 48)))
    sink.close()
    assert [ids(segment) for segment in list_segments(tmp_path)][3:] == [[0, 1], [7]]
    assert [path.name for path in list_segments(tmp_path)] == [f"{n:06d}" for n in range(1, 6)]
    assert all(len(decoded(segment)) == len(ids(segment)) for segment in list_segments(tmp_path))


# --- power cuts and kills -----------------------------------------------------------------------


def test_what_was_left_open_is_closed_at_its_last_whole_picture(tmp_path: Path, codec: str):
    """Cut anywhere in either file, as a power cut may leave them."""
    record(tmp_path / "a", 12, codec).close()
    left = tmp_path / "a" / "000001"
    name = video_of(left).name
    video, frames = (left / name).read_bytes(), (left / FRAMES).read_bytes()
    rng = np.random.default_rng(2)
    for round_ in range(60):
        folder = tmp_path / f"cut{round_}"
        (folder / f"000004{OPEN_SUFFIX}").mkdir(parents=True)
        cut_video, cut_frames = rng.integers(0, len(video) + 1), rng.integers(0, len(frames) + 1)
        tail = bytes(int(rng.integers(0, 3)) * 4096)  # sectors that were never written
        (folder / f"000004{OPEN_SUFFIX}" / name).write_bytes(video[:cut_video] + tail)
        (folder / f"000004{OPEN_SUFFIX}" / FRAMES).write_bytes(frames[:cut_frames])
        (segment,) = recover(folder)
        seen = ids(segment)
        assert seen == list(range(len(seen)))
        whole = sum(end <= cut_video for end in _ends(frames)) if cut_video else 0
        lines = frames[:cut_frames].count(b"\n")
        assert len(seen) == min(whole, lines)
        assert (segment / name).stat().st_size == sum(len(one) for _, one in read_frames(segment))
        assert len(decoded(segment)) == len(seen)
        assert recover(folder) == [] and list_segments(folder) == [segment]
        assert next_number(folder) == 5


def _ends(frames: bytes) -> list[int]:
    lines = [json.loads(line) for line in frames.splitlines()]
    return [line["offset"] + line["bytes"] for line in lines]


_WRITER = """
import sys
sys.path[:0] = sys.argv[3:]
from pathlib import Path
from edge.recording.sink import RecordSink
from shots_for_tests import shot
sink = RecordSink(Path(sys.argv[1]), codec=sys.argv[2], reserve_bytes=0, segment_s=0.15)
sink.open()
print("ready", flush=True)
number = 0
while True:
    sink.write(shot(number, (128, 96)))
    number += 1
"""


def test_killed_at_any_moment_closed_segments_stay_and_everything_opens(tmp_path: Path, codec: str):
    rng = np.random.default_rng(3)
    roots = [str(Path(__file__).parents[3]), str(Path(__file__).parents[2])]
    before: dict[str, list[int]] = {}
    for _ in range(6):
        child = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(tmp_path), codec, *roots], stdout=subprocess.PIPE
        )
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        time.sleep(float(rng.uniform(0.05, 0.6)))
        child.send_signal(signal.SIGKILL)
        child.communicate()
        for name, seen in before.items():
            assert ids(tmp_path / name) == seen
        RecordSink(tmp_path, codec="mjpeg", reserve_bytes=0).open()
        assert not list(tmp_path.glob(f"*{OPEN_SUFFIX}"))
        before = {path.name: ids(path) for path in list_segments(tmp_path)}
        assert all(
            seen == list(range(seen[0], seen[0] + len(seen))) for seen in before.values() if seen
        )
    assert len(before) > 6
    assert all(len(decoded(tmp_path / name)) == len(seen) for name, seen in before.items())


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
    monkeypatch.setattr(retention_module, "_size", lambda _: 100)
    monkeypatch.setattr(sink_module, "free_bytes", free)
    monkeypatch.setattr(sink_module, "ROOM_MARGIN_BYTES", 0)
    monkeypatch.setattr(sink_module, "LOOK_AT_ROOM_EVERY_S", 0.0)
    return free


def test_the_oldest_go_first_and_locked_ones_never(tmp_path: Path, disk):
    sink = RecordSink(tmp_path, codec="mjpeg", reserve_bytes=0, segment_s=0.0)
    sink.open()
    for number in range(6):
        sink.write(shot(number, SIZE_WH))
    sink.close()
    (tmp_path / "000002" / LOCK).touch()
    (tmp_path / "somebody's").mkdir()
    sink = RecordSink(tmp_path, codec="mjpeg", reserve_bytes=600, segment_s=0.0)
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
    with pytest.raises(InputError, match="no recordings that may be removed"):
        RecordSink(tmp_path, reserve_bytes=800).open()
    assert len(list_segments(tmp_path)) == 3


def test_what_is_made_free_beyond_the_floor_is_no_condition(tmp_path: Path, disk):
    record(tmp_path, 4, segment_s=0.0).close()
    assert retention_module.make_room(tmp_path, 900, 200) == 4  # 1000 is all there is
    assert list_segments(tmp_path) == []


def test_nothing_goes_for_a_disk_that_somebody_else_fills(tmp_path: Path, monkeypatch):
    record(tmp_path, 3, segment_s=0.0).close()
    monkeypatch.setattr(retention_module, "free_bytes", lambda _: 1 << 20)
    monkeypatch.setattr(sink_module, "free_bytes", lambda _: 1 << 20)
    with pytest.raises(InputError, match="got 1 MB, and no recordings .* would make enough"):
        RecordSink(tmp_path, reserve_bytes=1 << 30).open()
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
        sink = RecordSink(
            mounted, codec="mjpeg", reserve_bytes=0, segment_s=0.0
        )  # one picture each
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


@pytest.mark.parametrize("has_ffmpeg", [True, False])
def test_a_segment_becomes_a_video_that_plays(
    tmp_path: Path, monkeypatch, codec: str, has_ffmpeg: bool
):
    """At the rate at which the pictures were taken, which the stream itself does not know."""
    if has_ffmpeg and shutil.which("ffmpeg") is None:
        pytest.skip("no ffmpeg")
    sink = record(tmp_path / "rec", 0, codec)
    shots = [shot(number, SIZE_WH, live=False) for number in range(36)]  # 10 per second
    for number, one in enumerate(shots):
        sink.write(replace(one, frame=replace(one.frame, pixels=numbered(number, SIZE_WH))))
    sink.close()
    (segment,) = list_segments(tmp_path / "rec")
    if not has_ffmpeg:
        monkeypatch.setattr(playable_module.shutil, "which", lambda _: None)
    video = make_playable(segment, tmp_path / "out")
    assert video.suffix == (".mp4" if has_ffmpeg else ".webm")
    capture = cv2.VideoCapture(str(video))
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(10.0, rel=0.03)
    seen = []
    while (read := capture.read())[0]:
        seen.append(read[1][..., ::-1])
    capture.release()
    assert [number_of(picture) for picture in seen] == list(range(36))
    assert [path.name for path in tmp_path.iterdir() if path.name != "rec"] == [video.name]


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
