"""The disk after a cut, on a log made by hand: what the tests of power cuts stand on."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.vm.lost_writes import FLUSH, FUA, MAGIC, disk_after_cut, read_log

SECTOR = 512


def log_of(path: Path, *entries: tuple[int, bytes, int]) -> Path:
    """A log of (sector, data, flags), with a count in its head that is out of date."""
    head = struct.pack("<QQQI", MAGIC, 1, 0, SECTOR).ljust(SECTOR, b"\0")
    body = b""
    for sector, data, flags in entries:
        count = len(data) // SECTOR
        body += struct.pack("<QQQQ", sector, count, flags, 0).ljust(SECTOR, b"\0") + data
    path.write_bytes(head + body)
    return path


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    path = tmp_path / "before"
    path.write_bytes(b"." * 64 * SECTOR)
    return path


def test_what_was_flushed_is_there_and_the_rest_is_torn(tmp_path, empty):
    log = log_of(
        tmp_path / "log",
        (0, b"a" * 8 * SECTOR, 0),
        (0, b"", FLUSH),
        (8, b"b" * 32 * SECTOR, 0),
        (60, b"c" * SECTOR, FUA),
    )
    writes = read_log(log)
    assert len(writes) == 4
    lost = disk_after_cut(empty, log, writes, tmp_path / "out", seed=1)
    disk = (tmp_path / "out").read_bytes()
    assert disk[: 8 * SECTOR] == b"a" * 8 * SECTOR
    assert disk[60 * SECTOR : 61 * SECTOR] == b"c" * SECTOR
    torn = {disk[n * SECTOR : (n + 1) * SECTOR] for n in range(8, 40)}
    assert torn == {b"b" * SECTOR, b"." * SECTOR}
    assert 0 < lost < 32
    disk_after_cut(empty, log, writes, tmp_path / "again", seed=1)
    assert (tmp_path / "again").read_bytes() == disk


def test_a_cut_before_the_flush_loses_what_it_would_have_kept(tmp_path, empty):
    log = log_of(tmp_path / "log", (0, b"a" * 16 * SECTOR, 0), (0, b"", FLUSH))
    lost = disk_after_cut(empty, log, read_log(log)[:1], tmp_path / "out", seed=1)
    assert 0 < lost < 16


def test_an_entry_that_was_being_logged_does_not_count(tmp_path, empty):
    log = log_of(tmp_path / "log", (0, b"a" * SECTOR, 0), (1, b"b" * SECTOR, 0))
    log.write_bytes(log.read_bytes()[:-1])
    assert len(read_log(log)) == 1


def test_another_file_is_refused(tmp_path):
    (tmp_path / "log").write_bytes(bytes(4096))
    with pytest.raises(ValueError, match="expected a log of writes"):
        read_log(tmp_path / "log")
