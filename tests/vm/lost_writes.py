"""What a disk with a cache of its own can hold after its power is cut.

QEMU's ``blklogwrites`` driver keeps every write and flush of a disk, in the format of Linux's
dm-log-writes target. A disk that obeys its flushes has at the cut everything up to the last flush;
of what came after, any part in any order, torn between sectors. :func:`disk_after_cut` makes such
a disk.
"""

from __future__ import annotations

import random
import shutil
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MAGIC, VERSION = 0x6A736677736872, 1
FLUSH, FUA, DISCARD = 1, 2, 4
_HEAD = struct.Struct("<QQQI")
_ENTRY = struct.Struct("<QQQQ")
TORN_AT = 512


@dataclass(frozen=True)
class Write:
    """One entry of the log; all in bytes.

    Attributes:
        flags: ``FLUSH``, ``FUA`` and ``DISCARD``.
        start: Where on the disk.
        size: How much.
        data_at: Where in the log its data begin.
        end_at: Where in the log the entry ends.
    """

    flags: int
    start: int
    size: int
    data_at: int
    end_at: int


def read_log(path: Path) -> list[Write]:
    """All entries that were written whole; the count in the log's head is renewed too rarely."""
    writes: list[Write] = []
    end = path.stat().st_size
    with path.open("rb") as log:
        magic, version, _, sector = _HEAD.unpack(log.read(_HEAD.size))
        if (magic, version) != (MAGIC, VERSION):
            raise ValueError(f"expected a log of writes; got {path}")
        at = sector
        while at + sector <= end:
            log.seek(at)
            start, count, flags, _ = _ENTRY.unpack(log.read(_ENTRY.size))
            if not count and not flags:
                break
            data_at = at + sector
            at = data_at + (0 if flags & DISCARD else count * sector)
            if at > end:
                break
            writes.append(Write(flags, start * sector, count * sector, data_at, at))
    return writes


def disk_after_cut(
    before: Path, log: Path, writes: Sequence[Write], out: Path, *, seed: int, keep: float = 0.5
) -> int:
    """Write to ``out`` a disk whose power was cut after ``writes``.

    Args:
        before: The disk as the log began.
        log: The log.
        writes: The first entries of the log, up to the cut.
        out: A new raw disk.
        seed: The same seed gives the same disk.
        keep: Probability that a sector which was written after the last flush is on the disk.

    Returns:
        Number of sectors that were lost.
    """
    flushed = max((n for n, write in enumerate(writes) if write.flags & FLUSH), default=-1)
    chance, lost = random.Random(seed), 0
    shutil.copy(before, out)
    with log.open("rb") as data, out.open("r+b") as disk:
        for number, write in enumerate(writes):
            if write.flags & DISCARD or not write.size:
                continue
            sure = number <= flushed or bool(write.flags & FUA)
            step = write.size if sure else TORN_AT
            for part in range(0, write.size, step):
                if not sure and chance.random() >= keep:
                    lost += 1
                    continue
                data.seek(write.data_at + part)
                disk.seek(write.start + part)
                disk.write(data.read(min(step, write.size - part)))
    return lost
