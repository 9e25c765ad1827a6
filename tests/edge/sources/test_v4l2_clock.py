"""Instants that a still may be judged by."""

from __future__ import annotations

import pytest

from edge.sources import v4l2_abi as abi
from edge.sources.v4l2_clock import UNKNOWN_INTERVAL_NS, StreamClock
from edge.sources.v4l2_device import FilledBuffer

MS = 1_000_000
MONOTONIC = abi.V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC
START = MONOTONIC | abi.V4L2_BUF_FLAG_TSTAMP_SRC_SOE
BEGAN = 5_000 * MS


def buffer(sequence: int, at_ms: float, flags: int = MONOTONIC) -> FilledBuffer:
    return FilledBuffer(0, 100, flags, BEGAN + round(at_ms * MS), sequence)


def clock(interval_ms: int | None = 33, driver: str = "vivid") -> StreamClock:
    return StreamClock(None if interval_ms is None else interval_ms * MS, driver, BEGAN)


def test_the_drivers_time_is_used_and_two_frame_times_are_allowed_for():
    stamp = clock().stamp(buffer(0, 100), BEGAN + 103 * MS, None)
    assert stamp.captured_by == "driver"
    assert stamp.captured_ns == BEGAN + 100 * MS
    assert stamp.exposure_began_ns == BEGAN + (100 - 2 * 33) * MS


def test_an_exposure_longer_than_a_frame_time_counts():
    stamp = clock().stamp(buffer(0, 500), BEGAN + 503 * MS, 250_000)
    assert stamp.exposure_began_ns == BEGAN + (500 - 33 - 250) * MS


def test_a_stamp_of_the_start_of_exposure_is_that_start_except_where_every_camera_says_so():
    assert clock().stamp(buffer(0, 100, START), BEGAN + 140 * MS, None).exposure_began_ns == (
        BEGAN + 100 * MS
    )
    uvc = clock(driver="uvcvideo").stamp(buffer(0, 100, START), BEGAN + 140 * MS, None)
    assert uvc.captured_by == "driver"
    assert uvc.exposure_began_ns == BEGAN + (100 - 99) * MS


@pytest.mark.parametrize("flags", [0, abi.V4L2_BUF_FLAG_TIMESTAMP_MASK & 0x4000])
def test_other_clocks_are_not_used_and_only_what_we_saw_counts(flags: int):
    seen = clock()
    seen.emptied(BEGAN + 80 * MS)
    stamp = seen.stamp(buffer(0, 95, flags), BEGAN + 100 * MS, None)
    assert (stamp.captured_by, stamp.captured_ns) == ("arrival", BEGAN + 100 * MS)
    # It was not there 20 ms earlier; before that, compression, readout and exposure.
    assert stamp.exposure_began_ns == BEGAN + (80 - 99) * MS
    assert seen.believed


@pytest.mark.parametrize("at_ms", [1.7e12, -4_900, 200])
def test_a_wall_clock_or_a_zero_flagged_as_monotonic_is_not_believed(at_ms: float):
    seen = clock()
    seen.emptied(BEGAN + 30_000 * MS if at_ms < 0 else BEGAN)
    arrived_ns = BEGAN + (30_010 if at_ms < 0 else 100) * MS
    stamp = seen.stamp(buffer(0, at_ms), arrived_ns, None)
    assert (stamp.captured_by, stamp.captured_ns) == ("arrival", arrived_ns)
    assert not seen.believed


def test_a_stamp_a_little_ahead_is_the_moment_of_arrival_at_most():
    stamp = clock().stamp(buffer(0, 105), BEGAN + 100 * MS, None)
    assert (stamp.captured_by, stamp.captured_ns) == ("driver", BEGAN + 100 * MS)


def test_a_camera_that_slows_down_in_the_dark_is_noticed():
    seen = clock()
    for sequence, at_ms in enumerate((0, 33, 66, 166)):
        seen.saw(buffer(sequence, at_ms))
    assert seen.interval_ns == 100 * MS
    seen.saw(buffer(13, 166 + 330))  # ten frames further
    assert seen.interval_ns == 33 * MS


def test_without_any_rate_the_time_per_frame_is_taken_long():
    seen = clock(None)
    assert seen.interval_ns == UNKNOWN_INTERVAL_NS
    seen.saw(buffer(0, 0))
    seen.saw(buffer(1, 40))
    assert seen.interval_ns == 40 * MS
