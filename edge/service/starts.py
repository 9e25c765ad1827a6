"""Counts starts, and makes a program that ends again and again wait longer and longer."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path

from models.whole_file import write_whole

FREE_STARTS = 3
"""So many starts within :data:`WINDOW_S` cost no wait: a person tries things."""

WINDOW_S = 600.0
LONGEST_WAIT_S = 60.0

_FILE = "starts.json"
_log = logging.getLogger("dermedge.service")


def count_start(folder: Path) -> tuple[int, float]:
    """Note a start.

    Args:
        folder: Lives as long as the machine runs (``RUNTIME_DIRECTORY``): the instants are of the
            monotonic clock.

    Returns:
        Starts within the last :data:`WINDOW_S`, this one included, and the seconds to wait now.
    """
    now_s = time.monotonic()
    path = folder / _FILE
    try:
        known = json.loads(path.read_bytes())["monotonic_s"]
        recent = [float(at) for at in known if 0.0 <= now_s - float(at) < WINDOW_S]
    except (OSError, ValueError, KeyError, TypeError):
        recent = []
    recent.append(now_s)
    try:
        write_whole(path, json.dumps({"monotonic_s": recent}).encode())
    except OSError as error:
        _log.warning("starts are not counted: %s", error)
    return len(recent), wait_s(len(recent))


def uncount_start(folder: Path) -> None:
    """Take back the newest start: it has ended because somebody asked it to."""
    path = folder / _FILE
    try:
        known = json.loads(path.read_bytes())["monotonic_s"]
        write_whole(path, json.dumps({"monotonic_s": known[:-1]}).encode())
    except (OSError, ValueError, KeyError, TypeError) as error:
        _log.warning("starts are not counted: %s", error)


def wait_s(starts: int) -> float:
    """Seconds to wait before this start: none, then 2, 4, 8 and so on, at most a minute."""
    over = starts - FREE_STARTS
    return 0.0 if over <= 0 else min(LONGEST_WAIT_S, 2.0**over)
