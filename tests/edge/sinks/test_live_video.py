"""A live video plays as long as the capture took, at the pace of the analysis."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import pytest
from shots_for_tests import shot

from edge.errors import RequestError
from edge.sinks.live_video import LiveVideoSink


def recorded(path: Path, seconds: list[float], highest_fps: float = 10.0) -> tuple[int, float]:
    """Number of pictures in the video and its rate; the encoder is waited for between them."""
    sink = LiveVideoSink(path, highest_fps)
    sink.open()
    for number, at_s in enumerate(seconds):
        one = shot(number)
        frame = replace(one.frame, captured_ns=round(at_s * 1e9))
        assert sink.write(replace(one, frame=frame))
        thread = sink._video and sink._video._thread
        while thread and thread._empty.qsize() < 2:
            pass
    sink.close()
    sink.close()
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    pictures = 0
    while capture.read()[0]:
        pictures += 1
    return pictures, capture.get(cv2.CAP_PROP_FPS)


def test_the_rate_is_that_of_the_pictures_after_the_first(tmp_path: Path):
    seconds = [0.0, 3.0, *(3.0 + 0.25 * number for number in range(1, 20))]
    pictures, fps = recorded(tmp_path / "a.webm", seconds)
    assert fps == pytest.approx(4.0, abs=0.01)
    assert pictures == 18  # from the fourth on, each once


def test_a_quick_analysis_is_thinned_out(tmp_path: Path):
    pictures, fps = recorded(tmp_path / "a.webm", [number / 50 for number in range(53)])
    assert fps == pytest.approx(10.0)
    assert pictures == 11  # one second, from the fourth picture on


def test_a_changing_pace_keeps_the_time(tmp_path: Path):
    steady = [0.2 * number for number in range(10)]
    slower = [1.8 + 0.6 * number for number in range(1, 6)]
    pictures, fps = recorded(tmp_path / "a.webm", steady + slower)
    assert fps == pytest.approx(5.0, abs=0.01)
    assert pictures / fps == pytest.approx(4.8 - 0.6 + 0.2)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_very_short_run_leaves_one_picture(tmp_path: Path, count: int):
    pictures, _ = recorded(tmp_path / "a.webm", [0.1 * number for number in range(count)])
    assert pictures == 1


def test_no_picture_leaves_no_file(tmp_path: Path):
    assert recorded(tmp_path / "a.webm", [])[0] == 0
    assert list(tmp_path.iterdir()) == []


def test_another_container_is_refused_at_the_start(tmp_path: Path):
    with pytest.raises(RequestError, match=r"ends in \.webm"):
        LiveVideoSink(tmp_path / "a.mp4", 10.0).open()
