"""Whether the wall clock may be believed, asked of this very kernel."""

from __future__ import annotations

import ctypes

import pytest

from edge import wall_clock


@pytest.fixture(autouse=True)
def fresh():
    wall_clock._answer.cache_clear()
    yield
    wall_clock._answer.cache_clear()


def test_it_agrees_with_the_kernels_own_flag(monkeypatch, tmp_path):
    """STA_UNSYNC, read from another field of the same answer."""
    monkeypatch.setattr(wall_clock, "_TIMESYNC", tmp_path / "none")
    timex = ctypes.create_string_buffer(512)
    state = ctypes.CDLL(None).adjtimex(timex)
    status = int.from_bytes(timex.raw[40:44], "little")  # after modes and four longs
    unsynchronized = bool(status & 0x40)
    assert wall_clock.is_trusted() == (state >= 0 and not unsynchronized)


def test_timesyncd_may_say_so(monkeypatch, tmp_path):
    monkeypatch.setattr(wall_clock, "_kernel_says_so", lambda: False)
    monkeypatch.setattr(wall_clock, "_TIMESYNC", tmp_path / "synchronized")
    assert not wall_clock.is_trusted()
    wall_clock._answer.cache_clear()
    (tmp_path / "synchronized").touch()
    assert wall_clock.is_trusted()


def test_1970_is_written_as_such():
    assert wall_clock.iso_utc(0.0) == "1970-01-01T00:00:00Z"
