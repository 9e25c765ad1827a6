"""How the run before ended: kept on the disk, told at the next start."""

from __future__ import annotations

import json
import logging
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edge import wall_clock
from edge.analysis.stamp import boot_id
from models.whole_file import write_whole

RUNNING, FAILURE, TOLD = "running.json", "failure.json", "last-failure.json"

RESULT = "last-result"
"""In the runtime directory: what the service manager knows of the end, by ``ExecStopPost=``."""

_RESULTS = {
    "watchdog": "it hung, and the watchdog ended it",
    "oom-kill": "it ran out of memory",
    "timeout": "it did not come to its end in time, and was killed",
    "signal": "it was killed, or crashed",
    "core-dump": "it crashed",
    "exit-code": "it ended with an error",
}
"""By systemd.exec(5), ``$SERVICE_RESULT``."""

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
        runtime: Where :data:`RESULT` lies, which does not outlive the machine's run.
    """

    def __init__(self, folder: Path, runtime: Path | None = None) -> None:
        self._folder = folder
        self._runtime = runtime
        self._told = False

    def begin(self) -> Failure | None:
        """Note a start.

        Returns:
            How the run before ended, where that was not in order.
        """
        before = self._before()
        if self._runtime is not None:
            with suppress(OSError):  # told at most once more
                (self._runtime / RESULT).unlink(missing_ok=True)
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

    def goes_on(self) -> None:
        """What was noted has passed: a thread that hung has come back."""
        self._remove(FAILURE)

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
            words = self._by_manager() or "it was killed, or ran out of memory"
        else:
            words = "the power was cut, or the machine was reset"
        return Failure(words, there, None, None, False)

    def _by_manager(self) -> str:
        """What the service manager noted: ``$SERVICE_RESULT $EXIT_CODE $EXIT_STATUS``, or empty."""
        if self._runtime is None:
            return ""
        try:
            result, _, how = (self._runtime / RESULT).read_text("utf-8").strip().partition(" ")
        except (OSError, UnicodeDecodeError):
            return ""
        words = _RESULTS.get(result, "")
        return f"{words} ({how})" if words and how else words

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
