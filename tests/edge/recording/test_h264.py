"""Pictures come out in order, each with its own Result; an encoder that fails costs little."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from h264_for_tests import needs_h264, number_of, numbered, why_not
from shots_for_tests import shot

from edge.errors import RequestError
from edge.recording import h264 as h264_module
from edge.recording import sink as sink_module
from edge.recording.encoders import EncoderFailedError
from edge.recording.h264 import (
    DELIMITER,
    KEY_PICTURE_EVERY,
    PROGRAMS,
    H264Encoder,
    Program,
    decode,
    i420,
    is_whole_unit,
    proven_program,
)
from edge.recording.segment import codec_of, list_segments, read_frames
from edge.recording.sink import RecordSink
from models.phantom import PhantomCamera


@pytest.fixture(params=PROGRAMS, ids=lambda program: program.name)
def program(request) -> Program:
    if why_not(request.param):
        pytest.skip(why_not(request.param))
    return request.param


@pytest.fixture
def some_program() -> Program:
    needs_h264()
    found, _ = proven_program()
    assert found is not None
    return found


# --- each picture has its own place ---------------------------------------------------------------


@pytest.mark.parametrize("size_wh", [(320, 240), (321, 241), (1280, 720), (66, 50)])
def test_pictures_in_order_each_with_its_result(program: Program, size_wh: tuple[int, int]):
    encoder = H264Encoder(program, size_wh)
    count = 2 * KEY_PICTURE_EVERY + 5
    units = []
    for number in range(count):
        units += encoder.encode(numbered(number, size_wh), {"number": number})
    units += encoder.finish()
    assert encoder.lost == 0
    assert [result["number"] for _, result in units] == list(range(count))
    assert all(data.startswith(DELIMITER) and data.count(DELIMITER) == 1 for data, _ in units)
    pictures = list(decode(data for data, _ in units))
    assert [number_of(picture) for picture in pictures] == list(range(count))
    height, width = pictures[0].shape[:2]
    assert (width, height) == (size_wh[0] + size_wh[0] % 2, size_wh[1] + size_wh[1] % 2)


def test_a_picture_does_not_wait_for_long(program: Program):
    """What an encoder holds back is what a power cut costs."""
    encoder = H264Encoder(program, (320, 240))
    units = []
    for number in range(12):
        units += encoder.encode(numbered(number, (320, 240)), {})
    until_s = time.monotonic() + 20.0
    while len(units) < 10 and time.monotonic() < until_s:
        encoder._read()
        units += encoder._whole_units(at_end=False)
        time.sleep(0.02)
    encoder.finish()
    assert len(units) >= 10


def test_what_is_left_of_a_stream_plays_from_the_next_key_picture(program: Program):
    encoder = H264Encoder(program, (320, 240))
    units = []
    for number in range(2 * KEY_PICTURE_EVERY):
        units += encoder.encode(numbered(number, (320, 240)), {})
    units += encoder.finish()
    rest = [data for data, _ in units[KEY_PICTURE_EVERY:]]
    seen = [number_of(picture) for picture in decode(rest)]
    assert seen == list(range(seen[0], 2 * KEY_PICTURE_EVERY))
    assert seen[0] < 2 * KEY_PICTURE_EVERY - 1


def test_zeros_of_a_power_cut_are_told(program: Program):
    encoder = H264Encoder(program, (320, 240))
    units = [u for n in range(5) for u in encoder.encode(shot(n, (320, 240)).frame.pixels, {})]
    rng = np.random.default_rng(1)
    for data, _ in [*units, *encoder.finish()]:
        assert is_whole_unit(data)
        for _ in range(50):
            begin = int(rng.integers(0, len(data)))
            size = int(rng.integers(4, 600))
            damaged = data[:begin] + bytes(min(size, len(data) - begin)) + data[begin + size :]
            assert len(damaged) == len(data)
            assert damaged == data or not is_whole_unit(damaged)


def test_skin_keeps_its_colour(program: Program):
    """Redness is what all this is about: it may not shift with the codec."""
    camera = PhantomCamera(5, (640, 480))
    pictures = [camera.frame(number).pixels for number in range(8)]
    encoder = H264Encoder(program, (640, 480))
    units = [unit for picture in pictures for unit in encoder.encode(picture, {})]
    units += encoder.finish()
    for picture, seen in zip(pictures, decode(data for data, _ in units), strict=True):
        assert cv2.PSNR(picture, seen) > 33.0
        means = picture.reshape(-1, 3).mean(0), seen.reshape(-1, 3).mean(0)
        assert np.abs(means[0] - means[1]).max() < 1.5


def test_the_conversion_is_of_bt601_in_limited_range():
    """ITU-R BT.601: white 235, black 16, red (81, 90, 240)."""
    for rgb, yuv in (((255,) * 3, (235, 128, 128)), ((0,) * 3, (16, 128, 128)),
                     ((255, 0, 0), (81, 90, 240))):  # fmt: skip
        planes = i420(np.full((4, 4, 3), rgb, np.uint8)).reshape(-1)
        assert abs(planes[[0, 16, 20]].astype(int) - yuv).max() <= 1


# --- which one ------------------------------------------------------------------------------------


def test_a_program_is_taken_for_what_it_does_not_for_its_name(some_program: Program):
    missing = Program("a", "its package", ("no-such-encoder",))
    no_element = Program("b", "its plug-in", ("cat",), "no-such-element")
    ends = Program("c", "", ("false",))
    copies = Program("d", "", ("cat",))
    liar = replace(some_program, name="e", command=("sh", "-c", "cat > /dev/null; yes | head -9"))
    found, why = proven_program([missing, no_element, ends, copies, liar, some_program])
    assert found is some_program
    assert (
        "a: no no-such-encoder (its package)" in why and "b: no such element (its plug-in)" in why
    )
    assert "c: " in why and "d: " in why and "e: " in why
    assert proven_program([missing])[0] is None


def test_pictures_that_differ_are_no_proof(some_program: Program, monkeypatch):
    really = h264_module.i420
    monkeypatch.setattr(h264_module, "i420", lambda rgb: really(255 - rgb))
    found, why = proven_program([some_program])
    assert found is None and "what is read again differs" in why


def test_h264_asked_for_where_nothing_encodes_it(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(sink_module, "proven_program", lambda: (None, "ffmpeg: not there"))
    with pytest.raises(RequestError, match="ffmpeg: not there"):
        RecordSink(tmp_path, codec="h264", reserve_bytes=0).open()


def test_without_an_encoder_auto_records_jpeg_and_says_so_once(tmp_path: Path, monkeypatch, caplog):
    monkeypatch.setattr(sink_module, "proven_program", lambda: (None, "ffmpeg: not there"))
    caplog.set_level(logging.INFO)
    sink = RecordSink(tmp_path, reserve_bytes=0, segment_s=0.0)
    sink.open()
    for number in range(3):
        sink.write(shot(number, (128, 96)))
    sink.close()
    assert [codec_of(segment) for segment in list_segments(tmp_path)] == ["mjpeg"] * 3
    said = [text for text in caplog.messages if "recording with" in text]
    assert said == ["recording with JPEG, quality 85 (ffmpeg: not there)"]


# --- one that fails -------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM])
def test_an_encoder_that_ends_or_hangs_costs_only_what_it_held(
    tmp_path: Path, monkeypatch, caplog, some_program: Program, sent: signal.Signals
):
    monkeypatch.setattr(h264_module, "ANSWER_WITHIN_S", 0.5)
    monkeypatch.setattr(h264_module, "FINISH_WITHIN_S", 0.5)
    sink = RecordSink(tmp_path, codec="h264", reserve_bytes=0)
    sink.open()
    for number in range(10):
        sink.write(shot(number, (1280, 720)))
    child = sink._encoder._child
    os.killpg(child.pid, sent)
    for number in range(10, 20):
        sink.write(shot(number, (1280, 720)))
    sink.close()
    assert child.poll() is not None  # none is left behind, none is a zombie
    first, second = list_segments(tmp_path)
    assert (codec_of(first), codec_of(second)) == ("h264", "mjpeg")
    kept = [line.result["frame"]["id"] for line, _ in read_frames(first)]
    rest = [line.result["frame"]["id"] for line, _ in read_frames(second)]
    summary = json.loads((first / "segment.json").read_text())
    assert kept == list(range(len(kept))) and rest == list(range(rest[0], 20))
    assert summary["lost"] == rest[0] - len(kept)
    assert len(list(decode(data for _, data in read_frames(first)))) == len(kept)
    assert "it goes on as JPEG pictures" in caplog.text


def test_one_that_is_full_of_pictures_is_told_at_the_end(tmp_path: Path, some_program: Program):
    """It takes everything and gives nothing: the segment is closed, empty, and says so."""
    silent = replace(some_program, command=("sh", "-c", "cat > /dev/null"))
    encoder = H264Encoder(silent, (64, 48))
    assert encoder.encode(numbered(1, (64, 48)), {}) == []
    assert encoder.finish() == [] and encoder.lost == 1


def test_one_that_cannot_be_started(monkeypatch):
    def fails(*_, **__):
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(subprocess, "Popen", fails)
    with pytest.raises(EncoderFailedError, match="Cannot allocate memory"):
        H264Encoder(PROGRAMS[1], (64, 48))


def test_ctrl_c_does_not_reach_the_encoder(tmp_path: Path, some_program: Program):
    """Of a run that is interrupted everything that was recorded is in the segment."""
    code = (
        "import sys, time; sys.path[:0] = sys.argv[2:]\n"
        "from pathlib import Path\n"
        "from edge.recording.sink import RecordSink\n"
        "from shots_for_tests import shot\n"
        "sink = RecordSink(Path(sys.argv[1]), codec='h264', reserve_bytes=0)\n"
        "sink.open()\n"
        "for number in range(5): sink.write(shot(number, (128, 96)))\n"
        "print('ready', flush=True)\n"
        "try: time.sleep(60)\n"
        "except KeyboardInterrupt: sink.close()\n"
    )
    roots = [str(Path(__file__).parents[3]), str(Path(__file__).parents[2])]
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path), *roots],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert child.stdout is not None and child.stdout.readline() == b"ready\n"
    time.sleep(0.1)
    os.killpg(child.pid, signal.SIGINT)
    child.communicate(timeout=30)
    (segment,) = list_segments(tmp_path)
    assert len(list(read_frames(segment))) == 5
