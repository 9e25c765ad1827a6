"""The thread that reads the source, and how it is ended even when a read never returns."""

from __future__ import annotations

import logging
import threading
from types import TracebackType

from edge.errors import InputError
from edge.frame import Frame
from edge.health import Health, exit_code_of
from edge.mailbox import Mailbox
from edge.sources.base import Source
from edge.stop import Stop

RETRY_S = 0.5
"""Pause before a live source is read again after a failure."""

SAME_FAILURES = 3
"""A recording that fails this often in a row with the same words is given up: it is stuck."""

READ_GRACE_S = 0.5
"""How long a running read may take at shutdown before ``close`` is called from outside."""

CLOSE_GRACE_S = 2.0
"""How long that close, and then the read, may take before the thread is left behind."""

_log = logging.getLogger("dermedge.source")


class Intake:
    """Reads a source on its own thread into a mailbox; use it in a ``with`` statement.

    The thread opens, reads and closes the source. It is a daemon and no join waits for ever, so a
    source that hangs inside a driver delays the end of the program by a few seconds at most and is
    reported.

    Args:
        source: Not yet open.
        stop: Ends the reading.
        health: Told about failed reads.
        give_up_after_s: A live source without a frame for this long has failed.
    """

    def __init__(
        self, source: Source, stop: Stop, health: Health, give_up_after_s: float = 10.0
    ) -> None:
        self.mailbox: Mailbox[Frame] = Mailbox(stop, keep_all=not source.is_live)
        self.open_error: Exception | None = None
        self._source = source
        self._what = f"source {source.name}"
        self._stop = stop
        self._health = health
        self._give_up_after_s = give_up_after_s
        self._failing: Exception | None = None
        self._thread = threading.Thread(target=self._pump, name="source", daemon=True)

    def __enter__(self) -> Intake:
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.mailbox.close()
        self._thread.join(READ_GRACE_S)
        if self._thread.is_alive():
            self._close_from_outside()
        if self._failing is not None:
            self._health.exit_at_least(exit_code_of(self._failing))

    def next_frame(self) -> Frame | None:
        """The newest frame of a live source, or the next of a recording; ``None`` at the end.

        Raises:
            Exception: What the source raised when it was opened.
        """
        try:
            frame = self.mailbox.take(self._give_up_after_s if self._source.is_live else None)
        except TimeoutError:
            self._note_silence()
            self._stop.request("the source's silence")
            return None
        if self.open_error is not None:
            raise self.open_error
        return frame

    def _pump(self) -> None:
        try:
            try:
                self._source.open()
            except Exception as error:  # raised again on the loop's thread by next_frame
                self.open_error = error
                return
            self._read_all()
        except Exception as error:  # reported with its exit code when the loop ends
            self._failing = error
            self._health.note(self._what, error)
            _log.error(
                "%s failed: %s", self._what, error, exc_info=_log.isEnabledFor(logging.DEBUG)
            )
        finally:
            self._close_source()
            self.mailbox.close()

    def _read_all(self) -> None:
        same, last_words = 0, ""
        while not self._stop.is_set:
            try:
                frame = self._source.read()
            except InputError as error:
                same = same + 1 if str(error) == last_words else 1
                last_words = str(error)
                self._note(error, first=same == 1)
                if self._source.is_live:
                    self._stop.wait(RETRY_S)
                elif same >= SAME_FAILURES:
                    return
                continue
            if frame is None:
                if self._source.is_live and not self._stop.is_set:
                    self._note_silence()
                return
            same, last_words = 0, ""
            if self._source.is_live:
                self._failing = None
            if not self.mailbox.put(frame):
                return

    def _note(self, error: InputError, *, first: bool) -> None:
        """Count a failed read: one that a camera gets over is forgiven, a recording's is not."""
        self._failing = error
        self._health.read_failed(self._what, error)
        if first:
            _log.warning("%s: %s", self._what, error)

    def _note_silence(self) -> None:
        if self._failing is not None:  # its own words say more
            return
        self._failing = InputError(
            f"frames from {self._source.name}",
            got=f"no frame for {self._give_up_after_s:g} s, or its end",
            next_step="check the camera and its cable, and start again",
        )
        self._health.note(self._what, self._failing)

    def _close_from_outside(self) -> None:
        # close() may hang in the same driver as read(), so it gets a thread of its own.
        closer = threading.Thread(target=self._close_source, name="source-close", daemon=True)
        closer.start()
        closer.join(CLOSE_GRACE_S)
        self._thread.join(CLOSE_GRACE_S)
        if self._thread.is_alive():
            _log.error("%s hangs in read and ignores close; its thread is left behind", self._what)

    def _close_source(self) -> None:
        try:
            self._source.close()
        except Exception as error:  # nothing is lost by it: what was read was read
            self._health.note(self._what, error)
            _log.warning("%s failed while closing: %s", self._what, error)
