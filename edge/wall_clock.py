"""The wall clock, and whether to believe it: devices in the field start in 1970 or last year."""

from __future__ import annotations

import ctypes
import time
from datetime import datetime, timezone
from functools import lru_cache
from pathlib import Path

_TIMESYNC = Path("/run/systemd/timesync/synchronized")
"""Made by systemd-timesyncd once it has set the clock since this boot."""

_TIME_ERROR = 5
"""adjtimex(2): the clock is not synchronized. It says so from boot until a daemon has set it."""

ASKED_EVERY_S = 10
"""The answer is kept this long: every frame asks."""

_TIMEX_BYTES = 512
"""More than any kernel's ``struct timex``; all zeros asks and changes nothing."""


def is_trusted() -> bool:
    """Whether the kernel's clock has been synchronized since this machine started.

    A device with a clock of its own that nobody has set since is not trusted: it may be right, and
    nobody knows.
    """
    return _answer(int(time.monotonic() // ASKED_EVERY_S))


@lru_cache(maxsize=1)
def _answer(_stretch: int) -> bool:
    return _TIMESYNC.exists() or _kernel_says_so()


def iso_utc(at_s: float) -> str:
    """A POSIX time as ISO 8601 in UTC, to the second."""
    return datetime.fromtimestamp(at_s, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def now_s() -> float:
    """POSIX time."""
    return time.time()


def _kernel_says_so() -> bool:
    try:
        state: int = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    except (OSError, AttributeError):  # another system than Linux
        return False
    return 0 <= state < _TIME_ERROR  # -1: a sandbox does not let us ask
