"""Shows the picture with its overlay in a window of the desktop.

A device's own small screen is used whole, and the window says how large it is: text that is drawn
for another size and then made smaller cannot be read.
"""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass

import cv2

from edge.controls import Controls
from edge.errors import RequestError
from edge.overlay.layout import SMALLEST_ROOM_WH, Room
from edge.screens.base import Presented, Shown
from edge.stop import Stop

_TITLE = "dermedge"

_SMALL_WH = (1280, 720)
"""A screen with a shorter side has no room for a desktop around the picture: all of it is used."""

_SHARE_OF_SCREEN = 0.9
"""Elsewhere a window opens in this share of each side; title and task bar need the rest."""

_WIDEST = 2.4
"""A wider screen is several side by side, which X gives as one; then the first is taken as 16:9."""

_PROBE_TIMEOUT_S = 20.0
_KEYS_TO_STOP = (ord("q"), ord("Q"), 27)  # 27 is Esc
_KEYS_OF_SHUTTER = (ord(" "), 13, 10)  # Enter

# Asking a display that is not there makes Qt abort the whole process, so a child asks first.
# OpenCV does not tell the screen's size; X does, which every OpenCV for Linux shows its windows on.
_PROBE = """
import ctypes, cv2
cv2.namedWindow('probe', cv2.WINDOW_NORMAL)
cv2.waitKey(1)
try:
    x11 = ctypes.CDLL('libX11.so.6')
except OSError:
    raise SystemExit
x11.XOpenDisplay.restype = ctypes.c_void_p
address = x11.XOpenDisplay(None)
if address:
    display = ctypes.c_void_p(address)
    screen = x11.XDefaultScreen(display)
    width, height = x11.XDisplayWidth(display, screen), x11.XDisplayHeight(display, screen)
    print(f'screen {width}x{height}')
"""

_log = logging.getLogger("dermedge.screen")


@dataclass(frozen=True)
class Display:
    """What there is to open a window on.

    Attributes:
        why_not: Why a window cannot be opened here, in words, or ``None`` where it can.
        screen_wh: Size of the screen in pixels, or ``None`` where it is unknown.
    """

    why_not: str | None
    screen_wh: tuple[int, int] | None = None


def ask_display() -> Display:
    """Find out, in a child process, whether a window can be opened here, and on which screen."""
    try:
        child = subprocess.run(
            [sys.executable, "-c", _PROBE],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PROBE_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        return Display(f"a display that did not answer in {_PROBE_TIMEOUT_S:g} s")
    if child.returncode == 0:
        said = re.search(r"^screen (\d+)x(\d+)$", child.stdout, re.MULTILINE)
        return Display(None, _one_screen(int(said[1]), int(said[2])) if said else None)
    lines = [line.strip() for line in child.stderr.splitlines() if line.strip()]
    return Display(lines[0] if lines else f"a display test that ended with {child.returncode}")


def _one_screen(width: int, height: int) -> tuple[int, int]:
    return (height * 16 // 9, height) if width > _WIDEST * height else (width, height)


class WindowScreen:
    """A window that fits the screen.

    q, Esc or its close button ends the run; Space or Enter is the shutter.

    It takes all of a screen that is smaller than 1280x720. Where the size is unknown, the screen is
    taken for the smallest on which everything can be read. Everything in here runs on the main
    thread, as desktops demand.

    Args:
        controls: Told about the shutter's keys.
        stop: Asked to stop when the user closes the window.
        screen_wh: Size in pixels of the screen to draw for, instead of what the display says. On a
            larger one the window shows what a screen of this size would.
    """

    name = "window"

    def __init__(
        self, controls: Controls, stop: Stop, screen_wh: tuple[int, int] | None = None
    ) -> None:
        self._controls = controls
        self._stop = stop
        self._stated_wh = screen_wh
        self._room: Room | None = None
        self._open = False
        self._fitted = False

    @property
    def room(self) -> Room | None:
        """Where the drawn picture is shown; ``None`` until the window is open."""
        return self._room

    def open(self) -> None:
        """Open the window.

        Raises:
            RequestError: There is no display, or this OpenCV has no windows.
        """
        # Qt would warn that the wheel of OpenCV brings no fonts; nothing here needs Qt's text.
        os.environ.setdefault("QT_LOGGING_RULES", "default.warning=false")
        display = ask_display()
        if display.why_not is not None:
            raise RequestError(
                "a display to open a window on",
                got=display.why_not,
                next_step="start it on a desktop (or set DISPLAY), or use --sink headless or "
                "--sink video:PATH",
            )
        self._room, whole_screen = self._choose_room(display.screen_wh)
        # Without OpenCV's own tool bar and status bar, which would take their share.
        cv2.namedWindow(_TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
        self._open = True
        if whole_screen:
            # Size and place first: without a window manager nothing else makes it the screen's.
            cv2.moveWindow(_TITLE, 0, 0)
            cv2.resizeWindow(_TITLE, *self._room.size_wh)
            cv2.setWindowProperty(_TITLE, cv2.WND_PROP_FULLSCREEN, cv2.WINDOW_FULLSCREEN)
            self._fitted = True

    def _choose_room(self, known_wh: tuple[int, int] | None) -> tuple[Room, bool]:
        """Where to draw, and whether that is the whole screen."""
        screen_wh = self._stated_wh or known_wh
        if screen_wh is None:
            screen_wh = SMALLEST_ROOM_WH
            _log.warning(
                "the display does not tell its size; drawn for a screen of %dx%d, which "
                "--sink 'window:?screen=WxH' changes",
                *screen_wh,
            )
        on_larger = known_wh is not None and _is_smaller(screen_wh, known_wh)
        if screen_wh[0] < _SMALL_WH[0] or screen_wh[1] < _SMALL_WH[1]:
            return Room(screen_wh, filled=True), not on_larger
        share = 1.0 if on_larger else _SHARE_OF_SCREEN
        return Room((int(share * screen_wh[0]), int(share * screen_wh[1])), filled=False), False

    def show(self, shown: Shown) -> Presented | None:
        """Show one picture, and look at what the user does."""
        picture = shown.picture
        if not _is_visible():
            self._stop.request("the user")  # imshow would open a closed window again
            return None
        if not self._fitted and self._room is not None:
            self._fitted = True
            cv2.resizeWindow(_TITLE, *_fit((picture.shape[1], picture.shape[0]), self._room))
        cv2.imshow(_TITLE, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        key = cv2.waitKey(1) & 0xFF
        if key in _KEYS_TO_STOP:
            self._stop.request("the user")
        elif key in _KEYS_OF_SHUTTER:
            self._controls.ask("shutter", self.name)
        return Presented(shown.number, time.monotonic_ns())

    def close(self) -> None:
        """Close the window."""
        if self._open:
            self._open = False
            if _is_visible():
                cv2.destroyWindow(_TITLE)


def _is_visible() -> bool:
    try:
        return bool(cv2.getWindowProperty(_TITLE, cv2.WND_PROP_VISIBLE) >= 1.0)
    except cv2.error:
        return False  # Qt lets go of everything when its last window is closed


def _is_smaller(one_wh: tuple[int, int], other_wh: tuple[int, int]) -> bool:
    return one_wh[0] < other_wh[0] and one_wh[1] < other_wh[1]


def _fit(picture_wh: tuple[int, int], room: Room) -> tuple[int, int]:
    """The picture's size, made smaller where it is larger than the room."""
    scale = min(1.0, *(most / side for most, side in zip(room.size_wh, picture_wh, strict=True)))
    return max(1, round(picture_wh[0] * scale)), max(1, round(picture_wh[1] * scale))
