"""How the run before ended: kept on the disk, told at the next start."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edge import wall_clock
from edge.analysis.stamp import boot_id
from models.whole_file import write_whole

RUNNING, FAILURE, TOLD = "running.json", "failure.json", "last-failure.json"

_log = logging.getLogger("dermedge.service")


@dataclass(frozen=True)
class Failure:
    """One end that nobody asked for.

    Attributes:
        words: What happened.
        boot_id: Run of the machine in which it did.
        at_ns: Monotonic instant at which it was noted; ``None``: nobody was there to note it.
        wall: UTC as a label, ``None`` likewise.
        wall_trusted: Whether that was known to be right.
    """

    words: str
    boot_id: str | None
    at_ns: int | None
    wall: str | None
    wall_trusted: bool


class LastEnd:
    """Notes that a run is under way, why it fails, and that it has ended in order.

    A disk that cannot be written costs the memory of it, never the run: that is logged once.

    Args:
        folder: Made where missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._told = False

    def begin(self) -> Failure | None:
        """Note a start.

        Returns:
            How the run before ended, where that was not in order.
        """
        before = self._before()
        if before is not None:
            self._write(TOLD, asdict(before))
        self._remove(FAILURE)
        self._write(RUNNING, {"boot_id": boot_id(), "started_ns": time.monotonic_ns()})
        return before

    def failed(self, words: str) -> None:
        """Note why the run is about to end."""
        failure = Failure(
            words,
            boot_id(),
            time.monotonic_ns(),
            wall_clock.iso_utc(wall_clock.now_s()),
            wall_clock.is_trusted(),
        )
        self._write(FAILURE, asdict(failure))

    def ended(self) -> None:
        """Note an end in order."""
        self._remove(RUNNING)
        self._remove(FAILURE)

    def _before(self) -> Failure | None:
        noted = self._read(FAILURE)
        if noted is not None:
            try:
                return Failure(**noted)
            except TypeError:
                return Failure("it failed, and its note cannot be read", None, None, None, False)
        running = self._read(RUNNING)
        if running is None:
            return None
        there = running.get("boot_id")
        if there == boot_id():
            words = "it was killed, or ran out of memory"
        else:
            words = "the power was cut, or the machine was reset"
        return Failure(words, there, None, None, False)

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            content = json.loads((self._folder / name).read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            _log.warning("%s: %s", self._folder / name, error)
            return {}
        return content if isinstance(content, dict) else {}

    def _write(self, name: str, content: dict[str, Any]) -> None:
        try:
            write_whole(self._folder / name, json.dumps(content).encode())
        except OSError as error:
            self._tell(error)

    def _remove(self, name: str) -> None:
        try:
            (self._folder / name).unlink(missing_ok=True)
        except OSError as error:
            self._tell(error)

    def _tell(self, error: OSError) -> None:
        if not self._told:
            self._told = True
            _log.warning("how this run ends will not be remembered: %s", error)
