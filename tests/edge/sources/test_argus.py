"""The ``argus:`` source on GStreamer itself, with videotestsrc and a stand-in of the camera."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from edge.errors import RequestError
from edge.frame import Frame
from edge.guards.colour_profile import ColourProfile
from edge.sources.camera_process import CameraProcess
from edge.sources.lost import SourceLost
from edge.sources.uri import source_from_uri

ROOT = Path(__file__).parents[3]
GI = "/usr/lib/python3/dist-packages"
PATHS = os.pathsep.join([str(ROOT), str(ROOT / "tests"), GI])

_PROBE = """
import gi
gi.require_version("Gst", "1.0")
from gi.repository import Gst
Gst.init(None)
names = ["videotestsrc", "videoconvertscale", "valve", "appsink"]
raise SystemExit(0 if all(map(Gst.ElementFactory.find, names)) else 3)
"""

ANYWHERE = {"memory": "", "convert": "videoconvertscale"}
TEST_PICTURE = {"source": "videotestsrc is-live=true pattern=red", **ANYWHERE}


@pytest.fixture
def gst(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", PATHS)
    if subprocess.run([sys.executable, "-c", _PROBE], capture_output=True).returncode != 0:
        pytest.skip("needs gi of this Python and GStreamer: make system-live")


@pytest.fixture
def camera(gst, tmp_path: Path):
    made: list[CameraProcess] = []

    def make(*, head: str = "", **options) -> CameraProcess:
        script = tmp_path / f"child{len(made)}.py"
        script.write_text(
            "from edge.sources import camera_child\n"
            "import standin.nvarguscamerasrc as standin\n"
            f"standin.register()\n{head}\ncamera_child.main()\n"
        )
        known = {"sensor_id": 0, "size_wh": (320, 240), "fps": 30.0, **options}
        made.append(CameraProcess("argus", known, "0", module=[str(script)]))
        made[-1].open()
        return made[-1]

    yield make
    for source in made:
        source.close()


def profile(**values) -> dict:
    """As the source's name makes it of a colour profile."""
    whole = ColourProfile(name="ring", settle_s=0.2, argus=values)
    known = {"name": whole.name, "settle_s": whole.settle_s, "fixed": whole.fixed}
    return {**known, **dict(whole.argus)}


def settled(source: CameraProcess) -> Frame:
    until_s = time.monotonic() + 2.0
    while time.monotonic() < until_s:
        frame = source.read()
    return frame


def test_frames_are_red_of_the_size_asked_for_and_counted(camera):
    source = camera(**TEST_PICTURE)
    frames = [source.read() for _ in range(5)]
    assert source.name == "argus:0"
    assert all(f.size_wh == (320, 240) for f in frames)
    assert np.allclose(frames[0].pixels.reshape(-1, 3).mean(0), (255, 0, 0), atol=2)
    ids = [f.frame_id for f in frames]
    assert ids == sorted(set(ids))


def test_a_source_that_tells_no_time_has_that_of_arrival_and_allows_for_captures_under_way(camera):
    frame = camera(**TEST_PICTURE).read()
    assert frame.captured_by == "arrival"
    assert 0 < time.monotonic_ns() - frame.captured_ns < 2e9
    assert frame.captured_ns - frame.exposure_began_ns == pytest.approx(7e9 / 30, rel=0.01)


def test_the_newest_frame_is_read_and_those_passed_over_are_gaps(camera):
    source = camera(**TEST_PICTURE)
    first = source.read()
    time.sleep(0.5)
    late = source.read()
    assert late.frame_id - first.frame_id >= 10
    assert time.monotonic_ns() - late.captured_ns < 0.4e9


def test_the_sensors_own_time_is_used_where_the_camera_tells_it(camera):
    source = camera(**ANYWHERE)
    frames = [source.read() for _ in range(4)]
    assert {f.captured_by for f in frames} == {"sensor"}
    assert frames[0].captured_ns - frames[0].exposure_began_ns == pytest.approx(1e9 / 30, rel=0.01)


@pytest.mark.parametrize("delay_ns", [-(10**9), 10**13])
def test_a_sensors_time_that_cannot_be_is_not_used(camera, delay_ns):
    source = camera(head=f"standin.SENSOR_DELAY_NS = {delay_ns}", **ANYWHERE)
    assert source.read().captured_by == "arrival"


def test_a_still_of_the_sensors_size_is_exposed_after_the_press_and_the_stream_goes_on(camera):
    source = camera(still_size_wh=(1280, 960), **ANYWHERE)
    for _ in range(3):
        before = source.read()
    for _ in range(2):
        pressed_ns = time.monotonic_ns()
        still = source.take_still(pressed_ns)
        assert still.size_wh == (1280, 960)
        assert still.exposure_began_ns > pressed_ns
        assert np.allclose(still.pixels.reshape(-1, 3).mean(0), (255, 0, 0), atol=2)
        after = source.read()
        assert before.frame_id < still.frame_id < after.frame_id
        assert after.size_wh == (320, 240)
        before = after


def test_a_still_of_the_streams_size_comes_from_the_stream(camera):
    source = camera(**TEST_PICTURE)
    source.read()
    pressed_ns = time.monotonic_ns()
    still = source.take_still(pressed_ns)
    assert still.size_wh == (320, 240) and still.exposure_began_ns > pressed_ns


def test_values_of_a_profile_are_set_and_read_back(camera):
    held = profile(
        wbmode=5,
        exposuretimerange=[10_000_000, 10_000_000],
        gainrange=[2.0, 2.0],
        ispdigitalgainrange=[1.0, 1.0],
        aelock=False,
        awblock=False,
    )
    settings = settled(camera(profile=held, **ANYWHERE)).settings
    assert settings["locked"] == {"exposure": True, "gain": True, "white_balance": True}
    assert settings["colour_locked"] is True and settings["colour_profile"] == "ring"
    assert settings["exposure_us"] == 10_000.0
    assert (settings["analogue_gain"], settings["digital_gain"]) == (2.0, 1.0)
    assert settings["controls"]["wbmode"] == 5
    assert settings["controls"]["exposuretimerange"] == "10000000 10000000"


def test_hold_locks_after_the_automatics_had_their_time(camera):
    source = camera(profile=profile(), **ANYWHERE)
    first = source.read().settings
    assert first["locked"] == {"exposure": False, "gain": False, "white_balance": False}
    assert first["controls"]["aelock"] is False
    later = settled(source).settings
    assert later["locked"] == {"exposure": True, "gain": True, "white_balance": True}
    assert later["controls"]["aelock"] is True and later["controls"]["awblock"] is True
    assert later["exposure_us"] is None  # held, at a value that nobody tells


def test_a_white_balance_on_automatic_is_not_held(camera):
    held = profile(wbmode=1, awblock=False)
    settings = settled(camera(profile=held, **ANYWHERE)).settings
    assert settings["locked"]["white_balance"] is False and settings["colour_locked"] is False


def test_a_camera_with_nothing_to_hold_says_null(camera):
    settings = settled(camera(profile=profile(), **TEST_PICTURE)).settings
    assert settings["locked"] == {"exposure": None, "gain": None, "white_balance": None}
    assert settings["colour_locked"] is False


def test_without_a_profile_nothing_is_set(camera):
    settings = settled(camera(**ANYWHERE)).settings
    assert settings["colour_profile"] is None and settings["colour_locked"] is False
    assert settings["controls"]["aelock"] is False


def test_the_end_of_the_stream_loses_the_camera_and_it_opens_again(camera):
    source = camera(source="videotestsrc is-live=true num-buffers=5", **ANYWHERE)
    with pytest.raises(SourceLost, match="the end of its stream"):
        for _ in range(10):
            last = source.read()
    source.close()
    source.open()
    assert source.read().frame_id == last.frame_id + 1


def test_an_error_of_the_camera_is_told_in_its_own_words(camera):
    with pytest.raises(SourceLost, match=r"No such file \"/nonexistent\""):
        camera(source="filesrc location=/nonexistent ! rawvideoparse", **ANYWHERE)


def test_a_camera_that_falls_silent_is_lost_by_its_own_word(camera):
    source = camera(source="videotestsrc is-live=true ! valve drop=true", **ANYWHERE)
    with pytest.raises(SourceLost, match="no frame, and no word of why"):
        source.read()


def test_a_missing_element_names_what_brings_it(gst):
    source = source_from_uri("argus:0")
    with pytest.raises(RequestError) as caught:
        source.open()
    assert caught.value.expected == "GStreamer's element nvarguscamerasrc, for an argus: camera"
    assert "nvidia-l4t-gstreamer" in caught.value.next_step


def test_a_missing_gi_names_the_package(monkeypatch, tmp_path):
    (tmp_path / "gi.py").write_text("raise ImportError('No module named gi')")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(ROOT)]))
    source = source_from_uri("argus:0")
    with pytest.raises(RequestError, match="apt-get install python3-gi"):
        source.open()
