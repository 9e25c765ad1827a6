"""A recording is playable and complete, or it is not there."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import threading
from collections import namedtuple
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.errors import InputError, RequestError
from edge.frame import Frame
from edge.sinks import video
from edge.sinks.base import Shot
from edge.sinks.video import VideoSink
from edge.sources.containers import check_container

Usage = namedtuple("Usage", "total used free")


def shot(index: int, size_wh: tuple[int, int] = (64, 48)) -> Shot:
    """A plain picture whose grey level is ``20 * index``; the sink uses nothing else of it."""
    pixels = np.full((size_wh[1], size_wh[0], 3), (20 * index) % 256, np.uint8)
    pixels[..., 0] = 200  # red
    frame = Frame(pixels, index, "test", None, None, "file")
    return Shot(frame, None, None, pixels)


def record(path: Path, shots: list[Shot], **options: object) -> VideoSink:
    sink = VideoSink(path, 25.0, **options)
    sink.open()
    for one in shots:
        assert sink.write(one)
    sink.close()
    return sink


def played(path: Path) -> list[np.ndarray]:
    """RGB frames."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    frames = []
    while True:
        found, bgr = capture.read()
        if not found:
            return frames
        frames.append(bgr[..., ::-1])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("size_wh", [(64, 48), (65, 49), (3, 5), (1, 1), (640, 16)])
def test_every_frame_is_in_it(tmp_path, size_wh):
    path = tmp_path / "sub" / "größe.webm"

    record(path, [shot(i, size_wh) for i in range(12)], own_thread=False)

    frames = played(path)
    assert len(frames) == 12
    assert names(path.parent) == ["größe.webm"]
    for index, frame in enumerate(frames):
        red, green, blue = frame[: max(1, size_wh[1] // 2), : max(1, size_wh[0] // 2)].mean((0, 1))
        assert abs(green - 20 * index) < 12
        assert abs(blue - 20 * index) < 12
        assert abs(red - 200) < 12


def test_frames_of_other_sizes_are_fitted_into_the_first(tmp_path):
    path = tmp_path / "a.webm"
    sizes = [(64, 48), (200, 100), (30, 90), (64, 48)]

    record(path, [shot(5, size) for size in sizes], own_thread=False)

    frames = played(path)
    assert [frame.shape for frame in frames] == [(48, 64, 3)] * 4
    assert abs(frames[1][10, 10].astype(int) - (200, 100, 100)).max() < 15
    assert frames[1][44, 10].max() < 60  # black below the wide one
    assert frames[2][10, 60].max() < 60  # and beside the tall one


def test_an_earlier_recording_is_replaced_only_by_a_whole_one(tmp_path):
    path = tmp_path / "a.webm"
    record(path, [shot(i) for i in range(3)], own_thread=False)
    sink = VideoSink(path, 25.0, own_thread=False)
    sink.open()
    for i in range(6):
        sink.write(shot(i))

    assert len(played(path)) == 3
    sink.close()
    assert len(played(path)) == 6
    sink.close()  # harmless


def test_without_frames_there_is_no_file(tmp_path):
    record(tmp_path / "a.webm", [])

    assert names(tmp_path) == []


def test_a_discarded_recording_leaves_no_file(tmp_path):
    for own_thread in (False, True):
        sink = VideoSink(tmp_path / "a.webm", 25.0, own_thread=own_thread)
        sink.open()
        sink.write(shot(1))
        sink.discard()
        sink.close()

    assert names(tmp_path) == []


# --- the capture's pace -------------------------------------------------------------------------


def taken_at(seconds: float | None, index: int) -> Shot:
    one = shot(index)
    captured_ns = None if seconds is None else round(seconds * 1e9)
    clock = None if seconds is None else "monotonic"
    return Shot(
        Frame(one.drawn, index, "test", captured_ns, clock, "arrival"), None, None, one.drawn
    )


@pytest.mark.parametrize(
    ("seconds", "copies"),
    [
        ((100.0, 100.04, 100.08), [0, 1, 2]),  # at the video's own 25 per second
        ((0.0, 0.12, 0.2), [0, 1, 1, 1, 2, 2]),  # slower: repeated
        ((0.0, 0.01, 0.04, 0.05, 0.08), [0, 2, 4]),  # faster: left out
        ((0.0, 60.0, 60.04), [0, 1, 2]),  # a camera that was gone for a minute
        ((50.0, 50.04, 0.0, 0.04), [0, 1, 2, 3]),  # a clock that began anew
        ((None, None, None), [0, 1, 2]),  # stills
    ],
)
def test_it_plays_as_long_as_the_capture_took(tmp_path, seconds, copies):
    path = tmp_path / "a.webm"
    shots = [taken_at(at, index) for index, at in enumerate(seconds)]
    record(path, shots, own_thread=False, keep_pace=True)
    assert [round(frame[..., 1].mean() / 20) for frame in played(path)] == copies


@pytest.mark.parametrize(
    ("size_wh", "expected_wh"),
    [((640, 360), (320, 180)), ((300, 999), (96, 320)), ((320, 200), (320, 200))],
)
def test_a_large_picture_can_be_recorded_smaller(tmp_path, size_wh, expected_wh):
    path = tmp_path / "a.webm"
    record(path, [shot(3, size_wh)], own_thread=False, long_side_px=320)
    (frame,) = played(path)
    assert (frame.shape[1], frame.shape[0]) == expected_wh
    assert abs(frame[..., 1].mean() - 60) < 6


# --- its own thread -----------------------------------------------------------------------------


def test_on_its_own_thread_it_drops_and_counts_what_it_has_no_time_for(tmp_path, monkeypatch):
    gate = threading.Event()
    write = video._Encoder.write

    def held(self, bgr):
        assert gate.wait(10)
        write(self, bgr)

    monkeypatch.setattr(video._Encoder, "write", held)
    sink = VideoSink(tmp_path / "a.webm", 25.0, own_thread=True)
    sink.open()
    for index in range(10):
        sink.write(shot(index))
    assert sink.dropped_frames == 8  # two buffers
    gate.set()
    sink.close()

    frames = played(tmp_path / "a.webm")
    assert [round(frame[..., 1].mean() / 20) for frame in frames] == [0, 1]


def test_on_its_own_thread_pixels_may_change_after_write(tmp_path):
    one = shot(3)
    sink = VideoSink(tmp_path / "a.webm", 25.0, own_thread=True)
    sink.open()
    sink.write(one)
    one.drawn[:] = 0
    sink.close()

    assert abs(played(tmp_path / "a.webm")[0][..., 1].mean() - 60) < 6


def test_a_failing_thread_is_told_once_and_never_hangs(tmp_path, monkeypatch):
    def fail(self, bgr):
        raise InputError("a disk", got="none", next_step="buy one")

    monkeypatch.setattr(video._Encoder, "write", fail)
    sink = VideoSink(tmp_path / "a.webm", 25.0, own_thread=True)
    sink.open()
    told = 0
    for index in range(50):
        try:
            sink.write(shot(index))
        except InputError:
            told += 1
        sink._thread and sink._thread._thread.join(0.01)
    sink.close()

    assert told == 1
    assert names(tmp_path) == []


# --- failures -----------------------------------------------------------------------------------


def test_another_suffix_is_refused(tmp_path):
    with pytest.raises(RequestError, match=r"\.webm"):
        VideoSink(tmp_path / "a.mp4", 25.0).open()


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(InputError, match="to write"):
        VideoSink(tmp_path / "file" / "a.webm", 25.0).open()


def test_a_folder_whose_name_is_no_utf8(tmp_path):
    """OpenCV's binding was seen to end the whole process on such a path."""
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    sink = VideoSink(folder / "a.webm", 25.0, own_thread=False)
    sink.open()

    with pytest.raises(InputError, match="in UTF-8"):
        sink.write(shot(0))


def test_an_encoder_that_cannot_be_had(tmp_path, monkeypatch):
    monkeypatch.setattr(cv2.videoio_registry, "getWriterBackends", lambda: ())
    sink = VideoSink(tmp_path / "a.webm", 25.0, own_thread=False)
    sink.open()

    with pytest.raises(InputError, match="an OpenCV that can write 64x48 VP8"):
        sink.write(shot(0))
    sink.close()
    assert names(tmp_path) == []


def test_a_disk_that_is_nearly_full_is_refused_at_the_start(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1, 1, 1 << 20))

    with pytest.raises(InputError, match="got 1 MB"):
        VideoSink(tmp_path / "a.webm", 25.0).open()


@pytest.mark.parametrize("own_thread", [False, True])
def test_a_disk_that_fills_up_ends_the_recording_but_keeps_it(tmp_path, monkeypatch, own_thread):
    free = [1 << 30]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, free[0]))
    sink = VideoSink(tmp_path / "a.webm", 25.0, own_thread=own_thread)
    sink.open()
    recorded = 0
    with pytest.raises(InputError, match="at least 16 MB free"):
        for index in range(1000):
            if index == 20:
                free[0] = 1 << 20
            sink.write(shot(index))
            recorded += 1
            if own_thread:
                sink._thread._thread.join(0.02)
    sink.close()

    frames = played(tmp_path / "a.webm")
    assert 20 <= len(frames) <= 25
    assert recorded >= 25
    assert names(tmp_path) == ["a.webm"]


def test_a_recording_that_the_disk_cut_off_gets_no_name(tmp_path):
    """The encoder's library does not report that the system refused its bytes."""
    program = (
        "import resource, sys; sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path; import numpy as np\n"
        "from test_video import VideoSink, Shot, Frame, InputError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))\n"
        "sink = VideoSink(Path(sys.argv[1]) / 'a.webm', 25.0, own_thread=False)\n"
        "sink.open(); rng = np.random.default_rng(0)\n"
        "for i in range(40):\n"
        "    pixels = rng.integers(0, 256, (120, 160, 3), np.uint8)\n"
        "    sink.write(Shot(Frame(pixels, i, 't', None, None, 'file'), None, None, pixels))\n"
        "try: sink.close()\n"
        "except InputError as error: print(error)\n"
    )
    here = str(Path(__file__).parent)

    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), here], capture_output=True, text=True
    )

    assert done.stdout.startswith(f"expected 40 frames in {tmp_path / 'a.webm'}; got fewer")
    assert done.stderr == ""
    assert names(tmp_path) == []


def test_the_encoder_says_nothing_on_stderr(tmp_path, capfd):
    record(tmp_path / "a.webm", [shot(i) for i in range(3)])

    assert capfd.readouterr().err == ""


def test_what_was_recorded_is_whole(tmp_path):
    record(tmp_path / "a.webm", [shot(i) for i in range(30)], own_thread=False)

    assert check_container(tmp_path / "a.webm").packets == 30
    assert os.stat(tmp_path / "a.webm").st_size > 0


def test_a_killed_recording_is_removed_and_a_living_one_is_not(tmp_path, caplog):
    """SIGKILL leaves no time to clean up; the next one to write into the folder does."""
    program = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path; from test_video import VideoSink, shot\n"
        "sink = VideoSink(Path(sys.argv[1]), 25.0, own_thread=False)\n"
        "sink.open()\n"
        "for index in range(60): sink.write(shot(index, (320, 240)))\n"
        "print('recording', flush=True)\n"
        "sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "a.webm"), str(Path(__file__).parent)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"recording\n"
        (partial,) = names(tmp_path)

        record(tmp_path / "b.webm", [shot(0)])

        assert names(tmp_path) == [partial, "b.webm"]
        assert caplog.messages == []
    finally:
        process.kill()
        process.communicate()
    assert names(tmp_path) == [partial, "b.webm"]

    record(tmp_path / "c.webm", [shot(0)])

    assert names(tmp_path) == ["b.webm", "c.webm"]
    assert caplog.messages == [
        f"removed 1 unfinished file of a killed run from {tmp_path}; "
        "a recording that is killed before its end is lost"
    ]


def test_who_begins_a_recording_is_told_what_a_kill_costs(tmp_path, caplog):
    caplog.set_level(logging.INFO, "dermedge.sink")

    record(tmp_path / "a.webm", [shot(0)])

    assert caplog.messages == [
        f"video {tmp_path / 'a.webm'} appears when it is complete; "
        "if the program is killed it is lost"
    ]
