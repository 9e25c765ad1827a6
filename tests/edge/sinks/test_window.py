"""The window on a real (virtual) display, and what is said where there is none."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edge.errors import RequestError
from edge.sinks.window import WindowSink

IMPORTS = [str(Path(__file__).parents[3]), str(Path(__file__).parents[2])]
"""Where a child finds the package, and then the modules that tests share."""

NO_DISPLAY = {"DISPLAY": "", "WAYLAND_DISPLAY": "", "QT_QPA_PLATFORM": "xcb"}


@pytest.mark.parametrize("display", ["", ":97", "nowhere.invalid:0"])
def test_no_display_is_one_line(monkeypatch: pytest.MonkeyPatch, display: str):
    for key, value in (NO_DISPLAY | {"DISPLAY": display}).items():
        monkeypatch.setenv(key, value)
    with pytest.raises(RequestError, match="a display to open a window on") as caught:
        WindowSink().open()
    assert "\n" not in str(caught.value)
    assert "--sink headless" in str(caught.value)


_SHOW = """
import sys
sys.path[:0] = sys.argv[2:]
import cv2
from shots_for_tests import shot
from edge.sinks.window import WindowSink
sink = WindowSink()
sink.open()
assert sink.write(shot(1)) and sink.write(shot(2))
key = cv2.waitKey
if sys.argv[1] == "close":
    cv2.destroyWindow("dermedge")
else:
    cv2.waitKey = lambda _: ord(sys.argv[1])
print(sink.write(shot(3)))
cv2.waitKey = key
sink.close()
sink.close()
"""


@pytest.mark.parametrize(("how", "goes_on"), [("close", False), ("q", False), ("x", True)])
def test_shows_frames_until_the_user_ends_it(how: str, goes_on: bool):
    xvfb = shutil.which("xvfb-run")
    if xvfb is None:
        pytest.skip("needs xvfb-run: apt-get install xvfb xauth")
    if shutil.which("xauth") is None:
        pytest.skip("xvfb-run needs xauth: apt-get install xauth")
    child = subprocess.run(
        [xvfb, "-a", sys.executable, "-c", _SHOW, how, *IMPORTS],
        capture_output=True,
        text=True,
        timeout=120,
        env={k: v for k, v in os.environ.items() if k != "QT_QPA_PLATFORM"},
    )
    assert child.returncode == 0, child.stderr
    assert child.stdout.split() == [str(goes_on)]
