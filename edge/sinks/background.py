"""A sink on a thread of its own: a slow, blocked or broken one never holds up the camera."""

from __future__ import annotations

import logging
import threading
from collections import deque

from edge.errors import InputError
from edge.sinks.base import Shot, Sink
from edge.stop import SLICE_S, Stop

CAPACITY = 8
"""Shots that wait for a slow sink; they hold their pictures in memory."""

CLOSE_WITHIN_S = 10.0
"""How long a sink may take to write what waits and to finish, before it is left behind."""

_log = logging.getLogger("dermedge.sink")


class BackgroundSink:
    """Gives another sink its shots on a thread of its own.

    Of a live source the oldest waiting shot is dropped where the sink is too slow, and counted in
    :attr:`dropped`: what is lost is a record, never an analysis. Of a recording nothing is dropped:
    :meth:`write` waits for room, and gives up once everybody is asked to stop.

    What the sink raises is raised again by the next call here.

    Args:
        sink: Opened, served and closed on the thread, but for opening.
        stop: Ends a wait for room.
        lossless: Wait instead of dropping.
        capacity: Shots that may wait.
    """

    def __init__(self, sink: Sink, stop: Stop, *, lossless: bool, capacity: int = CAPACITY) -> None:
        self.name = sink.name
        self.dropped = 0
        self._sink = sink
        self._stop = stop
        self._lossless = lossless
        self._capacity = capacity
        self._changed = threading.Condition()
        self._waiting: deque[Shot] = deque()
        self._closing = False
        self._goes_on = True
        self._error: Exception | None = None
        self._thread: threading.Thread | None = None

    @property
    def wants_drawn(self) -> bool:
        """True where the picture with its overlay is needed."""
        return self._sink.wants_drawn

    @property
    def goes_on(self) -> bool:
        """As the sink."""
        return self._sink.goes_on

    def open(self) -> None:
        """Open the sink, on this thread: what it raises belongs to the start."""
        self._sink.open()
        self._closing, self._goes_on, self._error = False, True, None
        self._thread = threading.Thread(
            target=self._work, name=f"sink {self.name[:40]}", daemon=True
        )
        self._thread.start()

    def write(self, shot: Shot) -> bool:
        """Leave a shot for the sink; errors are those of earlier ones."""
        with self._changed:
            self._raise_error()
            while self._lossless and len(self._waiting) >= self._capacity:
                if self._stop.is_set or self._error is not None:
                    break
                self._changed.wait(SLICE_S)
            self._raise_error()
            if len(self._waiting) >= self._capacity:
                self._waiting.popleft()
                self.dropped += 1
            self._waiting.append(shot)
            self._changed.notify_all()
            return self._goes_on

    def close(self) -> None:
        """Let the sink write what waits and finish; one that hangs is left behind.

        Raises:
            Exception: What the sink raised.
            InputError: It did not finish in time.
        """
        thread, self._thread = self._thread, None
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if thread is None:
            return
        thread.join(CLOSE_WITHIN_S)
        if self.dropped:
            _log.warning("sink %s: %d shots left out, it was too slow", self.name, self.dropped)
        if thread.is_alive():
            raise InputError(
                f"sink {self.name} to finish in {CLOSE_WITHIN_S:g} s",
                got="it hangs; what waited for it is lost",
                next_step="check the place that it writes to",
            )
        with self._changed:
            self._raise_error()

    def _raise_error(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _work(self) -> None:
        try:
            while (shot := self._next()) is not None:
                if not self._sink.write(shot):
                    self._goes_on = False
        except Exception as error:  # raised again by the next call
            self._fail(error)
        try:
            self._sink.close()
        except Exception as error:  # the first one is the reason
            if self._error is None:
                self._fail(error)

    def _next(self) -> Shot | None:
        with self._changed:
            while not self._waiting and not self._closing:
                self._changed.wait()
            shot = self._waiting.popleft() if self._waiting else None
            self._changed.notify_all()
            return shot

    def _fail(self, error: Exception) -> None:
        with self._changed:
            self._error = error
            self._waiting.clear()
            self._changed.notify_all()
