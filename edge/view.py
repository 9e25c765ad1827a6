"""Which frame is shown with which result."""

from __future__ import annotations

import logging
import math
from typing import Literal

from edge.frame import Frame

ViewMode = Literal["auto", "paired", "live"]

LIVE_BELOW_PER_S = 10.0
"""Below this many analyses per second a paired picture jerks, and ``auto`` chooses ``live``."""

WARM_UP_OUTCOMES, WARM_UP_S = 5, 3.0
"""``auto`` watches at least this many analyses and this long; the first one warms up and is not
counted."""

_log = logging.getLogger("dermedge.view")


class ViewChoice:
    """``paired`` or ``live``; ``auto`` chooses once and stays with it until the program ends.

    Args:
        mode: What the user wants.
        is_live: Whether the source is a camera; of a recording every frame is shown with its own
            result.
    """

    def __init__(self, mode: ViewMode, *, is_live: bool) -> None:
        self._decided = mode if mode != "auto" and is_live else "paired"
        self._open = mode == "auto" and is_live
        self._count = 0
        self._first_s = math.nan

    @property
    def is_live(self) -> bool:
        """True where the newest frame is shown with the newest result."""
        return self._decided == "live"

    def outcome(self, now_s: float) -> None:
        """Note one analysis, ended at ``now_s`` (monotonic seconds)."""
        if not self._open:
            return
        self._count += 1
        if self._count == 2:
            self._first_s = now_s
        if self._count < WARM_UP_OUTCOMES or now_s - self._first_s < WARM_UP_S:
            return
        per_s = (self._count - 2) / (now_s - self._first_s)
        self._open, self._decided = False, "live" if per_s < LIVE_BELOW_PER_S else "paired"
        _log.info("view: %s on the screens, at %.1f analyses per second", self._decided, per_s)


def frame_age_ms(frame: Frame, now_ns: int) -> float | None:
    """Milliseconds from the capture to ``now_ns`` (monotonic); ``None`` without such a capture."""
    if frame.captured_ns is None or frame.captured_clock != "monotonic":
        return None
    return (now_ns - frame.captured_ns) / 1e6
