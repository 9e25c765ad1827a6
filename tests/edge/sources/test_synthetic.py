"""The phantom camera keeps a camera's pace whether or not anybody reads."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from edge.sources.synthetic import SyntheticSource
from models.phantom import PhantomCamera

SIZE_WH = (160, 120)
PATIENCE_S = 20.0


def source(seed: int = 3, fps: float = 100.0) -> SyntheticSource:
    return SyntheticSource(seed, size_wh=SIZE_WH, fps=fps)


def test_frames_are_those_of_the_phantom_camera():
    with source() as camera:
        frame = camera.read()
    assert frame is not None
    expected = PhantomCamera(3, SIZE_WH, 100.0).frame(frame.frame_id).pixels
    np.testing.assert_array_equal(frame.pixels, expected)
    assert frame.size_wh == SIZE_WH
    assert (frame.source, frame.captured_by) == ("synthetic:3", "synthetic")


def test_ids_follow_the_clock_not_the_reader():
    with source() as camera:
        first = camera.read()
        time.sleep(0.1)
        second = camera.read()
    assert first is not None and second is not None
    assert second.frame_id - first.frame_id >= 10
    assert first.captured_ns is not None and second.captured_ns is not None
    periods = (second.captured_ns - first.captured_ns) / 1e9 * 100.0
    assert periods == pytest.approx(second.frame_id - first.frame_id, abs=1e-3)


def test_each_exposure_is_given_once_and_never_before_its_time():
    with source(fps=200.0) as camera:
        for last in (-1, 0, 1, 2, 3):
            frame = camera.read()
            assert frame is not None and frame.captured_ns is not None
            assert frame.frame_id > last
            assert frame.captured_ns <= time.monotonic_ns()


def test_frames_own_their_pixels():
    with source() as camera:
        first = camera.read()
        assert first is not None
        before = first.pixels.copy()
        for _ in range(3):
            camera.read()
    np.testing.assert_array_equal(first.pixels, before)


def test_close_from_another_thread_ends_a_waiting_read():
    camera = source(fps=0.1)  # the second frame is ten seconds away
    camera.open()
    assert camera.read() is not None
    answers = []
    thread = threading.Thread(target=lambda: answers.append(camera.read()), daemon=True)
    thread.start()
    time.sleep(0.05)
    camera.close()
    camera.close()
    thread.join(5.0)
    assert answers == [None]


def test_the_number_of_lesions_can_be_chosen():
    camera = SyntheticSource(5, size_wh=SIZE_WH, lesion_count=9)
    camera.open()
    assert len(camera._camera.spec.lesions) == 9


def test_reading_before_opening_is_a_fault():
    with pytest.raises(ValueError, match="opened"):
        source().read()
