"""How far a build is: TensorRT's nested phases as one share, and a bar, or a line now and then."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as RichProgress

from convert.compiler_link import Event
from edge.commands.printing import complain

PLAIN_LINE_EVERY_S = 10.0

_FORETELLS_FROM = 0.02
"""A share from which the rest can be told from the time so far."""


@dataclass
class _Phase:
    steps: int
    done: int = 0
    inner: dict[str, _Phase] = field(default_factory=dict)

    def share(self) -> float:
        done = self.done + sum(min(phase.share(), 1.0) for phase in self.inner.values())
        return min(done / self.steps, 1.0) if self.steps > 0 else 0.0


class Phases:
    """Phases that lie in each other: a step of one is as long as the phase inside it."""

    def __init__(self) -> None:
        self._whole = _Phase(1)
        self._known: dict[str, _Phase] = {}
        self._share = 0.0
        self.innermost = ""

    def add(self, event: Event) -> None:
        """Take an event of the compiler in; those that tell no progress change nothing."""
        kind, name = event["event"], event.get("name", "")
        if kind == "phase":
            phase = self._known[name] = _Phase(event["steps"])
            self._outside(event["parent"]).inner[name] = phase
            self.innermost = name
        elif kind == "step" and name in self._known:
            phase = self._known[name]
            phase.done = max(phase.done, event["step"] + 1)
        elif kind == "finish":
            self._known.pop(name, None)
            for phase in (self._whole, *self._known.values()):
                phase.inner.pop(name, None)

    def share(self) -> float:
        """0 to 1; it never goes back, though TensorRT begins phases that nobody foretold."""
        self._share = max(self._share, self._whole.share())
        return self._share

    def _outside(self, parent: str | None) -> _Phase:
        return self._known.get(parent or "", self._whole)


class BuildProgress:
    """Shows a build on stderr; use it in a ``with`` statement.

    Args:
        title: What is built.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        self._phases = Phases()
        self._started_s = self._said_s = time.monotonic()
        self._bar: RichProgress | None = None
        if sys.stderr is not None and sys.stderr.isatty():
            self._bar = RichProgress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f} %"),
                TextColumn("{task.fields[left]}", markup=False),
                console=Console(stderr=True),
                transient=True,
                redirect_stdout=sys.stdout is not None and sys.stdout.isatty(),
            )
            self._task = self._bar.add_task(title, total=1.0, left="")

    def __enter__(self) -> BuildProgress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            with suppress(OSError):  # the terminal is gone
                self._bar.stop()

    def begin(self) -> None:
        """A new attempt begins from nothing."""
        self._phases = Phases()
        self._started_s = time.monotonic()

    def add(self, event: Event) -> None:
        """Take an event of the compiler in."""
        self._phases.add(event)

    def tick(self) -> None:
        """Bring what is shown up to date; called several times a second."""
        share = self._phases.share()
        elapsed_s = time.monotonic() - self._started_s
        left = time_left(share, elapsed_s)
        if self._bar is not None:
            self._bar.update(self._task, completed=share, left=left)
        elif time.monotonic() - self._said_s >= PLAIN_LINE_EVERY_S:
            self._said_s = time.monotonic()
            phase = f"; {self._phases.innermost}" if self._phases.innermost else ""
            complain(f"{self._title}: {share:.0%}, {left}{phase}")


def time_left(share: float, elapsed_s: float) -> str:
    """What is left if the rest goes as fast as the share that is done."""
    if share < _FORETELLS_FROM:
        return f"{_words(elapsed_s)} so far"
    return f"about {_words(elapsed_s * (1.0 - share) / share)} left"


def _words(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
