"""The window on a real (virtual) display, and what is said where there is none."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from edge.controls import Controls
from edge.errors import RequestError
from edge.screens.window import WindowScreen
from edge.stop import Stop

IMPORTS = [str(Path(__file__).parents[3]), str(Path(__file__).parents[2])]
"""Where a child finds the package, and then the modules that tests share."""

NO_DISPLAY = {"DISPLAY": "", "WAYLAND_DISPLAY": "", "QT_QPA_PLATFORM": "xcb"}


@pytest.mark.parametrize("display", ["", ":97", "nowhere.invalid:0"])
def test_no_display_is_one_line(monkeypatch: pytest.MonkeyPatch, display: str):
    for key, value in (NO_DISPLAY | {"DISPLAY": display}).items():
        monkeypatch.setenv(key, value)
    with pytest.raises(RequestError, match="a display to open a window on") as caught:
        WindowScreen(Controls(), Stop()).open()
    assert "\n" not in str(caught.value)
    assert "--sink headless" in str(caught.value)


_SHOW = """
import sys
sys.path[:0] = sys.argv[2:]
import cv2
from shots_for_tests import shown
from edge.controls import Controls
from edge.screens.window import WindowScreen
from edge.stop import Stop
controls, stop = Controls(), Stop()
screen = WindowScreen(controls, stop)
screen.open()
assert screen.show(shown(1)).number == 1 and screen.show(shown(2)).number == 2
key = cv2.waitKey
if sys.argv[1] == "close":
    cv2.destroyWindow("dermedge")
else:
    cv2.waitKey = lambda _: ord(sys.argv[1])
screen.show(shown(3))
cv2.waitKey = key
screen.close()
screen.close()
command = controls.next()
print(stop.is_set, command and command.wish)
"""


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("close", "True None"),
        ("q", "True None"),
        ("x", "False None"),
        (" ", "False shutter"),
        ("\r", "False shutter"),
    ],
)
def test_shows_pictures_and_hears_keys(how: str, said: str):
    assert on_a_screen("1280x1024", _SHOW, how) == said


_FILL = """
import sys
sys.path[:0] = sys.argv[3:]
import cv2
import numpy as np
from PIL import ImageGrab
from overlay_for_tests import make_result
from shots_for_tests import shown
from edge.controls import Controls
from edge.overlay.overlay import Overlay
from edge.screens import window
from edge.stop import Stop

if sys.argv[2] == "unknown":
    window.ask_display = lambda: window.Display(None)
frame_wh = tuple(map(int, sys.argv[1].split("x")))
screen = window.WindowScreen(Controls(), Stop())
screen.open()
pixels = np.random.default_rng(1).integers(0, 256, (frame_wh[1], frame_wh[0], 3), np.uint8)
drawn = Overlay().draw(pixels, make_result(frame_wh, ()), age_ms=40.0, room=screen.room)
for number in range(20):
    assert screen.show(shown(number, drawn)).number == number
    cv2.waitKey(50)
seen = np.asarray(ImageGrab.grab().convert("RGB"))
print(screen.room.size_wh, seen.shape == drawn.shape and int((seen != drawn).sum()))
"""


@pytest.mark.parametrize("frame_wh", ["640x480", "800x480", "1280x720", "1920x1080"])
def test_all_of_a_small_screen_shows_the_picture_pixel_for_pixel(frame_wh: str):
    """Where the desktop scaled it, or put a bar or an edge over it, words could not be read."""
    assert on_a_screen("800x480", _FILL, frame_wh, "known") == "(800, 480) 0"
    assert on_a_screen("1024x600", _FILL, frame_wh, "known") == "(1024, 600) 0"


def test_a_screen_of_unknown_size_is_taken_for_the_smallest():
    """A larger one shows more than is needed, and no smaller one could be read anyhow."""
    assert on_a_screen("800x480", _FILL, "1280x720", "unknown") == "(800, 480) 0"


_PLACE = """
import sys
sys.path[:0] = sys.argv[2:]
import cv2
from shots_for_tests import frame, result, shown
from edge.controls import Controls
from edge.overlay.overlay import Overlay
from edge.sinks.uri import outputs_from_uris
from edge.stop import Stop

(screen,) = outputs_from_uris(
    [sys.argv[1]], overwrite=False, lossless=False, controls=Controls(), stop=Stop()
).screens
screen.open()
camera = frame(1, (1280, 720))
drawn = Overlay().draw(camera.pixels, result(camera, 0), room=screen.room)
assert screen.show(shown(1, drawn)).number == 1
cv2.waitKey(200)
print(drawn.shape[1::-1], cv2.getWindowImageRect("dermedge")[2:])
"""


@pytest.mark.parametrize(
    ("screen", "sink", "drawn", "shown"),
    [
        ("1920x1080", "window", (1280, 964), (1280, 964)),
        ("3840x1080", "window", (1280, 964), (1280, 964)),  # two screens side by side
        ("1366x768", "window", (912, 690), (912, 690)),
        # How a device's screen will look, tried at a desk.
        ("1920x1080", "window:?screen=800x480", (800, 480), (800, 480)),
    ],
)
def test_a_desktop_has_a_window_that_fits_with_its_bars(
    screen: str, sink: str, drawn: tuple[int, int], shown: tuple[int, int]
):
    assert on_a_screen(screen, _PLACE, sink) == f"{drawn} {shown}"


_RUN = """
import sys
sys.path[:0] = sys.argv[3:]
from edge.__main__ import main
source = "synthetic:7?size=1280x720&fps=5"
pack, folder = sys.argv[1:3]
sys.argv = ["dermedge", "run", "--pack", pack, "--source", source, "--seconds", "2"]
sys.argv += ["--sink", "window", "--sink", f"png:{folder}"]
main()
"""


def test_run_draws_for_the_screen_of_its_window(tiny_pack: Path, tmp_path: Path):
    """What is recorded beside a window is what it shows."""
    said = on_a_screen("800x480", _RUN, str(tiny_pack), str(tmp_path))
    assert "Not for diagnosis" in said
    pictures = sorted(tmp_path.glob("*.png"))
    assert pictures
    with Image.open(pictures[0]) as picture:
        assert picture.size == (800, 480)


def on_a_screen(size: str, script: str, *arguments: str) -> str:
    """What ``script`` prints, run on a virtual screen of this size without a window manager."""
    xvfb = shutil.which("xvfb-run")
    if xvfb is None:
        pytest.skip("needs xvfb-run: apt-get install xvfb xauth")
    if shutil.which("xauth") is None:
        pytest.skip("xvfb-run needs xauth: apt-get install xauth")
    screen = f"-screen 0 {size}x24"
    child = subprocess.run(
        [xvfb, "-a", "-s", screen, sys.executable, "-c", script, *arguments, *IMPORTS],
        capture_output=True,
        text=True,
        timeout=120,
        env={k: v for k, v in os.environ.items() if k != "QT_QPA_PLATFORM"},
    )
    assert child.returncode == 0, child.stderr
    return child.stdout.strip()
