"""Times as people read them: few digits, and not a new number thirty times a second."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

HOLD_S = 0.25
"""A number that changes more often than four times a second cannot be read."""


def duration(ms: float) -> str:
    """``9.1 ms``, ``45 ms``, ``1.2 s``, ``75 s``: two or three digits."""
    if ms < 9.95:
        return f"{ms:.1f} ms"
    if ms < 999.5:
        return f"{ms:.0f} ms"
    if ms < 9950.0:
        return f"{ms / 1000:.1f} s"
    return f"{ms / 1000:.0f} s"


def milliseconds(ms: float) -> str:
    """``9.1``, ``45``: as :func:`duration`, in a table that names the unit once."""
    return f"{ms:.1f}" if ms < 9.95 else f"{ms:.0f}"


class WorstSoFar:
    """Holds numbers for :data:`HOLD_S` and then shows the largest that came in the meantime.

    A larger number is shown at once: latency and age are never shown smaller than they are.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._shown: dict[str, float] = {}
        self._worst: dict[str, float] = {}
        self._shown_at: float | None = None

    def update(self, values: Mapping[str, float]) -> dict[str, float]:
        """Take this picture's numbers and return those to show."""
        now = self._clock()
        self._worst = {
            name: max(value, self._worst.get(name, value)) for name, value in values.items()
        }
        due = self._shown_at is None or now - self._shown_at >= HOLD_S
        if due or self._shown.keys() != values.keys():
            self._shown, self._worst, self._shown_at = self._worst, {}, now
        else:
            self._shown = {name: max(self._shown[name], value) for name, value in values.items()}
        return dict(self._shown)
