"""What a run under a service manager does differently from one in a terminal."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from edge.engine_folder import chosen_engines, is_being_built
from edge.liveness import Probe
from edge.overlay.notices import Notice
from edge.service.heart import NEXT_WITHIN_S, Heart
from edge.service.last_end import Failure
from edge.service.manager import Manager
from edge.status import Status
from edge.stop import Stop

_log = logging.getLogger("dermedge.service")

BUILDING = "BUILDING engines for this board: slower until they are ready"

ON_CPU = "ON THE CPU, slower (why: dermedge doctor)"

HOW = "or by systemctl restart dermedge"

LOOK_EVERY_S = 0.2

TOLD_FOR_S = 60.0
"""How long a run says how the one before has ended."""


def _nothing() -> object:
    """Nothing that a run depends on is known."""
    return None


@dataclass
class Hosting:
    """Passed to one run after another; see :mod:`edge.service.service`.

    Attributes:
        manager: Told that the start is over.
        heart: Looks at the deadlines of the run's threads.
        depends_on: Differs once a file has changed that runs depend on.
        engines: Folder of the engines that a GPU would use; ``None``: no engine is wanted.
        before: How the process before this one ended.
        leave: Ends the process in order, and does not return.
    """

    manager: Manager
    heart: Heart
    depends_on: Callable[[], object] = _nothing
    engines: Path | None = None
    before: Failure | None = None
    leave: Callable[[], None] = lambda: None
    lacks_gpu: bool = False
    """Whether this board's GPU should compute, and does not."""
    has_run: bool = False
    """Whether the threads of the run in hand have started."""
    _is_building: bool = field(default=False)
    _told_of_change: bool = field(default=False)
    _told_since_s: float | None = field(default=None)
    _began_with: tuple[object, object] = field(default=(None, None))

    def begins(self, engines: Path | None, files: object) -> None:
        """A run is about to load what may take minutes; what changes from now on is told.

        Args:
            engines: See :class:`Hosting`.
            files: What :attr:`depends_on` gave before the first of them was read.
        """
        self.engines, self.lacks_gpu, self.has_run = engines, False, False
        self._began_with = files, self._engines()

    @contextmanager
    def loading(self, what: str, within_s: float, stop: Stop) -> Iterator[None]:
        """A step of the start that may take so long, and no longer.

        Nothing is open yet that must be finished: where somebody asks to stop meanwhile, the
        process ends at once, in order.
        """
        is_over = threading.Event()

        def look() -> None:
            while not is_over.wait(LOOK_EVERY_S):
                if stop.is_set:
                    _log.info("asked to stop while %s", what)
                    self.leave()

        watcher = threading.Thread(target=look, name="stop while loading", daemon=True)
        with self.heart.step(what, within_s):
            watcher.start()
            try:
                yield
            finally:
                is_over.set()
                watcher.join()

    def started(self, probes: Sequence[Probe], status: Status, stop: Stop) -> None:
        """The threads of the run are there.

        Args:
            probes: Of them.
            status: Of the run.
            stop: Asked to end it where an engine was built, or where the camera is away and what
                the run depends on has changed: somebody may have named another camera.
        """
        before, engines = self._began_with
        self._told_of_change = False
        self.has_run = True

        def look() -> None:
            self._is_building = self.engines is not None and is_being_built(self.engines)
            words, changed = "", self.depends_on() != before
            if changed and not self._told_of_change:
                self._told_of_change = True
                _log.info("configuration or pack have changed: taken at the next start, %s", HOW)
            if status.source_is_away and changed:
                words = "the configuration has changed: it is read again"
            elif not self._is_building and self._engines() != engines:
                words = "an engine was built: it is taken into use"
            if words and not stop.is_set:
                _log.info("%s", words)
                stop.request(words)

        self.heart.watch(probes, lambda: _status_words(status), look)
        self.heart.rest()  # the main thread has a probe among these
        self.manager.ready()
        self.manager.status("running")
        self._told_since_s = self._told_since_s or time.monotonic()

    def ended(self) -> None:
        """The threads of the run are gone, or could not begin."""
        self.heart.expect("going from one run to the next", NEXT_WITHIN_S)
        self.heart.watch(())

    def notices(self) -> list[Notice]:
        """What the person should know about engines, and about the run before."""
        said = []
        if self._is_building:
            said.append(Notice(BUILDING, "prompt"))
        elif self.lacks_gpu:
            said.append(Notice(ON_CPU, "prompt"))
        since_s = self._told_since_s
        is_told = since_s is not None and time.monotonic() - since_s > TOLD_FOR_S
        if self.before is not None and not is_told:
            said.append(Notice(f"Started again: {self.before.words}", "prompt"))
        return said

    def _engines(self) -> object:
        return None if self.engines is None else chosen_engines(self.engines)


def _status_words(status: Status) -> str:
    snapshot = status.snapshot()
    figures = snapshot.health
    if not figures:
        return "starting"
    if status.source_is_away:
        return f"camera away: {'; '.join(status.recovery_words())}"
    trouble = status.not_well_words()
    return (
        f"{f'NOT WELL: {trouble}' if trouble else snapshot.state}; "
        f"{figures['analyses per second']} analyses/s, frame age "
        f"{figures['frame age']}, {figures['dropped']} dropped"
    )
