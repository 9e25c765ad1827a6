"""All sinks of a run as one: a failing one is reported and closed, the others go on."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from types import TracebackType

from edge.errors import DermedgeError
from edge.health import Health
from edge.overlay.notices import Notice
from edge.sinks.base import Shot, Sink

RETRY_S = 30.0
"""Pause before a sink that has failed and goes on where it ended is opened again."""

_log = logging.getLogger("dermedge.sink")


class SinkGroup:
    """Opens, serves and closes sinks in order; use it in a ``with`` statement.

    The order matters to the frame age, which is taken when the first sink has returned: give the
    window first.

    Args:
        sinks: Not yet open.
        health: Told about sinks that fail while running; they set the exit code at the end.
    """

    def __init__(self, sinks: Sequence[Sink], health: Health) -> None:
        self._running = list(sinks)
        self._away: list[_Away] = []
        self._health = health

    def __enter__(self) -> SinkGroup:
        """Open all sinks.

        Raises:
            DermedgeError: One cannot start; those opened before are closed again.
        """
        opened: list[Sink] = []
        for sink in self._running:
            opened.append(sink)
            try:
                sink.open()
            except BaseException:
                self._running = opened
                self._close_all()
                raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close_all()

    @property
    def want_drawn(self) -> bool:
        """True where any running sink needs the overlay."""
        return any(sink.wants_drawn for sink in self._running)

    def write(self, shot: Shot) -> tuple[bool, int]:
        """Hand one analyzed frame to every running sink.

        Returns:
            False where a sink asks to stop, and the monotonic nanoseconds at which the first sink
            had presented the frame.
        """
        self._take_back()
        go_on, presented_ns = True, None
        for sink in list(self._running):
            try:
                go_on = sink.write(shot) and go_on
            except Exception as error:  # reported; one broken output never stops the camera
                self._drop(sink, error)
            presented_ns = presented_ns or time.monotonic_ns()
        return go_on, presented_ns or time.monotonic_ns()

    def notices(self) -> list[Notice]:
        """What is not written any more, and why."""
        return [
            Notice(f"NOT WRITTEN: {away.sink.name}: {away.words}", "alarm")
            for away in list(self._away)
        ]

    def away(self) -> list[str]:
        """Names of those that are not written."""
        return [away.sink.name for away in list(self._away)]

    def left_out(self) -> dict[str, int]:
        """How many shots each was too slow for, by its name."""
        every = (*self._running, *(away.sink for away in list(self._away)))
        return {sink.name: getattr(sink, "dropped", 0) for sink in every}

    def _take_back(self) -> None:
        """Use sinks that could be opened again, and try those for which it is time."""
        for away in list(self._away):
            if away.is_back:
                self._away.remove(away)
                self._running.append(away.sink)
                _log.info("sink %s: writes again", away.sink.name)
            else:
                away.try_when_due()

    def _drop(self, sink: Sink, error: Exception) -> None:
        self._running.remove(sink)
        self._report(sink, error)
        self._away.append(_Away(sink, error))
        try:
            sink.close()
        except Exception as second:  # the first error is the reason, and was reported
            _log.debug("closing sink %s after its failure: %s", sink.name, second)

    def _close_all(self) -> None:
        for away in self._away:
            if away.is_back:
                self._running.append(away.sink)
        self._away.clear()
        while self._running:
            sink = self._running.pop()
            try:
                sink.close()
            except Exception as error:  # the other sinks still have files to finish
                self._report(sink, error)

    def _report(self, sink: Sink, error: Exception) -> None:
        self._health.failed(f"sink {sink.name}", error)
        _log.error(
            "sink %s failed and is closed: %s",
            sink.name,
            error,
            exc_info=_log.isEnabledFor(logging.DEBUG),
        )


class _Away:
    """A sink that failed: why, and a thread that opens it again where it goes on where it ended."""

    def __init__(self, sink: Sink, error: Exception) -> None:
        self.sink = sink
        self.words = error.got if isinstance(error, DermedgeError) else str(error)
        self._retry_s = time.monotonic() + RETRY_S
        self._opening: threading.Thread | None = None
        self._is_open = False

    @property
    def is_back(self) -> bool:
        """Whether it is open again."""
        return self._is_open

    def try_when_due(self) -> None:
        """Begin to open it, where it is time to; a disk that hangs holds up only that thread."""
        busy = self._opening is not None and self._opening.is_alive()
        if not self.sink.goes_on or busy or time.monotonic() < self._retry_s:
            return
        self._retry_s = time.monotonic() + RETRY_S
        self._opening = threading.Thread(
            target=self._open, name=f"reopen {self.sink.name[:40]}", daemon=True
        )
        self._opening.start()

    def _open(self) -> None:
        try:
            self.sink.open()
        except Exception as error:  # told as it was before, until it works
            self.words = error.got if isinstance(error, DermedgeError) else str(error)
        else:
            self._is_open = True
