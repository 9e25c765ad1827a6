"""The thread that reads the source, and how it is ended even when a read never returns."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from edge.controls import Command
from edge.errors import InputError
from edge.frame import Frame
from edge.health import Health, exit_code_of
from edge.liveness import Deadline
from edge.mailbox import Mailbox
from edge.recovery import Recovery, RecoveryPlan
from edge.sources.base import Source, TakesStills
from edge.sources.lost import SourceLost
from edge.stop import Stop

NEXT_S = 0.02
"""Pause before a live source is read again after one frame could not be had."""

BAD_FOR_S = 10.0
"""A live source that has given nothing but damaged frames for so long is opened again."""

SAME_FAILURES = 3
"""A recording that fails this often in a row with the same words is given up: it is stuck."""

READ_GRACE_S = 0.5
"""How long a running read may take at shutdown before ``close`` is called from outside."""

CLOSE_GRACE_S = 6.0
"""How long that close and the read may then take before the thread is left behind: longer than a
camera's process may take to end, and to be killed."""

OPEN_WITHIN_S, READ_WITHIN_S, STILL_WITHIN_S, CLOSE_WITHIN_S = 45.0, 20.0, 30.0, 15.0
"""Sources give up by themselves before this; one that does not hangs, and a service is ended."""

STILL_PATIENCE_S = 5.0
"""A still that has not been exposed within this time after the press is given up."""

_log = logging.getLogger("dermedge.source")


@dataclass(frozen=True)
class Captured:
    """A frame on its way to the analysis; with ``press`` it is the still that was asked for."""

    frame: Frame
    press: Command | None = None

    @property
    def frame_id(self) -> int:
        """The frame's own number."""
        return self.frame.frame_id


def as_it_is(frame: Frame) -> Frame:
    """What receives frames where nobody else does."""
    return frame


def _nobody() -> None:
    """Nobody wants to know."""


class Intake:
    """Reads a source on its own thread into a mailbox; use it in a ``with`` statement.

    The thread opens, reads and closes the source. It is a daemon and no join waits for ever, so a
    source that hangs inside a driver delays the end of the program by a few seconds at most and is
    reported.

    Args:
        source: Not yet open.
        stop: Ends the reading.
        health: Told about failed reads.
        give_up_after_s: A live source without a frame for this long has failed; 0: never, it is
            opened again until it works.
        receive: Sees every frame first, on the source's thread, and gives the one to go on with.
        receive_still: Sees every still that the source takes apart from its stream.
        lost: Told, on that thread, when the source is about to be opened again.
        wake: Set with each frame, for whoever shows the newest.
        may_wait: A source that cannot be opened at the start is opened until that works, as one
            that was lost is.
        plan: What is done for a source that is away, besides.
    """

    def __init__(
        self,
        source: Source,
        stop: Stop,
        health: Health,
        give_up_after_s: float = 0.0,
        *,
        receive: Callable[[Frame], Frame] = as_it_is,
        receive_still: Callable[[Frame], Frame] = as_it_is,
        lost: Callable[[], None] = _nobody,
        wake: threading.Event | None = None,
        may_wait: bool = False,
        plan: RecoveryPlan | None = None,
    ) -> None:
        self._may_wait = may_wait
        self.recovery = Recovery(plan or RecoveryPlan())
        self.mailbox: Mailbox[Captured] = Mailbox(stop, keep_all=not source.is_live)
        self.open_error: Exception | None = None
        self.newest: Frame | None = None
        """The frame that came last, taken or not."""
        self._still_since_ns: int | None = None
        self._source = source
        self._what = f"source {source.name}"
        self._stop = stop
        self._health = health
        self._give_up_after_s = give_up_after_s
        self._receive = receive
        self._receive_still = receive_still
        self._lost = lost
        self._wake = wake or threading.Event()
        self._failing: Exception | None = None
        self._press: Command | None = None
        self._no_still: Callable[[str], None] = _ignore
        self.deadline = Deadline(f"source {source.name}")
        """What the source is doing, and until when it should be done."""
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

    @property
    def is_live(self) -> bool:
        """True where frames are lost if nobody takes them."""
        return self._source.is_live

    @property
    def is_taking_still(self) -> bool:
        """Whether the source is away from its stream for a still: it may be silent for a while."""
        since_ns = self._still_since_ns
        return since_ns is not None and time.monotonic_ns() - since_ns < STILL_PATIENCE_S * 1e9

    def ask_still(self, press: Command, no_still: Callable[[str], None]) -> None:
        """Have the first frame exposed after a press taken for a still, of the best the source has.

        Args:
            press: The wish for it; comes back with the frame.
            no_still: Called from the source's thread with the reason where none can be had.
        """
        self._no_still, self._press = no_still, press

    def next_frame(self) -> Captured | None:
        """The newest frame of a live source, or the next of a recording; ``None`` at the end.

        Raises:
            Exception: What the source raised when it was opened.
        """
        try:
            captured = self.mailbox.take((self._give_up_after_s or None) if self.is_live else None)
        except TimeoutError:
            self._note_silence()
            self._stop.request("the source's silence")
            return None
        if self.open_error is not None:
            raise self.open_error
        return captured

    def _pump(self) -> None:
        try:
            try:
                self._open()
            except InputError as error:
                if not (self._may_wait and self._source.is_live):
                    self.open_error = error
                    return
                self._note(error, first=True)
                self._reopen(error)
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
            self._wake.set()

    def _read_all(self) -> None:
        same, last_words, has_come = 0, "", False
        good_s = time.monotonic()
        while not self._stop.is_set:
            try:
                captured = self._read_one()
            except InputError as error:
                same = same + 1 if str(error) == last_words else 1
                last_words = str(error)
                self._note(error, first=same == 1)
                is_bad = self._source.is_live and time.monotonic() - good_s > BAD_FOR_S
                if isinstance(error, SourceLost) or is_bad:
                    self._reopen(error)
                    good_s = time.monotonic()
                elif self._source.is_live:
                    self._stop.wait(NEXT_S)
                elif same >= SAME_FAILURES:
                    return
                continue
            if captured is None:
                if self._source.is_live and not self._stop.is_set:
                    self._note_silence()
                return
            same, last_words, good_s = 0, "", time.monotonic()
            if self._source.is_live:
                self._failing = None
                if not has_come or self.recovery.is_away:
                    has_come = True
                    self.recovery.back()
            self.newest = captured.frame
            self._wake.set()
            if not self.mailbox.put(captured, keep=self.is_live and captured.press is not None):
                return

    def _open(self) -> None:
        with self.deadline.doing("opening", OPEN_WITHIN_S):
            self._source.open()

    def _reopen(self, error: InputError) -> None:
        """Let go of a source that gives nothing more, and open it until that works."""
        self._lost()
        self.recovery.lost(error.got)
        while not self._stop.is_set:
            self._close_source()
            if self._stop.wait(self.recovery.next_try()):
                return
            try:
                self._open()
            except InputError as again:
                self._note(again, first=again.got != error.got)
                error = again
                self.recovery.failed(again.got)
            else:
                return  # whether it gives pictures is seen by the first one

    def _read_one(self) -> Captured | None:
        """The next frame, as a still where one is wanted and this is it."""
        press = self._press
        if press is not None and isinstance(self._source, TakesStills):
            self._press = None
            self._still_since_ns = time.monotonic_ns()
            try:
                with self.deadline.doing("taking a still", STILL_WITHIN_S):
                    still = self._source.take_still(press.pressed_ns)
                return Captured(self._receive_still(still), press)
            except InputError as error:  # the stream goes on all the same
                _log.warning("no still from %s: %s", self._source.name, error)
                self._no_still(error.got)
        try:
            # A recording is read at its own pace.
            with self.deadline.doing("reading", READ_WITHIN_S if self.is_live else math.inf):
                frame = self._source.read()
        finally:
            self._still_since_ns = None
        if frame is None:
            return None
        frame = self._receive(frame)
        if press is None or self._press is None:
            return Captured(frame)
        return Captured(frame, press if self._is_the_still(frame, press) else None)

    def _is_the_still(self, frame: Frame, press: Command) -> bool:
        """Whether a frame of the stream was exposed after the press; gives up after a while."""
        began_ns = frame.exposure_began_ns
        if not self._source.is_live or (began_ns is not None and began_ns >= press.pressed_ns):
            self._press = None
            return True
        if began_ns is None:
            self._give_up_still("the camera does not tell when a picture was exposed")
        elif time.monotonic_ns() - press.pressed_ns > STILL_PATIENCE_S * 1e9:
            self._give_up_still(f"nothing was exposed within {STILL_PATIENCE_S:g} s")
        return False

    def _give_up_still(self, words: str) -> None:
        self._press = None
        _log.warning("no still from %s: %s", self._source.name, words)
        self._no_still(words)

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
        until_s = time.monotonic() + CLOSE_GRACE_S
        for thread in (closer, self._thread):
            thread.join(max(0.0, until_s - time.monotonic()))
        if self._thread.is_alive():
            _log.error("%s hangs in read and ignores close; its thread is left behind", self._what)

    def _close_source(self) -> None:
        try:
            with self.deadline.doing("closing", CLOSE_WITHIN_S):
                self._source.close()
        except Exception as error:  # nothing is lost by it: what was read was read
            self._health.note(self._what, error)
            _log.warning("%s failed while closing: %s", self._what, error)


def _ignore(_: str) -> None:
    """Nobody waits for a still."""
