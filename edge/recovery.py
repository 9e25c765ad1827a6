"""The recovery ladder of a lost camera: open again, restart its daemon, ask for a restart."""

from __future__ import annotations

import logging
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from edge.overlay.notices import Notice
from models.whole_file import write_whole

QUICK_S, QUICK_TRIES, SLOWEST_S = 0.5, 10, 5.0
"""A camera is opened again after this pause, so often; then the pause doubles up to the last."""

DAEMON_AFTER_S, DAEMON_EVERY_S = 20.0, 120.0
"""Its daemon is restarted when it has been away for so long, and so often after that."""

DAEMON_TOLD_S = 15.0
"""So long the person is told that the daemon was asked to be restarted."""

RESTART_AFTER_S = 300.0
"""From here on the person is told to restart the device."""

REBOOT_TOLD_S = 60.0
"""So long before it the person is told that the machine will be asked to restart."""

REBOOT_ASKED = "reboot-asked"
"""In the state folder from the request until a picture has come: one outage, one restart."""

DAEMON_REQUEST, REBOOT_REQUEST = "restart-camera-daemon", "reboot"
"""Files whose appearance a unit with more rights answers; docs/service.md."""

_log = logging.getLogger("dermedge.recovery")


@dataclass(frozen=True)
class RecoveryPlan:
    """What may be done besides opening the camera again.

    Attributes:
        requests: Folder for files that ask a unit with more rights; ``None``: nobody may be asked.
        has_daemon: Whether the camera's library is a daemon's that can be restarted.
        reboot_after_s: Ask for a restart of the machine after so long, and not again until the
            camera has given a picture; 0: never, the person decides.
        state: Where that request is remembered over the restart; ``None``: it is not asked for.
    """

    requests: Path | None = None
    has_daemon: bool = False
    reboot_after_s: float = 0.0
    state: Path | None = None


class Recovery:
    """Counts and times what is done; on the source's thread, but any thread may ask.

    Attributes:
        counts: Steps since the start, by name: ``lost``, ``reopen``, ``daemon``, ``reboot``,
            ``recovered``.
        last_s: How long the camera was away the last time, or ``None``.
    """

    def __init__(self, plan: RecoveryPlan) -> None:
        self._plan = plan
        self.counts: Counter[str] = Counter(lost=0, reopen=0, daemon=0, reboot=0, recovered=0)
        self.last_s: float | None = None
        self._since_s: float | None = None
        self._words = ""
        self._tries = 0
        self._daemon_s = 0.0
        self._daemon_asked_s: float | None = None
        self._is_reboot_asked = False

    @property
    def is_away(self) -> bool:
        """Whether the camera gives nothing; one that was opened again has to give a picture."""
        return self._since_s is not None

    def lost(self, words: str) -> None:
        """Note that nothing more comes from the camera; it may have been away before."""
        if self.is_away:  # it could be opened, and gave nothing: the ladder goes on
            self._words = words
            return
        self.counts["lost"] += 1
        self._since_s, self._words, self._tries = time.monotonic(), words, 0
        self._daemon_s = self._since_s + DAEMON_AFTER_S
        self._daemon_asked_s = None
        self._is_reboot_asked = False

    def next_try(self) -> float:
        """Do what is due besides; the seconds to wait before the camera is opened again."""
        self._climb(self._away_s())
        over = self._tries - QUICK_TRIES
        self._tries += 1
        self.counts["reopen"] += 1
        return QUICK_S if over < 0 else min(SLOWEST_S, QUICK_S * 2.0 ** (over + 1))

    def failed(self, words: str) -> None:
        """Note why it could not be opened."""
        self._words = words

    def back(self) -> None:
        """Note that it has given a picture again."""
        if self._plan.state is not None:
            with suppress(OSError):  # then no restart is asked for the next time
                (self._plan.state / REBOOT_ASKED).unlink(missing_ok=True)
        if not self.is_away:
            return
        self._withdraw()
        self.last_s = self._away_s()
        self._since_s = None
        self.counts["recovered"] += 1
        _log.info("the camera is back after %.1f s and %d tries", self.last_s, self._tries)

    def notices(self) -> list[Notice]:
        """What the person should know."""
        away_s = self._away_s()
        if not self.is_away or away_s < 2.0:
            return []
        said = [Notice(f"Camera away for {_spoken(away_s)}: {self._words}", "alarm")]
        asked_s = self._daemon_asked_s
        if asked_s is not None and time.monotonic() - asked_s < DAEMON_TOLD_S:
            said.append(Notice("The camera's program is started again", "prompt"))
        said += self._reboot_notices(away_s)
        if away_s >= RESTART_AFTER_S:
            said.append(Notice("Check the camera's cable, then restart the device", "prompt"))
        return said

    def _reboot_notices(self, away_s: float) -> list[Notice]:
        if self._is_reboot_asked:
            return [Notice("The device was asked to restart", "prompt")]
        left_s = self._plan.reboot_after_s - away_s
        if self._may_reboot() and left_s <= REBOOT_TOLD_S:
            return [Notice(f"The device restarts in {max(0.0, left_s):.0f} s: no camera", "alarm")]
        return []

    def _away_s(self) -> float:
        since_s = self._since_s
        return 0.0 if since_s is None else time.monotonic() - since_s

    def _climb(self, away_s: float) -> None:
        plan = self._plan
        if plan.requests is None:
            return
        if plan.has_daemon and time.monotonic() >= self._daemon_s:
            self._daemon_s = time.monotonic() + DAEMON_EVERY_S
            self._ask(plan.requests, DAEMON_REQUEST, "daemon", away_s)
        if self._may_reboot() and plan.reboot_after_s <= away_s:
            self._ask_reboot(plan.requests, away_s)

    def _may_reboot(self) -> bool:
        """Whether a restart is configured, and was not asked for since the last picture."""
        plan = self._plan
        if plan.requests is None or plan.state is None or plan.reboot_after_s <= 0.0:
            return False
        return not self._is_reboot_asked and not (plan.state / REBOOT_ASKED).exists()

    def _ask_reboot(self, requests: Path, away_s: float) -> None:
        assert self._plan.state is not None
        try:
            write_whole(self._plan.state / REBOOT_ASKED, b"")
        except OSError as error:  # it would be asked for at every start, for ever
            _log.error("reboot: not asked for, since it could not be remembered: %s", error)
            return
        self._ask(requests, REBOOT_REQUEST, "reboot", away_s)

    def _withdraw(self) -> None:
        """Nobody who comes to answer later shall restart anything under a live picture."""
        for name in (DAEMON_REQUEST, REBOOT_REQUEST):
            if self._plan.requests is not None:
                with suppress(OSError):
                    (self._plan.requests / name).unlink(missing_ok=True)

    def _ask(self, folder: Path, name: str, step: str, away_s: float) -> None:
        try:
            (folder / name).touch()
        except OSError as error:
            _log.error("%s: nobody can be asked: %s", step, error)
            return
        self.counts[step] += 1
        if step == "daemon":
            self._daemon_asked_s = time.monotonic()
        else:
            self._is_reboot_asked = True
        _log.warning("the camera is away for %.0f s: asked for %s", away_s, name)


def _spoken(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
