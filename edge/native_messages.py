"""Keeps the C libraries behind OpenCV and Pillow from writing to stderr.

What goes wrong is reported by return values and exceptions, in one line of our own; their remarks
would come on top, unasked, in words that tell the user nothing. Some remarks are the only sign of
damage: those are caught.
"""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_ONE_AT_A_TIME = threading.Lock()
"""Two threads that exchange stderr at once would put each other's back, and lose the real one."""


@contextmanager
def native_messages_dropped() -> Iterator[None]:
    """Send this process's stderr to nowhere for the duration.

    It is the whole process's: lines that other threads write meanwhile are lost as well, so it
    belongs around single short calls only.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        with _stderr_into(nowhere):
            yield
    finally:
        os.close(nowhere)


@contextmanager
def native_messages_caught(wanted: re.Pattern[bytes]) -> Iterator[list[str]]:
    """Take the lines of one kind out of this process's stderr for the duration.

    What else is written meanwhile, by other threads too, is passed on afterwards; beyond the
    64 kB that a pipe holds it is lost.

    Args:
        wanted: Matches the whole of each line to catch, without its end.

    Yields:
        A list, empty until the end of the ``with`` block, of the lines caught.
    """
    caught: list[str] = []
    reading, writing = os.pipe()
    os.set_blocking(writing, False)  # a library that talks a lot must not wait for us
    try:
        with _stderr_into(writing):
            yield caught
    finally:
        os.close(writing)
        os.set_blocking(reading, False)  # a child process may have inherited the other end
        with open(reading, "rb", buffering=0) as pipe:
            lines = (pipe.readall() or b"").splitlines(keepends=True)
        for line in lines:
            if wanted.fullmatch(line.rstrip(b"\r\n")):
                caught.append(line.decode("ascii", "replace").strip())
            else:
                with suppress(OSError):  # nobody reads stderr any more
                    os.write(2, line)


@contextmanager
def _stderr_into(descriptor: int) -> Iterator[None]:
    with _ONE_AT_A_TIME:
        with suppress(OSError):  # nobody reads stderr any more
            sys.stderr.flush()
        kept = os.dup(2)
        try:
            os.dup2(descriptor, 2)
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
