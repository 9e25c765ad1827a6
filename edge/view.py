"""What the loop shows: functions of a frame and a result that give a picture."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from edge.frame import Frame
from edge.overlay.layout import Room
from edge.overlay.overlay import Overlay
from edge.result import Result, Stage


class PairedView:
    """Draws a result over the very frame that it belongs to.

    The age in the picture is that at the time of drawing; showing it takes a little longer, which
    the health figures contain.

    Args:
        overlay: Does the drawing; its buffer is what :meth:`__call__` returns.
        durations_ms: Gives the newest times of the stages after the analysis, such as
            :meth:`edge.health.Health.newest_loop_ms`; shown beside those of the analysis.
        room: Gives the place where the picture is shown, known once its sink is open, such as
            :attr:`edge.sinks.window.WindowSink.room`; ``None`` draws as for a file.
    """

    def __init__(
        self,
        overlay: Overlay,
        durations_ms: Callable[[], Mapping[Stage, float]] = dict,
        room: Callable[[], Room | None] = lambda: None,
    ) -> None:
        self._overlay = overlay
        self._durations_ms = durations_ms
        self._room = room

    def __call__(self, frame: Frame, result: Result) -> NDArray[np.uint8]:
        """HxWx3 uint8 RGB; overwritten by the next call."""
        return self._overlay.draw(
            frame.pixels,
            result,
            age_ms=frame_age_ms(frame, time.monotonic_ns()),
            view=None if frame.captured_ns is None else "paired",
            durations_ms=self._durations_ms(),
            room=self._room(),
        )


def frame_age_ms(frame: Frame, now_ns: int) -> float | None:
    """Milliseconds from the capture to ``now_ns`` (monotonic); ``None`` without such a capture."""
    if frame.captured_ns is None or frame.captured_clock != "monotonic":
        return None
    return (now_ns - frame.captured_ns) / 1e6
