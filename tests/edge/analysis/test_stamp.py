"""Times and identities of the frame that a result belongs to."""

from __future__ import annotations

import re
import time
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from edge.analysis import stamp
from edge.analysis.stamp import boot_id, stamp_of


def test_a_still_has_no_time(still):
    stamped = stamp_of(still(np.zeros((64, 80, 3), np.uint8), notes=("16 bit scaled to 8",)))
    assert stamped.size_wh == (80, 64) and stamped.source == "file:skin.png" and stamped.id == 0
    assert stamped.captured_ns is None and stamped.captured_clock is None
    assert stamped.wall is None and stamped.wall_trusted is False
    assert stamped.boot_id is None


def test_a_recording_keeps_its_offset_and_has_no_wall_time(still):
    frame = still(
        np.zeros((64, 64, 3), np.uint8), captured_ns=40_000_000, captured_clock="recording"
    )
    stamped = stamp_of(frame)
    assert (stamped.captured_ns, stamped.captured_clock) == (40_000_000, "recording")
    assert stamped.wall is None and stamped.boot_id is None


def test_the_wall_time_of_a_live_frame_is_that_of_its_capture(still):
    frame = still(
        np.zeros((64, 64, 3), np.uint8),
        captured_ns=time.monotonic_ns() - 3_600_000_000_000,
        captured_clock="monotonic",
        captured_by="driver",
        settings={"gain": 2.0},
    )
    stamped = stamp_of(frame)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", stamped.wall or "")
    taken = datetime.strptime(stamped.wall or "", "%Y-%m-%dT%H:%M:%SZ")
    age_s = time.time() - taken.replace(tzinfo=timezone.utc).timestamp()
    assert 3600 <= age_s < 3700
    assert stamped.wall_trusted is False and stamped.settings == {"gain": 2.0}
    assert stamped.boot_id == boot_id()


def test_the_boot_is_named_where_the_system_does(tmp_path, monkeypatch):
    boot_id.cache_clear()
    monkeypatch.setattr(stamp, "_BOOT_ID", tmp_path / "boot_id")
    assert boot_id() is None
    boot_id.cache_clear()
    Path(tmp_path / "boot_id").write_text("0d1f\n", encoding="ascii")
    assert boot_id() == "0d1f"
    boot_id.cache_clear()
