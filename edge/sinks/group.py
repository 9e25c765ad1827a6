"""All sinks of a run as one: a failing one is reported once and closed, the others go on."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from types import TracebackType

from edge.health import Health
from edge.sinks.base import Shot, Sink

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
        go_on, presented_ns = True, None
        for sink in list(self._running):
            try:
                go_on = sink.write(shot) and go_on
            except Exception as error:  # reported; one broken output never stops the camera
                self._drop(sink, error)
            presented_ns = presented_ns or time.monotonic_ns()
        return go_on, presented_ns or time.monotonic_ns()

    def _drop(self, sink: Sink, error: Exception) -> None:
        self._running.remove(sink)
        self._report(sink, error)
        try:
            sink.close()
        except Exception as second:  # the first error is the reason, and was reported
            _log.debug("closing sink %s after its failure: %s", sink.name, second)

    def _close_all(self) -> None:
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
