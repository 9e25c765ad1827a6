"""The thread that feeds the service manager's watchdog while all others are inside their time."""

from __future__ import annotations

import faulthandler
import logging
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType

from edge.liveness import Deadline, Probe, first_overdue
from edge.service.manager import Manager

BEATS_PER_WATCHDOG = 4
BEAT_S = 2.0
"""Time between two looks where there is no watchdog to be fed."""

STATUS_EVERY_BEATS = 2

NEXT_WITHIN_S = 60.0
"""What the main thread does between two named steps takes no longer."""

_log = logging.getLogger("dermedge.service")


def _nothing() -> None:
    """Nothing is done."""


class Heart:
    """Looks at every thread's deadline and feeds the watchdog; use it in a ``with`` statement.

    A thread past its deadline stops the feeding: the stacks of all threads go to standard error,
    and what hangs is noted. The manager then ends the process, unless the thread comes back.

    Args:
        manager: Whom to tell.
        note: Keeps the words of a failure for the next start.
        forget: Takes them back: what hung goes on.
    """

    def __init__(
        self,
        manager: Manager,
        note: Callable[[str], None],
        forget: Callable[[], None] = _nothing,
    ) -> None:
        self._manager = manager
        self._note = note
        self._forget = forget
        self._look_error = ""
        self._probes: Sequence[Probe] = ()
        self._status: Callable[[], str] | None = None
        self._each_beat: Callable[[], None] = _nothing
        self._over = threading.Event()
        self._hangs: str | None = None
        self._step = Deadline("service")
        self._thread = threading.Thread(target=self._beat, name="heart", daemon=True)
        watchdog_s = manager.watchdog_s
        self._every_s = BEAT_S if watchdog_s is None else watchdog_s / BEATS_PER_WATCHDOG

    def __enter__(self) -> Heart:
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join(2.0 * self._every_s)

    def watch(
        self,
        probes: Sequence[Probe],
        status: Callable[[], str] | None = None,
        each_beat: Callable[[], None] = _nothing,
    ) -> None:
        """Look at these from now on, and at no others.

        Args:
            probes: Of the threads that run.
            status: Gives the line that the manager shows.
            each_beat: Called now and then; must return at once.
        """
        self._probes, self._status, self._each_beat = tuple(probes), status, each_beat

    def expect(self, what: str, within_s: float) -> None:
        """The main thread does something that takes no longer; until :meth:`rest` or the next."""
        self._manager.extend(within_s)
        self._step.begin(what, within_s)

    def rest(self) -> None:
        """The main thread is looked at by the probes of a run, or waits for a person."""
        self._step.rest()

    @contextmanager
    def step(self, what: str, within_s: float) -> Iterator[None]:
        """A step of the start that is told, inside its own stated time."""
        self._manager.status(what)
        self.expect(what, within_s)
        try:
            yield
        finally:
            self.expect(f"after {what}", NEXT_WITHIN_S)

    def _beat(self) -> None:
        beats = 0
        while not self._over.wait(self._every_s):
            words = first_overdue((self._step, *self._probes))
            if words is None:
                self._manager.feed()
                if self._hangs is not None:
                    _log.warning("it goes on; what hung: %s", self._hangs)
                    self._hangs = None
                    self._forget()
            elif self._hangs is None:
                self._hangs = words
                self._say_hang(words)
            beats += 1
            try:
                self._look(beats, hangs=words is not None)
            except Exception as error:  # of a disk, say: the watchdog is fed all the same
                if str(error) != self._look_error:
                    self._look_error = str(error)
                    _log.exception("a look at what the run depends on failed")

    def _look(self, beats: int, *, hangs: bool) -> None:
        self._each_beat()
        if self._status is not None and not hangs and beats % STATUS_EVERY_BEATS == 0:
            self._manager.status(self._status())

    def _say_hang(self, words: str) -> None:
        _log.error("HANGS: %s; the stacks of all threads follow", words)
        self._manager.status(f"HANGS: {words}")
        self._note(f"it hung: {words}")
        sys.stderr.flush()
        faulthandler.dump_traceback(all_threads=True)
