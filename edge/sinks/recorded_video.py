"""Records an analyzed recording picture by picture, so that it plays as long as the original."""

from __future__ import annotations

from pathlib import Path

from edge.sinks.base import Shot
from edge.sinks.live_video import kept
from edge.sinks.video import VideoSink
from edge.sources.integrity import printable

_FPS_RANGE = (0.2, 240.0)
"""Rates outside are a fault of the recording's time stamps."""


class RecordedVideoSink:
    """A video with every picture of a recording, at the rate of its first two.

    Args:
        path: Ends in ``.webm``; replaced where it exists.
        usual_fps: Rate where the recording tells none: stills, or a single picture.
    """

    wants_drawn = True
    goes_on = False

    def __init__(self, path: Path, usual_fps: float) -> None:
        self.name = f"video {printable(path)}"
        self._path = path
        self._usual_fps = usual_fps
        self._first: Shot | None = None
        self._video: VideoSink | None = None

    def open(self) -> None:
        """Make the folder and see that there is room; errors as of :meth:`VideoSink.open`."""
        self._made(self._usual_fps).open()

    def write(self, shot: Shot) -> bool:
        """Record one picture; the first waits for the second. Errors as of VideoSink.write."""
        if self._video is not None:
            return self._video.write(shot)
        if self._first is None:
            self._first = kept(shot)
            return True
        first, self._first = self._first, None
        self._video = self._made(self._fps_between(first, shot))
        self._video.write(first)
        return self._video.write(shot)

    def close(self) -> None:
        """Finish the file, also of a single picture; errors as of :meth:`VideoSink.close`."""
        if self._first is not None:
            self._video = self._made(self._usual_fps)
            self._video.write(self._first)
            self._first = None
        if self._video is not None:
            self._video.close()

    def _made(self, fps: float) -> VideoSink:
        return VideoSink(self._path, fps, own_thread=False)

    def _fps_between(self, first: Shot, second: Shot) -> float:
        start_ns, end_ns = first.frame.captured_ns, second.frame.captured_ns
        if start_ns is None or end_ns is None or end_ns <= start_ns:
            return self._usual_fps
        fps = 1e9 / (end_ns - start_ns)
        return fps if _FPS_RANGE[0] <= fps <= _FPS_RANGE[1] else self._usual_fps
