"""The same figures as JSON lines on the disk, in files of bounded size, for a stick."""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Any

from edge import wall_clock
from edge.analysis.stamp import boot_id
from edge.telemetry.meter import Meter

SCHEMA = "dermedge.telemetry/1"
FILE_BYTES = 4 << 20
SYNC_EVERY_S = 60.0
_RETRY_S = 30.0

_AGES = "dermedge_frame_age"
_NAME = re.compile(r"telemetry-(\d{6,9})\.jsonl")
_log = logging.getLogger("dermedge.telemetry")


class Lines:
    """Writes a line now and then, until it is closed.

    A disk that does not take them is told once in the log and tried again; nothing else stops.

    Args:
        folder: Made where missing.
        meter: Whose figures; distributions as sum and count, and of frame ages their buckets, too.
        every_s: Between two lines.
        keep_bytes: Of all files together; the oldest are removed.
    """

    def __init__(self, folder: Path, meter: Meter, every_s: float, keep_bytes: int) -> None:
        self._folder = folder
        self._meter = meter
        self._every_s = every_s
        self._keep_bytes = keep_bytes
        self._file: FileIO | None = None
        self._whole_bytes = 0
        self._synced_s = time.monotonic()
        self._told = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="telemetry lines", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write the last line and finish."""
        self._over.set()
        self._thread.join(5.0)

    def _work(self) -> None:
        while True:
            is_over = self._over.wait(self._every_s)
            try:
                self._write()
                if is_over:
                    self._finish()
                self._told = False
            except OSError as error:
                self._take_back()
                if not self._told:
                    self._told = True
                    _log.warning("telemetry is not written: %s: %s", self._folder, error)
                if not is_over:
                    is_over = self._over.wait(_RETRY_S)
            if is_over:
                return

    def _write(self) -> None:
        file = self._file or self._next_file()
        line = json.dumps(self._line(), ensure_ascii=False).encode() + b"\n"
        if file.write(line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._whole_bytes += len(line)
        if time.monotonic() - self._synced_s >= SYNC_EVERY_S:
            os.fsync(file.fileno())
            self._synced_s = time.monotonic()
        if self._whole_bytes >= FILE_BYTES:
            self._finish()

    def _take_back(self) -> None:
        """After a failed write: the file ends with its last whole line, and is gone on with."""
        file = self._file
        if file is None:
            return
        try:
            file.truncate(self._whole_bytes)
            file.seek(self._whole_bytes)
        except OSError:  # the disk is gone, or read-only: another file once it takes one
            self._file = None
            with suppress(OSError):
                file.close()

    def _finish(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            os.fsync(file.fileno())
            file.close()

    def _next_file(self) -> FileIO:
        self._folder.mkdir(parents=True, exist_ok=True)
        known = sorted(_numbered(self._folder))
        number = known[-1][0] + 1 if known else 1
        room = self._keep_bytes - FILE_BYTES
        for _, path in reversed(known):
            room -= path.stat().st_size
            if room < 0:
                path.unlink()
        # Unbuffered: what could not be written is not kept for later.
        self._file = open(self._folder / f"telemetry-{number:06d}.jsonl", "xb", buffering=0)
        self._whole_bytes = 0
        return self._file

    def _line(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "boot_id": boot_id(),
            "monotonic_ns": time.monotonic_ns(),
            "wall": wall_clock.iso_utc(wall_clock.now_s()),
            "wall_trusted": wall_clock.is_trusted(),
            "health": self._meter.health() or "ok",
            "figures": dict(_figures(self._meter)),
        }


def _figures(meter: Meter) -> Iterator[tuple[str, float]]:
    for family in meter.registry.collect():
        for sample in family.samples:
            if sample.name.endswith("_created"):
                continue
            # A mean hides what an eye sees: ages keep their distribution, stages need no more.
            if sample.name.endswith("_bucket") and not sample.name.startswith(_AGES):
                continue
            labels = ",".join(f'{name}="{value}"' for name, value in sample.labels.items())
            yield f"{sample.name}{{{labels}}}" if labels else sample.name, sample.value


def _numbered(folder: Path) -> Iterator[tuple[int, Path]]:
    for path in folder.iterdir():
        match = _NAME.fullmatch(path.name)
        if match:
            yield int(match[1]), path
