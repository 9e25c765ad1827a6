"""The one request to stop that every wait of the program can see."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

SLICE_S = 0.1
"""Longest time that a wait sleeps before it looks at the request again."""

EXIT_CTRL_C = 130


@dataclass(frozen=True)
class StopReason:
    """Why the program stops, in words, and the exit code that goes with it."""

    words: str
    exit_code: int


class Stop:
    """A request to stop, made once and seen everywhere; the first reason wins.

    It holds no lock on purpose: a signal handler may interrupt any line of the main thread, so
    with a ``threading.Event`` it could wait for a lock which that very thread holds. Waits
    therefore sleep in slices of :data:`SLICE_S` and look again.

    Args:
        parent: A request of its own, of which this one is a part: what asks it asks here too.
    """

    def __init__(self, parent: Stop | None = None) -> None:
        self._parent = parent
        self._reasons: list[StopReason] = []  # append is atomic
        self._deadline_s = math.inf

    def request(self, words: str, exit_code: int = 0) -> None:
        """Ask everybody to stop. Safe in signal handlers and from any thread."""
        self._reasons.append(StopReason(words, exit_code))

    def request_after(self, seconds: float) -> None:
        """Ask everybody to stop once ``seconds`` from now have passed."""
        self._deadline_s = time.monotonic() + seconds

    @property
    def is_set(self) -> bool:
        """True once somebody asked, or the time is over."""
        asked = bool(self._reasons) or (self._parent is not None and self._parent.is_set)
        return asked or time.monotonic() >= self._deadline_s

    @property
    def reason(self) -> StopReason | None:
        """The first request, or ``None`` where nobody asked and the time is merely over or not."""
        if self._reasons:
            return self._reasons[0]
        return self._parent.reason if self._parent is not None else None

    def wait(self, timeout_s: float) -> bool:
        """Sleep until asked to stop, at most ``timeout_s``; True where asked."""
        until_s = time.monotonic() + timeout_s
        while not self.is_set:
            left_s = until_s - time.monotonic()
            if left_s <= 0.0:
                return False
            time.sleep(min(SLICE_S, left_s))
        return True


@contextmanager
def stop_on_signals(stop: Stop) -> Iterator[None]:
    """Turn SIGTERM, SIGHUP (exit 0) and Ctrl-C (exit 130) into a request; restore handlers after.

    SIGHUP comes when the terminal is closed; where somebody has it ignored (nohup) it stays so.

    The second signal of a kind ends the program at once: whoever repeats it means it. Only the
    main thread may enter.
    """
    requests = {
        signal.SIGTERM: StopReason("SIGTERM", 0),
        signal.SIGHUP: StopReason("SIGHUP: its terminal was closed", 0),
        signal.SIGINT: StopReason("Ctrl-C", EXIT_CTRL_C),
    }

    def handle(number: int, _: FrameType | None) -> None:
        reason = requests[signal.Signals(number)]
        stop.request(reason.words, reason.exit_code)
        signal.signal(number, signal.SIG_DFL)

    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        del requests[signal.SIGHUP]
    before = {number: signal.signal(number, handle) for number in requests}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
