"""One recorded video, frame by frame."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import InputError
from edge.frame import Frame
from edge.native_messages import silence_video_libraries
from edge.sources.containers import check_container
from edge.sources.integrity import check_readable, cut_off, path_for_opencv, printable

FALLBACK_FPS = 25.0
"""Taken where a file states no rate, or one that no camera has (browsers write 1000)."""

MAX_STATED_FPS = 240.0

# An MP4 states its number of frames, and an AVI's packets are counted. Not all of them need show:
# the last few of an MP4, and what an encoder marked as "the same picture again" in an AVI.
_MP4_FRAMES_UNSEEN, _MP4_FRACTION_UNSEEN, _AVI_FRACTION_UNSEEN = 2, 0.1, 0.5

_LOOKS_BEYOND_THE_END = 10
"""OpenCV answers a damaged packet as it answers the end; only after the end nothing more comes."""


class Recording:
    """Reads a video file.

    Every frame comes with a new buffer: whoever receives it owns its pixels. ``captured_ns`` is
    the offset in the recording. A rotation stated in the file is applied by OpenCV.

    Args:
        path: The file.
        source: What the frames call it.
    """

    def __init__(self, path: Path, source: str) -> None:
        self._path = path
        self._source = source
        self._capture: cv2.VideoCapture | None = None
        self._bgr: NDArray[np.uint8] | None = None
        self._frames_read = 0
        self._fewest_frames = 1

    @property
    def fps(self) -> float:
        """Stated rate, or :data:`FALLBACK_FPS`; valid once open."""
        stated = self._property(cv2.CAP_PROP_FPS)
        return stated if 1.0 <= stated <= MAX_STATED_FPS else FALLBACK_FPS

    @property
    def frame_count(self) -> int | None:
        """Stated or estimated number of frames, or ``None``; for progress only; valid once open."""
        stated = self._property(cv2.CAP_PROP_FRAME_COUNT)
        return int(stated) if stated >= 1.0 and self._property(cv2.CAP_PROP_FPS) < 1000 else None

    def open(self) -> None:
        """Check that the file is whole, and start decoding.

        Raises:
            InputError: The file is missing, empty, torn, or in a form that OpenCV cannot decode.
        """
        check_readable(self._path)
        container = check_container(self._path)
        self._capture = _open_capture(self._path)
        stated = self._property(cv2.CAP_PROP_FRAME_COUNT)
        if container.kind == "MP4" and not container.trimmed:
            unseen = max(_MP4_FRAMES_UNSEEN, stated * _MP4_FRACTION_UNSEEN)
            self._fewest_frames = max(1, int(stated - unseen))
        elif container.kind == "AVI" and container.packets is not None:
            self._fewest_frames = max(1, int(container.packets * (1.0 - _AVI_FRACTION_UNSEEN)))

    def read(self) -> Frame | None:
        """The next frame, or ``None`` at the end.

        Raises:
            InputError: The video shows no frame at all, or stopped long before its stated end.
        """
        if self._capture is None:
            raise RuntimeError("open the recording before reading it")
        found, bgr = self._capture.read(self._bgr)
        if not found:
            self._check_end(self._capture)
            return None
        self._bgr = np.asarray(bgr, np.uint8)
        rgb = np.asarray(cv2.cvtColor(self._bgr, cv2.COLOR_BGR2RGB), np.uint8)
        offset_ms = max(0.0, self._property(cv2.CAP_PROP_POS_MSEC))
        frame = Frame(
            pixels=rgb,
            frame_id=self._frames_read,
            source=self._source,
            captured_ns=round(offset_ms * 1e6),
            captured_clock="recording",
            captured_by="file",
        )
        self._frames_read += 1
        return frame

    def close(self) -> None:
        """Let go of the file; calling it twice is harmless."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None

    def _property(self, number: int) -> float:
        value = 0.0 if self._capture is None else self._capture.get(number)
        return value if math.isfinite(value) else 0.0

    def _check_end(self, capture: cv2.VideoCapture) -> None:
        if any(capture.grab() for _ in range(_LOOKS_BEYOND_THE_END)):
            raise self._damaged()
        if self._frames_read == 0:
            raise InputError(
                f"a video with frames in {printable(self._path)}",
                got="none that can be decoded",
                next_step="check that it plays in a video player, or copy it again",
            )
        if self._frames_read < self._fewest_frames:
            raise self._damaged()

    def _damaged(self) -> InputError:
        return cut_off(self._path, f"a video damaged after frame {self._frames_read}")


def _open_capture(path: Path) -> cv2.VideoCapture:
    silence_video_libraries()
    text = path_for_opencv(path)
    try:
        for backend in (cv2.CAP_FFMPEG, cv2.CAP_GSTREAMER):
            if backend not in cv2.videoio_registry.getStreamBackends():
                continue
            capture = cv2.VideoCapture(text, backend)
            if capture.isOpened():
                return capture
            capture.release()
    except cv2.error as error:
        raise _undecodable(path) from error
    raise _undecodable(path)


def _undecodable(path: Path) -> InputError:
    return InputError(
        f"a video that this OpenCV can decode in {printable(path)}",
        got="a form unknown to it, or a damaged index",
        next_step="convert it, for example: ffmpeg -i IN -c:v libvpx OUT.webm",
    )
