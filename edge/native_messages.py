"""Keeps the C libraries behind OpenCV and Pillow from writing to stderr.

What goes wrong is reported by return values and exceptions, in one line of our own; their remarks
would come on top, unasked, in words that tell the user nothing.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def native_messages_dropped() -> Iterator[None]:
    """Send this process's stderr to nowhere for the duration.

    It is the whole process's: lines that other threads write meanwhile are lost as well, so it
    belongs around single short calls only.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with tempfile.TemporaryFile() as nowhere:
            os.dup2(nowhere.fileno(), 2)
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def silence_video_libraries() -> None:
    """Turn off the log of OpenCV, and that of FFmpeg if it was not used yet in this process."""
    import cv2  # only those who touch video pay for it

    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    # OpenCV 5 moved it; 0 is LOG_LEVEL_SILENT in both.
    set_level = getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel
    set_level(0)
