"""Shows the picture with its overlay in a window of the desktop."""

from __future__ import annotations

import os
import subprocess
import sys

import cv2

from edge.errors import RequestError
from edge.sinks.base import Shot

_TITLE = "dermedge"
_LARGEST_WH = (1280, 720)
"""Size at which the window opens at most; the user may enlarge it."""

_PROBE_TIMEOUT_S = 20.0
_KEYS_TO_STOP = (ord("q"), ord("Q"), 27)  # 27 is Esc

# Asking a display that is not there makes Qt abort the whole process, so a child asks first.
_PROBE = "import cv2; cv2.namedWindow('probe', cv2.WINDOW_NORMAL); cv2.waitKey(1)"


def why_no_display() -> str | None:
    """Why a window cannot be opened here, in words, or ``None`` where it can."""
    try:
        child = subprocess.run(
            [sys.executable, "-c", _PROBE],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PROBE_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        return f"a display that did not answer in {_PROBE_TIMEOUT_S:g} s"
    if child.returncode == 0:
        return None
    lines = [line.strip() for line in child.stderr.splitlines() if line.strip()]
    return lines[0] if lines else f"a display test that ended with {child.returncode}"


class WindowSink:
    """A window that fits the screen; q, Esc or its close button ends the run.

    Everything in here runs on the main thread, as desktops demand.
    """

    name = "window"
    wants_drawn = True

    def __init__(self) -> None:
        self._open = False
        self._fitted = False

    def open(self) -> None:
        """Open the window.

        Raises:
            RequestError: There is no display, or this OpenCV has no windows.
        """
        # Qt would warn that the wheel of OpenCV brings no fonts; nothing here needs Qt's text.
        os.environ.setdefault("QT_LOGGING_RULES", "default.warning=false")
        reason = why_no_display()
        if reason is not None:
            raise RequestError(
                "a display to open a window on",
                got=reason,
                next_step="start it on a desktop (or set DISPLAY), or use --sink headless or "
                "--sink video:PATH",
            )
        cv2.namedWindow(_TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
        self._open = True

    def write(self, shot: Shot) -> bool:
        """Show one picture.

        Returns:
            False once the user pressed q or Esc or closed the window.
        """
        picture = shot.frame.pixels if shot.drawn is None else shot.drawn
        if not _is_visible():
            return False  # imshow would open a closed window again
        if not self._fitted:
            self._fitted = True
            cv2.resizeWindow(_TITLE, *_fit(picture.shape[1], picture.shape[0]))
        cv2.imshow(_TITLE, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        key = cv2.waitKey(1) & 0xFF
        return key not in _KEYS_TO_STOP

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


def _fit(width: int, height: int) -> tuple[int, int]:
    """The picture's size, made smaller where it is larger than a small laptop's screen."""
    scale = min(1.0, _LARGEST_WH[0] / width, _LARGEST_WH[1] / height)
    return max(1, round(width * scale)), max(1, round(height * scale))
