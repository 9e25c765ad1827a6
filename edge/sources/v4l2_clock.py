"""What a driver's time stamps say about when a frame was taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edge.sources import v4l2_abi as abi
from edge.sources.frame_numbers import SEQUENCE_WRAP
from edge.sources.v4l2_device import FilledBuffer

_NS_PER_S = 1_000_000_000

BELIEVABLE_AGE_NS = 10 * _NS_PER_S
"""A stamp so much older than the moment before which its buffer was not filled is of some other
clock: uvcvideo can be told to use the wall clock and flags it as monotonic all the same."""

UNKNOWN_INTERVAL_NS = _NS_PER_S // 5
"""Taken for the time per frame where a driver does not say and nothing was measured yet."""


@dataclass(frozen=True)
class Stamp:
    """When a frame was taken, on CLOCK_MONOTONIC.

    Attributes:
        captured_ns: As ``Frame.captured_ns``.
        captured_by: ``driver``, or ``arrival`` where the driver's time cannot be used.
        exposure_began_ns: No light was collected before.
    """

    captured_ns: int
    captured_by: Literal["driver", "arrival"]
    exposure_began_ns: int


class StreamClock:
    """Reads the time stamps of one stream.

    A stamp flagged V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC is on CLOCK_MONOTONIC already. Any other
    (unknown, or copied from whoever wrote into a loopback) is not used: then the frame has the time
    at which we saw it, which is too late by the transfer and by our own waiting.

    Light is collected before a stamp of the end of a frame by readout and exposure: each lasts at
    most one time per frame, unless the exposure control says more. A stamp of the start of exposure
    (V4L2_BUF_FLAG_TSTAMP_SRC_SOE) is that start. But uvcvideo flags every camera so, and its time
    is that of the first packet wherever a camera sends no clock of its own. A packet, or a buffer
    that we see arrive, may come one time per frame later still: cameras hold a picture while they
    compress it. A camera that holds more than one cannot be known from here.

    Args:
        interval_ns: Time per frame as the driver has set it, or ``None``.
        driver: Name of the driver.
        began_ns: When the stream was started; nothing arrived before.
    """

    def __init__(self, interval_ns: int | None, driver: str, began_ns: int) -> None:
        self._nominal_ns = interval_ns
        self._soe_is_start = driver != "uvcvideo"
        self._emptied_ns = began_ns
        self._last: FilledBuffer | None = None
        self._measured_ns = 0
        self.believed = True
        """False once a stamp was flagged as monotonic and could not be."""

    @property
    def interval_ns(self) -> int:
        """Time per frame: as set or as last seen, whichever is longer (dark rooms slow cameras)."""
        known = max(self._nominal_ns or 0, self._measured_ns)
        return known or UNKNOWN_INTERVAL_NS

    def emptied(self, now_ns: int) -> None:
        """No filled buffer was left at this moment: later ones arrived later."""
        self._emptied_ns = now_ns

    def saw(self, buffer: FilledBuffer) -> None:
        """Every buffer in its order, used or not: the time between two is measured."""
        last, self._last = self._last, buffer
        if last is None or not (_is_monotonic(last) and _is_monotonic(buffer)):
            return
        frames = (buffer.sequence - last.sequence) % SEQUENCE_WRAP
        passed_ns = buffer.timestamp_ns - last.timestamp_ns
        if 0 < frames < SEQUENCE_WRAP // 2 and 0 < passed_ns < BELIEVABLE_AGE_NS:
            self._measured_ns = passed_ns // frames

    def stamp(self, buffer: FilledBuffer, arrived_ns: int, exposure_us: float | None) -> Stamp:
        """When a frame was taken.

        Args:
            buffer: The frame's.
            arrived_ns: When it was taken from the driver, before :meth:`emptied` is told.
            exposure_us: Exposure time that the camera reports, or ``None``.
        """
        exposure_ns = max(round((exposure_us or 0.0) * 1000.0), self.interval_ns)
        before_end_ns = self.interval_ns + exposure_ns
        before_arrival_ns = before_end_ns + self.interval_ns
        if _is_monotonic(buffer):
            oldest_ns = self._emptied_ns - before_end_ns - BELIEVABLE_AGE_NS
            if oldest_ns <= buffer.timestamp_ns <= arrived_ns + self.interval_ns:
                captured_ns = min(buffer.timestamp_ns, arrived_ns)
                source = buffer.flags & abi.V4L2_BUF_FLAG_TSTAMP_SRC_MASK
                if source != abi.V4L2_BUF_FLAG_TSTAMP_SRC_SOE:
                    before_ns = before_end_ns
                else:
                    before_ns = 0 if self._soe_is_start else before_arrival_ns
                return Stamp(captured_ns, "driver", captured_ns - before_ns)
            self.believed = False
        return Stamp(arrived_ns, "arrival", self._emptied_ns - before_arrival_ns)


def _is_monotonic(buffer: FilledBuffer) -> bool:
    clock = buffer.flags & abi.V4L2_BUF_FLAG_TIMESTAMP_MASK
    return clock == abi.V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC
