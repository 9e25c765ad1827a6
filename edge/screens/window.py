"""Shows pictures in a window of the desktop; runs in a process of its own.

A device's own small screen is used whole, and the window says how large it is: text that is drawn
for another size and then made smaller cannot be read.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import RequestError
from edge.overlay.layout import SMALLEST_ROOM_WH, Room

_TITLE = "dermedge"

_SMALL_WH = (1280, 720)
"""A screen with a shorter side has no room for a desktop around the picture: all of it is used."""

_SHARE_OF_SCREEN = 0.9
"""Elsewhere a window opens in this share of each side; title and task bar need the rest."""

_WIDEST = 2.4
"""A wider screen is several side by side, which X gives as one; then the first is taken as 16:9."""

_THERE_WITHIN_S = 3.0
_WAKES = 2
_KEYS_TO_STOP = (ord("q"), ord("Q"), 27)  # 27 is Esc
_KEYS_OF_SHUTTER = (ord(" "), 13, 10)  # Enter


class Window:
    """A window that fits the screen.

    q, Esc or its close button ends the run; Space or Enter is the shutter. It takes all of a screen
    that is smaller than 1280x720. Where the size is unknown, the screen is taken for the smallest
    on which everything can be read.

    Without a display Qt aborts the process, which is why this one is nobody else's.

    Args:
        screen_wh: Size in pixels of the screen to draw for, instead of what the display says. On a
            larger one the window shows what a screen of this size would.
    """

    def __init__(self, screen_wh: tuple[int, int] | None = None) -> None:
        self._stated_wh = screen_wh
        self._room: Room | None = None
        self._bgr = np.empty((0, 0, 3), np.uint8)
        self._open = False
        self._fitted = False
        self._wishes: list[str] = []
        self._wakes_left = 0

    @property
    def size_wh(self) -> tuple[int, int]:
        """Pixels that there are for a picture; valid once open."""
        assert self._room is not None
        return self._room.size_wh

    @property
    def is_filled(self) -> bool:
        """True where the window is the whole screen."""
        return self._room is not None and self._room.filled

    def open(self) -> None:
        """Open the window.

        Raises:
            RequestError: There is no display, or this OpenCV has no windows.
        """
        # Qt would warn that the wheel of OpenCV brings no fonts; nothing here needs Qt's text.
        os.environ.setdefault("QT_LOGGING_RULES", "default.warning=false")
        if not os.environ.get("DISPLAY") and not os.environ.get("WAYLAND_DISPLAY"):
            raise _no_display("neither DISPLAY nor WAYLAND_DISPLAY is set")
        known_wh = _screen_wh()
        self._room, whole_screen = self._choose_room(known_wh)
        try:
            # Without OpenCV's own tool bar and status bar, which would take their share.
            flags = cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL
            cv2.namedWindow(_TITLE, flags)
        except cv2.error as error:
            raise _no_display(" ".join(str(error).split())[:160]) from error
        self._open = True
        # Qt makes a window of its own time: one that is sent to the whole screen before it is
        # there may stay black for good where no window manager helps.
        until_s = time.monotonic() + _THERE_WITHIN_S
        while not _is_visible() and time.monotonic() < until_s:
            cv2.waitKey(20)
        cv2.waitKey(50)
        if whole_screen:
            # Size and place first: without a window manager nothing else makes it the screen's.
            cv2.moveWindow(_TITLE, 0, 0)
            cv2.resizeWindow(_TITLE, *self._room.size_wh)
            cv2.setWindowProperty(_TITLE, cv2.WND_PROP_FULLSCREEN, cv2.WINDOW_FULLSCREEN)
            self._fitted = True
            self._wakes_left = _WAKES
        cv2.waitKey(1)

    def _choose_room(self, known_wh: tuple[int, int] | None) -> tuple[Room, bool]:
        """Where to draw, and whether that is the whole screen."""
        screen_wh = self._stated_wh or known_wh
        if screen_wh is None:
            screen_wh = SMALLEST_ROOM_WH
            print(  # the parent keeps it in the log
                f"the display does not tell its size; drawn for {screen_wh[0]}x{screen_wh[1]}, "
                "which --sink 'window:?screen=WxH' changes",
                file=sys.stderr,
            )
        on_larger = known_wh is not None and _is_smaller(screen_wh, known_wh)
        if screen_wh[0] < _SMALL_WH[0] or screen_wh[1] < _SMALL_WH[1]:
            return Room(screen_wh, filled=True), not on_larger
        share = 1.0 if on_larger else _SHARE_OF_SCREEN
        return Room((int(share * screen_wh[0]), int(share * screen_wh[1])), filled=False), False

    def show(self, picture: NDArray[np.uint8]) -> int:
        """Show one picture; gives the monotonic nanoseconds when it was done."""
        if not self._fitted and self._room is not None:
            self._fitted = True
            cv2.resizeWindow(_TITLE, *_fit((picture.shape[1], picture.shape[0]), self._room))
        if self._bgr.shape != picture.shape:
            self._bgr = np.empty_like(picture)
        cv2.cvtColor(picture, cv2.COLOR_RGB2BGR, dst=self._bgr)
        if _is_visible():  # imshow would open a closed window again
            cv2.imshow(_TITLE, self._bgr)
            self._hear()
        if self._wakes_left and self._room is not None:
            self._wakes_left -= 1
            self._wake(self._room.size_wh)
        return time.monotonic_ns()

    def _wake(self, size_wh: tuple[int, int]) -> None:
        """Have the window painted: without a window manager Qt sometimes misses that it is seen,
        and then stays black until it is resized."""
        cv2.resizeWindow(_TITLE, size_wh[0] - 2, size_wh[1] - 2)
        cv2.waitKey(30)
        cv2.resizeWindow(_TITLE, *size_wh)
        self._hear()

    def poll(self) -> Sequence[str]:
        """What the user has done since: ``shutter``, ``closed``."""
        self._hear()
        if not _is_visible():
            self._wishes.append("closed")
        wishes, self._wishes = self._wishes, []
        return wishes

    def _hear(self) -> None:
        key = cv2.waitKey(1) & 0xFF
        if key in _KEYS_TO_STOP:
            self._wishes.append("closed")
        elif key in _KEYS_OF_SHUTTER:
            self._wishes.append("shutter")

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


def _no_display(words: str) -> RequestError:
    return RequestError(
        "a display to open a window on",
        got=words,
        next_step="start it on a desktop (or set DISPLAY), or use --sink screen:, web:, headless "
        "or video:PATH",
    )


def _screen_wh() -> tuple[int, int] | None:
    """Size of the screen in pixels, which OpenCV does not tell; X does, where it is X."""
    try:
        x11 = ctypes.CDLL("libX11.so.6")
    except OSError:
        return None
    x11.XOpenDisplay.restype = ctypes.c_void_p
    address = x11.XOpenDisplay(None)
    if not address:
        return None
    display = ctypes.c_void_p(address)
    screen = x11.XDefaultScreen(display)
    width, height = x11.XDisplayWidth(display, screen), x11.XDisplayHeight(display, screen)
    # It stays open as long as this process: a server without other clients would start anew at its
    # end, and refuse the window meanwhile.
    return (height * 16 // 9, height) if width > _WIDEST * height else (width, height)
