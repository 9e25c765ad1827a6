"""Progress of long work: a bar on a terminal, now and then a plain line elsewhere."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from edge.commands.printing import complain

PLAIN_LINE_EVERY_S = 10.0


class Progress:
    """Shows how far the work is, on stderr; use it in a ``with`` statement.

    Args:
        total: Number of steps.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._said_s = time.monotonic()
        self._bar: RichProgress | None = None
        if total > 1 and sys.stderr is not None and sys.stderr.isatty():
            self._bar = RichProgress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
                # Printed lines go above the bar, but a redirected stdout keeps its lines.
                redirect_stdout=sys.stdout is not None and sys.stdout.isatty(),
            )
            self._task = self._bar.add_task("", total=total)

    def __enter__(self) -> Progress:
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

    def doing(self, what: str) -> None:
        """Say what is being done now."""
        if self._bar is not None:
            self._bar.update(self._task, description=what)
        elif time.monotonic() - self._said_s >= PLAIN_LINE_EVERY_S:
            self._said_s = time.monotonic()
            complain(f"{self._done} of {self._total} done; {what}")

    def advance(self) -> None:
        """One step is done."""
        self._done += 1
        if self._bar is not None:
            self._bar.advance(self._task)
