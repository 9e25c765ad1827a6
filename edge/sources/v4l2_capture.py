"""A running V4L2 stream, drained to its newest frame."""

from __future__ import annotations

import errno
import os
import select
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.pixel_pool import PixelPool
from edge.sources import v4l2_abi as abi
from edge.sources.frame_numbers import FrameNumbers
from edge.sources.v4l2_clock import Stamp, StreamClock
from edge.sources.v4l2_device import Device, FilledBuffer, Stream
from edge.sources.v4l2_formats import Agreed
from edge.sources.v4l2_pixels import Decoder, FrameFault

OLD_INTERVALS = 2
"""A frame may wait so many times per frame in a full queue before it is no news any more."""


class SilenceError(TimeoutError):
    """The driver gave nothing in time."""


@dataclass(frozen=True)
class Taken:
    """A filled buffer, its id and its time; it belongs to us until decoded or given back."""

    buffer: FilledBuffer
    frame_id: int
    stamp: Stamp


class Capture:
    """One stream from STREAMON to STREAMOFF. All methods raise ``OSError`` for a lost camera.

    Args:
        device: Open, with its format set.
        driver: Name of the driver.
        agreed: The format.
        buffer_count: Buffers to ask for.
        numbers: Goes on numbering from stream to stream.
        pool: Where pictures come from.
        wake: Descriptor that is readable as soon as nobody wants frames any more.
    """

    def __init__(
        self,
        device: Device,
        driver: str,
        agreed: Agreed,
        buffer_count: int,
        numbers: FrameNumbers,
        pool: PixelPool,
        wake: int,
    ) -> None:
        self.agreed = agreed
        self.refused = 0
        """Buffers flagged by the driver and pictures that were not whole."""
        self._wake = wake
        self._numbers = numbers
        self._decoder = Decoder(agreed, pool)
        self._poll = select.poll()
        self._poll.register(device.fileno(), select.POLLIN)
        self._poll.register(wake, select.POLLIN)
        numbers.restart()
        self.clock = StreamClock(agreed.interval_ns, driver, time.monotonic_ns())
        self._stream = Stream(device, buffer_count)

    def newest(self, until_s: float, exposure_us: float | None) -> Taken | None:
        """Wait for a frame; of several that are ready the newest is taken, the others go back.

        Where every buffer was full, the driver had none left to fill and the newest may be of any
        age: then the next frame is waited for.

        Args:
            until_s: ``time.monotonic`` at which waiting ends.
            exposure_us: Exposure time that the camera reports, or ``None``.

        Returns:
            The frame, or ``None`` where nobody wants frames any more.

        Raises:
            SilenceError: None came in time.
            FrameFault: The driver flagged all that were ready as damaged.
            OSError: The camera is gone or broken.
        """
        flushed = False
        while True:
            ready, empty_ns = self._dequeue_all()
            if ready and not flushed and self._is_old(ready, empty_ns):
                flushed = True
                for taken in ready:
                    self.give_back(taken)
                ready = []
            if ready:
                taken = self._choose(ready, empty_ns, exposure_us)
                self.clock.emptied(empty_ns)
                return taken
            self.clock.emptied(empty_ns)
            if not self._wait(until_s):
                return None

    def decode(self, taken: Taken) -> NDArray[np.uint8]:
        """The picture of a taken frame, whose buffer goes back to the driver.

        Returns:
            HxWx3 uint8 RGB, C-contiguous, from the pool.

        Raises:
            FrameFault: It is not whole.
        """
        fault = ""
        try:
            return self._decoder.decode(self._stream.payload(taken.buffer))
        except FrameFault as error:
            # Its traceback refers to the driver's memory, which then could not be unmapped.
            fault = str(error)
        finally:
            self.give_back(taken)
        self.refused += 1
        raise FrameFault(fault)

    def payload(self, taken: Taken) -> bytes:
        """A copy of the bytes of a taken frame."""
        return self._stream.payload(taken.buffer).tobytes()

    def give_back(self, taken: Taken) -> None:
        """Let the driver fill the buffer again."""
        self._stream.give_back(taken.buffer.index)

    def stop(self) -> None:
        """End the stream; never raises."""
        self._stream.stop()

    def _dequeue_all(self) -> tuple[list[Taken], int]:
        """All that is ready, oldest first, and a moment at which nothing more was."""
        ready: list[Taken] = []
        while True:
            now_ns = time.monotonic_ns()
            full = len(ready) == self._stream.buffer_count
            buffer = None if full else self._stream.dequeue()
            if buffer is None:
                return ready, now_ns
            self.clock.saw(buffer)
            frame_id = self._numbers.number(buffer.sequence)
            ready.append(Taken(buffer, frame_id, self.clock.stamp(buffer, now_ns, None)))

    def _is_old(self, ready: list[Taken], now_ns: int) -> bool:
        if len(ready) < self._stream.buffer_count:
            return False
        stamp = ready[-1].stamp
        age_ns = now_ns - stamp.captured_ns
        return stamp.captured_by == "arrival" or age_ns > OLD_INTERVALS * self.clock.interval_ns

    def _choose(self, ready: list[Taken], now_ns: int, exposure_us: float | None) -> Taken:
        good = [taken for taken in ready if not taken.buffer.flags & abi.V4L2_BUF_FLAG_ERROR]
        self.refused += len(ready) - len(good)
        for taken in ready:
            if not good or taken is not good[-1]:
                self.give_back(taken)
        if not good:
            raise FrameFault("a frame that the driver flags as damaged")
        newest = good[-1]
        stamp = self.clock.stamp(newest.buffer, now_ns, exposure_us)
        return Taken(newest.buffer, newest.frame_id, stamp)

    def _wait(self, until_s: float) -> bool:
        """Until a buffer may be ready; False where nobody wants frames any more."""
        left_ms = max(0.0, (until_s - time.monotonic()) * 1000.0)
        events = dict(self._poll.poll(left_ms))
        if self._wake in events:
            return False
        if not events:
            raise SilenceError
        if not any(event & select.POLLIN for event in events.values()):
            # POLLERR or POLLHUP: this call says what it is; if it does not, it is an I/O error.
            self._stream.dequeue()
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return True
