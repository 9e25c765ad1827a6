"""Records a live view at the pace at which pictures really come."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edge.sinks.base import Shot
from edge.sinks.video import VideoSink
from edge.sources.integrity import printable

MEASURED_PICTURES = 4
"""The recording begins with this picture: the first ones come slowly and then give the pace."""

LONG_SIDE_PX = 960
"""OpenCV drives VP8 in a way that costs a whole core at 1280x720 and ten pictures a second."""

_SLOWEST_FPS = 1.0


class LiveVideoSink:
    """A video that plays as long as the capture took and never holds up the analysis.

    A WebM file written by OpenCV has one rate for all its pictures, and a repeated picture costs
    as much as a new one. So the rate is that of the first pictures, and from then on some are
    repeated or left out where the pace changes.

    Args:
        path: Ends in ``.webm``; replaced where it exists.
        highest_fps: Rate that the video does not exceed, however quick the analysis.
    """

    wants_drawn = True
    goes_on = False

    def __init__(self, path: Path, highest_fps: float) -> None:
        self.name = f"video {printable(path)}"
        self._path = path
        self._highest_fps = highest_fps
        self._captured_ns: list[int] = []
        self._latest: Shot | None = None
        self._video: VideoSink | None = None

    def open(self) -> None:
        """Make the folder and see that there is room; errors as of :meth:`VideoSink.open`."""
        self._made(self._highest_fps).open()

    def write(self, shot: Shot) -> bool:
        """Record one picture, once the pace is known; errors as of :meth:`VideoSink.write`."""
        if self._video is not None:
            return self._video.write(shot)
        self._captured_ns.append(shot.frame.captured_ns or 0)
        if len(self._captured_ns) < MEASURED_PICTURES:
            self._latest = kept(shot)
            return True
        self._latest = None
        self._video = self._made(self._measured_fps())
        return self._video.write(shot)

    def close(self) -> None:
        """Finish the file, with one picture at least; errors as of :meth:`VideoSink.close`."""
        if self._video is None and self._latest is not None:
            self._video = self._made(self._highest_fps)
            self._video.write(self._latest)
        self._latest = None
        if self._video is not None:
            self._video.close()

    def _made(self, fps: float) -> VideoSink:
        return VideoSink(self._path, fps, keep_pace=True, long_side_px=LONG_SIDE_PX)

    def _measured_fps(self) -> float:
        """Rate of the pictures, without the interval after the first: that one warms up."""
        span_s = (self._captured_ns[-1] - self._captured_ns[1]) / 1e9
        measured = (len(self._captured_ns) - 2) / span_s if span_s > 0.0 else self._highest_fps
        return min(self._highest_fps, max(_SLOWEST_FPS, measured))


def kept(shot: Shot) -> Shot:
    """A copy of what a video needs, which outlives the call of ``write`` that it was lent to."""
    picture = shot.frame.pixels if shot.drawn is None else shot.drawn
    return replace(shot, mask=None, drawn=picture.copy())
