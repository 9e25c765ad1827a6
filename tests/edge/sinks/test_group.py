"""Sinks that fail, are told, and come back."""

from __future__ import annotations

import time

import pytest
from shots_for_tests import shot

from edge import away as away_module
from edge.errors import InputError
from edge.health import Health
from edge.sinks.background import BackgroundSink
from edge.sinks.group import SinkGroup
from edge.stop import Stop


class Disk:
    """A sink whose disk is full while ``full``."""

    name, wants_drawn = "record here", False

    def __init__(self, *, goes_on: bool = True) -> None:
        self.goes_on = goes_on
        self.full = False
        self.ids: list[int] = []

    def open(self) -> None:
        self._refuse()

    def write(self, one) -> bool:
        self._refuse()
        self.ids.append(one.frame.frame_id)
        return True

    def close(self) -> None: ...

    def _refuse(self) -> None:
        if self.full:
            raise InputError("room", got="no space left", next_step="make some")


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(away_module, "RETRY_S", 0.02)


def write_until(sinks: SinkGroup, done, number: int = 1) -> int:
    end_s = time.monotonic() + 10
    while not done() and time.monotonic() < end_s:
        sinks.write(shot(number, (64, 48)))
        number += 1
        time.sleep(0.01)
    assert done()
    return number


@pytest.mark.parametrize("background", [False, True])
def test_what_is_not_written_is_told_until_it_is_written_again(quick, background):
    disk, health = Disk(), Health()
    sink = BackgroundSink(disk, Stop(), lossless=False) if background else disk
    with SinkGroup([sink], health) as sinks:
        number = write_until(sinks, lambda: disk.ids)
        assert sinks.notices() == []
        disk.full = True
        number = write_until(sinks, sinks.notices, number)
        (notice,) = sinks.notices()
        assert notice.text == "NOT WRITTEN: record here: no space left"
        assert notice.level == "alarm"
        before = len(disk.ids)
        disk.full = False
        write_until(sinks, lambda: len(disk.ids) > before, number)
        assert sinks.notices() == []
    assert health.worst_exit_code == 3  # the record has a hole


def test_what_would_begin_anew_is_not_opened_again(quick):
    disk = Disk(goes_on=False)
    with SinkGroup([disk], Health()) as sinks:
        disk.full = True
        sinks.write(shot(1, (64, 48)))
        disk.full = False
        for number in range(2, 12):
            sinks.write(shot(number, (64, 48)))
            time.sleep(0.01)
        assert disk.ids == [] and len(sinks.notices()) == 1


@pytest.mark.parametrize("goes_on", [True, False])
def test_one_that_cannot_be_opened_at_the_start_may_wait(quick, goes_on):
    disk, other = Disk(goes_on=goes_on), Disk()
    disk.full = True
    with SinkGroup([disk, other], Health(), may_wait=True) as sinks:
        number = write_until(sinks, lambda: other.ids)
        assert [n.text for n in sinks.notices()] == ["NOT WRITTEN: record here: no space left"]
        disk.full = False
        write_until(sinks, lambda: disk.ids, number)
        assert sinks.notices() == []


def test_one_that_cannot_be_opened_fails_the_start_where_nobody_waits():
    disk = Disk()
    disk.full = True
    with pytest.raises(InputError), SinkGroup([Disk(), disk], Health()):
        pass
