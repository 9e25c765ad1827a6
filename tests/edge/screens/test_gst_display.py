"""The screen without a desktop, on GStreamer itself; a real card's is in tests/vm."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge.errors import RequestError
from edge.screens.connector import Connector
from edge.screens.gst_display import GstDisplay, sink_for

ROOT = Path(__file__).parents[3]
GI = "/usr/lib/python3/dist-packages"

_PROBE = """
import gi
gi.require_version("Gst", "1.0")
from gi.repository import Gst
Gst.init(None)
raise SystemExit(0 if Gst.ElementFactory.find("fakevideosink") else 3)
"""


def gst_python(code: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), GI])}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=60
    )


@pytest.fixture(scope="module")
def gst():
    if gst_python(_PROBE).returncode != 0:
        pytest.skip("needs gi of this Python and GStreamer: make system-live")
    return lambda code: gst_python(_HEAD + code)


_HEAD = """
import time
import numpy as np
from edge.errors import DermedgeError
from edge.screens.connector import Connector
from edge.screens.gst_display import GstDisplay
picture = np.random.default_rng(1).integers(0, 256, (480, 800, 3), np.uint8)
screen = Connector("card0-DSI-1", "vc4", (800, 480))
"""


def test_every_picture_is_waited_for_until_it_is_shown(gst):
    said = gst("""
display = GstDisplay(screen, "fakevideosink")
display.open()
for number in range(20):
    before_ns = time.monotonic_ns()
    at_ns = display.show(picture)
    assert before_ns < at_ns <= time.monotonic_ns()
    assert display._count() == number + 1
display.close()
display.close()
display.open()
display.show(picture)
display.close()
print("ok")
""")
    assert said.stdout == "ok\n", said.stderr


def test_the_pixels_are_those_of_the_picture_and_a_smaller_one_stands_in_the_middle(gst):
    said = gst("""
seen = []
display = GstDisplay(screen, "fakevideosink signal-handoffs=true")
display.open()
def look(sink, buffer, pad):
    seen.append(np.frombuffer(buffer.extract_dup(0, buffer.get_size()), np.uint8))
display._display.connect("handoff", look)
display.show(picture)
display.show(picture[:240, :400])
display.show(np.ascontiguousarray(np.tile(picture, (2, 2, 1))))
display.close()
whole, small, large = (bgrx.reshape(480, 800, 4)[..., 2::-1] for bgrx in seen)
assert (whole == picture).all()
assert (small[120:360, 200:600] == picture[:240, :400]).all()
assert small.sum() == small[120:360, 200:600].sum()
assert large.any(axis=2).mean() > 0.99
print("ok")
""")
    assert said.stdout == "ok\n", said.stderr


@pytest.mark.parametrize("name", ["card0-DSI-1", "fb7"])
def test_a_display_that_is_not_there_is_one_line(gst, name: str):
    said = gst(f"""
try:
    display = GstDisplay(Connector({name!r}, "vc4", (800, 480)))
    display.open()
    display.show(picture)
except DermedgeError as error:
    print(type(error).__name__, error)
display.close()
""")
    assert said.stdout.startswith(f"InputError expected the display {name}; got "), said.stderr
    assert len(said.stdout.splitlines()) == 1


def test_a_sink_that_takes_nothing_is_a_failure_in_time(gst):
    said = gst("""
display = GstDisplay(screen, "valve drop=true ! fakevideosink")
try:
    display.open()
    began_s = time.monotonic()
    display.show(picture)
except DermedgeError as error:
    assert time.monotonic() - began_s < 3.0
    print(error.got)
display.close()
""")
    assert said.stdout == "it took no picture within 2 s\n", said.stderr


def test_an_element_that_is_not_installed_is_named(gst):
    said = gst("""
try:
    GstDisplay(screen, "nosuchsink").open()
except DermedgeError as error:
    print(type(error).__name__, error)
""")
    assert said.stdout.startswith("RequestError expected GStreamer's element nosuchsink"), (
        said.stderr
    )


def test_without_gi_one_line_names_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "gi", None)
    with pytest.raises(RequestError, match="apt-get install python3-gi"):
        GstDisplay(Connector("card0-DSI-1", "vc4", (800, 480))).open()


def test_the_element_takes_the_display_that_was_found():
    card = Connector("card1-HDMI-A-2", "nvidia-drm", (1920, 1080), 41)
    assert sink_for(card).split() == [
        "kmssink",
        "force-modesetting=true",
        "connector-id=41",
        "driver-name=nvidia-drm",
    ]
    assert sink_for(Connector("fb0", "simple", (1024, 600))) == "fbdevsink device=/dev/fb0"
