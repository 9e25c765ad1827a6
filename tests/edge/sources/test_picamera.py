"""The ``picamera2:`` source on a stand-in that is held to the genuine package's names."""

from __future__ import annotations

import ast
import os
import time
from pathlib import Path

import pytest

import genuine_for_tests as genuine
from edge.errors import InputError
from edge.frame import Frame
from edge.guards.colour_profile import ColourProfile
from edge.sources import picamera
from edge.sources.camera_process import CameraProcess
from edge.sources.lost import SourceLost
from edge.sources.picamera import find_camera, monotonic_ns
from edge.sources.uri import source_from_uri

ROOT = Path(__file__).parents[3]
STANDIN = ROOT / "tests" / "standin" / "pi"
GENUINE = genuine.GENUINE / "picamera2-0.3.36" / "picamera2"


@pytest.fixture
def camera(monkeypatch):
    made: list[CameraProcess] = []

    def make(options: str = "?size=320x240", fault: str = "", profile=None) -> CameraProcess:
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(STANDIN)]))
        monkeypatch.setenv("PICAMERA2_FAULT", fault)
        source = source_from_uri(f"picamera2:imx708{options}", profile=profile)
        assert isinstance(source, CameraProcess)
        made.append(source)
        return source

    yield make
    for source in made:
        source.close()


def opened(source: CameraProcess) -> CameraProcess:
    source.open()
    return source


def read_for(source: CameraProcess, seconds: float) -> Frame:
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        frame = source.read()
    return frame


def test_frames_are_rgb_with_the_sensors_time_and_exposure(camera):
    source = opened(camera())
    frames = [source.read() for _ in range(8)]
    assert source.name == "picamera2:/base/soc/i2c0mux/i2c@1/imx708@1a"
    for frame in frames:
        assert frame.size_wh == (320, 240) and tuple(frame.pixels[10, 10]) == (200, 0, 0)
        assert frame.captured_by == "sensor"
        exposure_us = frame.settings["exposure_us"]
        assert frame.captured_ns - frame.exposure_began_ns == 1000 * exposure_us
        assert 0 < time.monotonic_ns() - frame.captured_ns < 2e9
    ids = [frame.frame_id for frame in frames]
    assert ids == sorted(set(ids))


def test_frames_that_nobody_took_are_gaps_and_the_newest_is_read(camera):
    source = opened(camera())
    first = source.read()
    time.sleep(0.5)
    late = source.read()
    assert late.frame_id - first.frame_id >= 10
    assert time.monotonic_ns() - late.captured_ns < 0.2e9


def test_a_still_has_the_sensors_size_and_was_exposed_after_the_press(camera):
    source = opened(camera())
    source.read()
    pressed_ns = time.monotonic_ns()
    still = source.take_still(pressed_ns)
    assert still.size_wh == (4608, 2592) and still.exposure_began_ns > pressed_ns
    assert tuple(still.pixels[10, 10]) == (200, 0, 0)
    assert source.read().frame_id == still.frame_id + 1


def test_a_still_of_the_streams_size_waits_for_one_exposed_after_the_press(camera):
    source = opened(camera("?size=320x240&still=320x240"))
    source.read()
    pressed_ns = time.monotonic_ns()
    still = source.take_still(pressed_ns)
    assert still.size_wh == (320, 240) and still.exposure_began_ns > pressed_ns


def test_on_automatic_nothing_is_held(camera):
    settings = read_for(opened(camera()), 0.3).settings
    assert settings["locked"] == {"exposure": False, "gain": False, "white_balance": False}
    assert settings["colour_locked"] is False and settings["colour_profile"] is None


def test_stated_values_are_held_from_the_start_and_read_back_from_every_frame(camera):
    held = ColourProfile(
        name="ring",
        picamera2={"ColourGains": [1.9, 1.6], "ExposureTime": 10_000, "AnalogueGain": 1.5},
    )
    settings = opened(camera(profile=held)).read().settings
    assert settings["locked"] == {"exposure": True, "gain": True, "white_balance": True}
    assert settings["colour_locked"] is True and settings["colour_profile"] == "ring"
    assert settings["awb_gains_rb"] == [1.9, 1.6]
    assert settings["exposure_us"] == pytest.approx(10_000, rel=0.01)
    assert settings["white_balance_k"] is None  # an estimate that wanders though gains are held


def test_hold_takes_what_the_automatics_came_to_and_a_camera_that_comes_back_has_it_again(camera):
    source = opened(camera(profile=ColourProfile(name="hold", settle_s=0.4)))
    assert source.read().settings["colour_locked"] is False
    first = read_for(source, 1.2).settings
    assert first["colour_locked"] is True
    assert read_for(source, 0.3).settings["awb_gains_rb"] == first["awb_gains_rb"]
    source.close()
    again = opened(source).read().settings
    assert again["colour_locked"] is True
    assert again["awb_gains_rb"] == first["awb_gains_rb"]
    assert again["analogue_gain"] == first["analogue_gain"]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("none", "no camera that libcamera knows"),
        ("busy", "Device or resource busy"),
        ("adjust", r"frames of \(640, 360\)"),
    ],
)
def test_a_camera_that_cannot_be_had_is_one_line(camera, fault, words):
    source = camera(fault=fault)
    with pytest.raises(InputError, match=words):
        source.open()


@pytest.mark.parametrize(
    ("fault", "words"), [("silent", "no frame for 3 s"), ("hang", "no answer for 4 s: it hangs")]
)
def test_a_camera_that_gives_no_more_is_lost(camera, fault, words):
    source = opened(camera(fault=fault))
    with pytest.raises(SourceLost, match=words):
        for _ in range(10):
            source.read()


CAMERAS = [
    {"Model": "imx708", "Id": "/base/i2c@1/imx708@1a"},
    {"Model": "imx708", "Id": "/base/i2c@0/imx708@1a"},
    {"Model": "ov5647", "Id": "/base/i2c@0/ov5647@36"},
]


@pytest.mark.parametrize(("place", "number"), [("1", 1), ("ov5647", 2), ("i2c@1/", 0)])
def test_a_camera_is_found_by_number_model_or_id(place, number):
    assert find_camera(CAMERAS, place) == (number, CAMERAS[number]["Id"])


@pytest.mark.parametrize("place", ["", "imx708", "7", "imx219"])
def test_a_name_that_fits_none_or_several_lists_them(place):
    with pytest.raises(InputError, match=r"0: imx708 .*1: imx708 .*2: ov5647"):
        find_camera(CAMERAS, place)


def test_a_time_ahead_of_the_monotonic_clock_is_of_the_one_that_counts_suspends(monkeypatch):
    monkeypatch.setattr(picamera.time, "monotonic_ns", lambda: 1000)
    monkeypatch.setattr(picamera.time, "clock_gettime_ns", lambda _: 6000)
    assert monotonic_ns(900) == 900
    assert monotonic_ns(5900) == 900


USED = {
    "picamera2.py": {
        "Picamera2": [
            "global_camera_info",
            "__init__",
            "create_video_configuration",
            "create_still_configuration",
            "configure",
            "camera_configuration",
            "start",
            "set_controls",
            "capture_request",
            "switch_mode_and_capture_request",
            "close",
        ]
    },
    "request.py": {
        "CompletedRequest": ["get_metadata", "make_array", "release"],
        "MappedArray": ["__init__", "__enter__", "__exit__"],
    },
}


@pytest.mark.skipif(not GENUINE.is_dir(), reason="picamera2's source is not here: make test")
@pytest.mark.parametrize(
    ("file", "name", "method"),
    [(f, c, m) for f, classes in USED.items() for c, methods in classes.items() for m in methods],
)
def test_the_stand_in_has_the_genuine_names_and_parameters(file, name, method):
    theirs = _parameters(GENUINE / file, name, method)
    ours = _parameters(STANDIN / "picamera2.py", name, method)
    if method in ("__exit__",) or (name, method) == ("CompletedRequest", "__init__"):
        return
    assert ours == theirs


@pytest.mark.skipif(not GENUINE.is_dir(), reason="picamera2's source is not here: make test")
def test_the_genuine_package_has_the_attributes_that_are_used():
    text = (GENUINE / "picamera2.py").read_text()
    for attribute in ("sensor_resolution", "def camera_controls"):
        assert attribute in text
    assert ".metadata.status" in text  # beside it libcamera has .metadata.sequence
    assert "md['SensorTimestamp'] - 1000 * md['ExposureTime']" in text


def _parameters(path: Path, name: str, method: str) -> list[str]:
    """Names of the parameters of the last definition, which the overloads before it describe."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    (of_class,) = (n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == name)
    found = [n for n in of_class.body if isinstance(n, ast.FunctionDef) and n.name == method]
    assert found, f"{name}.{method}"
    return [argument.arg for argument in found[-1].args.args]
