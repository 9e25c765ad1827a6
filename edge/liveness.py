"""Whether every thread of the loop is inside the time that it has for what it does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

Probe = Callable[[], "str | None"]
"""Says in words what is past its time, or ``None``."""


class Deadline:
    """What one thread is doing, and until when it should be done. Any thread may ask."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._doing: tuple[str, int, float] | None = None

    def begin(self, what: str, within_s: float) -> None:
        """Do something that should be done within ``within_s``; takes the place of what was."""
        self._doing = (what, time.monotonic_ns(), within_s)

    def rest(self) -> None:
        """Nothing is being done: no time is too long."""
        self._doing = None

    @contextmanager
    def doing(self, what: str, within_s: float) -> Iterator[None]:
        """For the length of a ``with`` statement."""
        self.begin(what, within_s)
        try:
            yield
        finally:
            self.rest()

    def __call__(self) -> str | None:
        """A :data:`Probe`."""
        doing = self._doing
        if doing is None:
            return None
        what, since_ns, within_s = doing
        spent_s = (time.monotonic_ns() - since_ns) / 1e9
        if spent_s <= within_s:
            return None
        return f"{self._name}: {what} for {spent_s:.0f} s, more than the {within_s:g} s it may take"


def first_overdue(probes: Sequence[Probe]) -> str | None:
    """The words of the first probe that has some."""
    return next((words for probe in probes if (words := probe()) is not None), None)
