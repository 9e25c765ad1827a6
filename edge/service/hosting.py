"""What a run under a service manager does differently from one in a terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from edge.liveness import Probe
from edge.overlay.notices import Notice
from edge.service.heart import Heart
from edge.service.last_end import Failure
from edge.service.manager import Manager
from edge.status import Status
from edge.stop import Stop

TOLD_FOR_S = 60.0
"""How long a run says how the one before has ended."""


@dataclass
class Hosting:
    """Passed to one run after another; see :mod:`edge.service.service`.

    Attributes:
        manager: Told that the start is over.
        heart: Looks at the deadlines of the run's threads.
        depends_on: Differs once a file has changed that runs depend on.
        before: How the process before this one ended.
    """

    manager: Manager
    heart: Heart
    depends_on: Callable[[], object]
    before: Failure | None = None
    _told_since_s: float | None = field(default=None)

    def loading(self, what: str, within_s: float) -> AbstractContextManager[None]:
        """A step of the start that may take so long, and no longer."""
        return self.heart.step(what, within_s)

    def started(self, probes: Sequence[Probe], status: Status, stop: Stop) -> None:
        """The threads of the run are there.

        Args:
            probes: Of them.
            status: Of the run.
            stop: Asked to end it where the camera is away and what it depends on has changed:
                somebody may have named another camera.
        """
        before = self.depends_on()

        def look() -> None:
            if status.source_is_away and self.depends_on() != before:
                stop.request("a change of the configuration")

        self.heart.watch(probes, lambda: _status_words(status), look)
        self.manager.ready()
        self.manager.status("running")
        self._told_since_s = self._told_since_s or time.monotonic()

    def ended(self) -> None:
        """The threads of the run are gone."""
        self.heart.watch(())

    def notices(self) -> list[Notice]:
        """What the person should know about the run before."""
        since_s = self._told_since_s
        if self.before is None or (since_s is not None and time.monotonic() - since_s > TOLD_FOR_S):
            return []
        return [Notice(f"Started again: {self.before.words}", "prompt")]


def _status_words(status: Status) -> str:
    snapshot = status.snapshot()
    figures = snapshot.health
    if not figures:
        return "starting"
    if status.source_is_away:
        return f"camera away: {'; '.join(status.recovery_words())}"
    return (
        f"{snapshot.state}; {figures['analyses per second']} analyses/s, frame age "
        f"{figures['frame age']}, {figures['dropped']} dropped"
    )
