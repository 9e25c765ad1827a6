"""All sinks of a run as one: a failing one is reported and closed, the others go on."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from types import TracebackType

from edge.away import Away
from edge.errors import DermedgeError
from edge.health import Health
from edge.overlay.notices import Notice
from edge.sinks.base import Shot, Sink

_log = logging.getLogger("dermedge.sink")


class SinkGroup:
    """Opens, serves and closes sinks in order; use it in a ``with`` statement.

    The order matters to the frame age, which is taken when the first sink has returned: give the
    window first.

    Args:
        sinks: Not yet open.
        health: Told about sinks that fail while running; they set the exit code at the end.
        may_wait: One that cannot be opened at the start is tried again, as one that fails later.
    """

    def __init__(self, sinks: Sequence[Sink], health: Health, *, may_wait: bool = False) -> None:
        self._sinks = list(sinks)
        self._running: list[Sink] = []
        self._away: list[tuple[Sink, Away]] = []
        self._health = health
        self._may_wait = may_wait

    def __enter__(self) -> SinkGroup:
        """Open all sinks.

        Raises:
            DermedgeError: One cannot start, and may not wait; those opened before are closed again.
        """
        for sink in self._sinks:
            self._running.append(sink)
            try:
                sink.open()
            except DermedgeError as error:
                if not self._may_wait:
                    self._close_all()
                    raise
                # Nothing of this run is in it yet: even what would begin anew may be tried again.
                self._drop(sink, error, tries_again=True)
            except BaseException:
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
                self._drop(sink, error, tries_again=sink.goes_on)
            presented_ns = presented_ns or time.monotonic_ns()
        return go_on, presented_ns or time.monotonic_ns()

    def notices(self) -> list[Notice]:
        """What is not written any more, and why."""
        return [away.notice for _, away in list(self._away)]

    def away(self) -> list[str]:
        """Names of those that are not written."""
        return [sink.name for sink, _ in list(self._away)]

    def left_out(self) -> dict[str, int]:
        """How many shots each was too slow for, by its name."""
        every = (*self._running, *(sink for sink, _ in list(self._away)))
        return {sink.name: getattr(sink, "dropped", 0) for sink in every}

    def _take_back(self) -> None:
        """Use sinks that could be opened again, and try those for which it is time."""
        for sink, away in list(self._away):
            if away.is_back:
                self._away.remove((sink, away))
                self._running.append(sink)
                _log.info("sink %s: writes again", sink.name)
            else:
                away.try_when_due()

    def _drop(self, sink: Sink, error: Exception, *, tries_again: bool) -> None:
        self._running.remove(sink)
        self._report(sink, error)
        self._away.append((sink, Away(sink.name, sink.open, error, tries_again=tries_again)))
        try:
            sink.close()
        except Exception as second:  # the first error is the reason, and was reported
            _log.debug("closing sink %s after its failure: %s", sink.name, second)

    def _close_all(self) -> None:
        for sink, away in self._away:
            if away.is_back:
                self._running.append(sink)
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
