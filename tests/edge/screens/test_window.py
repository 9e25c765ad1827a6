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
from edge.errors import DermedgeError
from edge.screens.process import ScreenProcess
from edge.stop import Stop

IMPORTS = [str(Path(__file__).parents[3]), str(Path(__file__).parents[2])]
"""Where a child finds the package, and then the modules that tests share."""

NO_DISPLAY = {"DISPLAY": "", "WAYLAND_DISPLAY": "", "QT_QPA_PLATFORM": "xcb"}


@pytest.mark.parametrize("display", ["", ":97", "nowhere.invalid:0"])
def test_no_display_is_one_line(monkeypatch: pytest.MonkeyPatch, display: str):
    for key, value in (NO_DISPLAY | {"DISPLAY": display}).items():
        monkeypatch.setenv(key, value)
    window = ScreenProcess("window", {}, Controls(), Stop())
    with pytest.raises(DermedgeError, match="expected (a display|the window)") as caught:
        window.open()
    window.close()
    assert "\n" not in str(caught.value)


_SHOW = """
import sys
sys.path[:0] = sys.argv[2:]
import cv2
import numpy as np
from edge.screens.window import Window
window = Window()
window.open()
picture = np.zeros((480, 640, 3), np.uint8)
window.show(picture)
assert window.poll() == []
key = cv2.waitKey
if sys.argv[1] == "close":
    cv2.destroyWindow("dermedge")
else:
    pressed = [ord(sys.argv[1])]
    cv2.waitKey = lambda _: pressed.pop() if pressed else -1
window.show(picture)
print(window.poll())
cv2.waitKey = key
window.close()
window.close()
"""


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("close", "['closed']"),
        ("q", "['closed']"),
        ("x", "[]"),
        (" ", "['shutter']"),
        ("\r", "['shutter']"),
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
from edge.overlay.layout import Room
from edge.overlay.overlay import Overlay
from edge.screens import window

if sys.argv[2] == "unknown":
    window._screen_wh = lambda: None
frame_wh = tuple(map(int, sys.argv[1].split("x")))
screen = window.Window()
screen.open()
room = Room(screen.size_wh, screen.is_filled)
pixels = np.random.default_rng(1).integers(0, 256, (frame_wh[1], frame_wh[0], 3), np.uint8)
drawn = Overlay().draw(pixels, make_result(frame_wh, ()), age_ms=40.0, room=room)
wrong = -1
for _ in range(60):  # a busy machine paints late
    screen.show(drawn)
    cv2.waitKey(50)
    seen = np.asarray(ImageGrab.grab().convert("RGB"))
    wrong = int((seen != drawn).sum()) if seen.shape == drawn.shape else -1
    if wrong == 0:
        break
print(screen.size_wh, wrong)
"""


@pytest.mark.parametrize("frame_wh", ["640x480", "800x480", "1280x720", "1920x1080"])
def test_all_of_a_small_screen_shows_the_picture_pixel_for_pixel(frame_wh: str):
    """Where the desktop scaled it, or put a bar or an edge over it, words could not be read."""
    filled("800x480", frame_wh, "known", "(800, 480) 0")
    filled("1024x600", frame_wh, "known", "(1024, 600) 0")


def test_a_screen_of_unknown_size_is_taken_for_the_smallest():
    """A larger one shows more than is needed, and no smaller one could be read anyhow."""
    filled("800x480", "1280x720", "unknown", "(800, 480) 0")


def filled(screen: str, frame_wh: str, known: str, expected: str) -> None:
    """Without a window manager Qt leaves a window black in about one of forty starts, see Window:
    another start is another window."""
    said = ""
    for _ in range(3):
        said = on_a_screen(screen, _FILL, frame_wh, known)
        if said == expected:
            return
    assert said == expected


_PLACE = """
import sys
sys.path[:0] = sys.argv[2:]
import cv2
from shots_for_tests import frame, result
from edge.overlay.layout import Room
from edge.overlay.overlay import Overlay
from edge.screens.window import Window

stated = sys.argv[1] and tuple(int(side) for side in sys.argv[1].split("x"))
window = Window(stated or None)
window.open()
camera = frame(1, (1280, 720))
room = Room(window.size_wh, window.is_filled)
drawn = Overlay().draw(camera.pixels, result(camera, 0), room=room)
window.show(drawn)
cv2.waitKey(200)
print(drawn.shape[1::-1], cv2.getWindowImageRect("dermedge")[2:])
"""


@pytest.mark.parametrize(
    ("screen", "stated", "drawn", "shown"),
    [
        ("1920x1080", "", (1280, 964), (1280, 964)),
        ("3840x1080", "", (1280, 964), (1280, 964)),  # two screens side by side
        ("1366x768", "", (912, 690), (912, 690)),
        # How a device's screen will look, tried at a desk.
        ("1920x1080", "800x480", (800, 480), (800, 480)),
    ],
)
def test_a_desktop_has_a_window_that_fits_with_its_bars(
    screen: str, stated: str, drawn: tuple[int, int], shown: tuple[int, int]
):
    assert on_a_screen(screen, _PLACE, stated) == f"{drawn} {shown}"


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
    xvfb = shutil.which("Xvfb")
    if xvfb is None:
        pytest.skip("needs Xvfb: apt-get install xvfb")
    ready, told = os.pipe()
    server = subprocess.Popen(
        [
            xvfb,
            "-displayfd",
            str(told),
            "-screen",
            "0",
            f"{size}x24",
            "-nolisten",
            "tcp",
            "-noreset",
        ],
        pass_fds=[told],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(told)
    try:
        with os.fdopen(ready) as line:
            display = f":{line.readline().strip()}"  # written once it takes clients
        env = {k: v for k, v in os.environ.items() if k not in ("QT_QPA_PLATFORM", "XAUTHORITY")}
        child = subprocess.run(
            [sys.executable, "-c", script, *arguments, *IMPORTS],
            capture_output=True,
            text=True,
            timeout=120,
            env={**env, "DISPLAY": display},
        )
    finally:
        server.kill()
        server.wait()
    assert child.returncode == 0, child.stderr
    return child.stdout.strip()
