"""Which frame a result belongs to."""

from __future__ import annotations

import time
from functools import lru_cache
from pathlib import Path

from edge.frame import Frame
from edge.result import FrameStamp
from edge.wall_clock import is_trusted, iso_utc, now_s

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def stamp_of(frame: Frame) -> FrameStamp:
    """The frame without its pixels, for its Result.

    ``wall`` is the UTC time of capture, to the second, where the frame is of now: the present time
    less the age that the monotonic clock gives. It is a label: whether the clock
    was set since the machine started is ``wall_trusted``. When a picture or a recording was taken
    is not known: ``None``. ``boot_id`` names the run of the machine whose monotonic clock was read,
    and is ``None`` where none was.
    """
    wall = _wall(frame)
    return FrameStamp(
        source=frame.source,
        id=frame.frame_id,
        size_wh=frame.size_wh,
        captured_ns=frame.captured_ns,
        captured_clock=frame.captured_clock,
        captured_by=frame.captured_by,
        boot_id=boot_id() if frame.captured_clock == "monotonic" else None,
        wall=wall,
        wall_trusted=wall is not None and is_trusted(),
        settings=frame.settings,
    )


@lru_cache(maxsize=1)
def boot_id() -> str | None:
    """The kernel's identity of this boot, or ``None`` where the system has none."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip() or None
    except OSError:
        return None


def _wall(frame: Frame) -> str | None:
    if frame.captured_clock != "monotonic" or frame.captured_ns is None:
        return None
    age_s = (time.monotonic_ns() - frame.captured_ns) / 1e9
    return iso_utc(now_s() - age_s)
