"""A recording that was analyzed picture by picture plays as long as the original."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import pytest
from shots_for_tests import shot

from edge.sinks.recorded_video import RecordedVideoSink


def recorded(path: Path, at_ns: list[int | None]) -> tuple[int, float]:
    """Number of pictures in the video and its rate."""
    sink = RecordedVideoSink(path, usual_fps=25.0)
    sink.open()
    for number, captured_ns in enumerate(at_ns):
        one = shot(number)
        clock = None if captured_ns is None else "recording"
        frame = replace(one.frame, captured_ns=captured_ns, captured_clock=clock)
        assert sink.write(replace(one, frame=frame))
    sink.close()
    sink.close()
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    pictures = 0
    while capture.read()[0]:
        pictures += 1
    return pictures, capture.get(cv2.CAP_PROP_FPS)


def test_every_picture_at_the_recordings_own_rate(tmp_path: Path):
    """A clip of 10 pictures a second once played at 25."""
    at_ns: list[int | None] = [number * 100_000_000 for number in range(12)]
    assert recorded(tmp_path / "a.webm", at_ns) == (12, pytest.approx(10.0, abs=0.01))


@pytest.mark.parametrize("at_ns", [[0], [None, None, None], [0, 0, 0]])
def test_where_there_is_no_rate_the_usual_one(tmp_path: Path, at_ns: list[int | None]):
    assert recorded(tmp_path / "a.webm", at_ns) == (len(at_ns), pytest.approx(25.0, abs=0.01))
