"""The units of an installation, through ``systemctl``."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from edge.appliance.layout import Layout
from edge.appliance.system import run, works
from edge.errors import InputError

STARTS_WITHIN_S = 60.0
"""So long nothing may be heard of it while it starts."""

LOADS_WITHIN_S = 900.0
"""So long it may start while it says what it does: at the first start a slow board prepares its
networks for minutes, and one that ended often waits for its turn."""

BUILDS_WITHIN_S = 3.5 * 3600.0
"""Longer than the unit may take."""

_LOGINS = ("getty@tty1.service", "display-manager.service")


class Services:
    """Of one system; on another one than this nothing is started or stopped.

    Args:
        layout: Of it.
    """

    def __init__(self, layout: Layout) -> None:
        self._here = layout.is_this_system
        self._root = [] if self._here else [f"--root={layout.root}"]

    def reload(self) -> None:
        """Let the manager read the units anew."""
        if self._here:
            self._do("daemon-reload")

    def enable(self, units: Sequence[str], *, wanted: bool = True) -> None:
        """Start them with the machine, or do not."""
        self._do("enable" if wanted else "disable", "--quiet", *units)

    def restart(self, say: Callable[[str], None]) -> None:
        """Start everything anew, and wait until the camera loop has said that it runs.

        Raises:
            InputError: It does not.
        """
        if not self._here:
            return
        self._do("restart", "--no-block", "dermedge.target")  # and all that is part of it
        began_s = heard_s = time.monotonic()
        told = ""
        while (now_s := time.monotonic()) - heard_s < STARTS_WITHIN_S:
            state = self._show("dermedge.service")
            if state.get("ActiveState") == "active":
                say(self.state_of("dermedge.service"))
                return
            words = state.get("StatusText", "")
            if state.get("SubState") == "start" and words and now_s - began_s < LOADS_WITHIN_S:
                heard_s = now_s
                if words != told:
                    told = words
                    say(f"dermedge.service: {words}")
            time.sleep(0.5)
        raise InputError(
            f"dermedge.service to start within {now_s - began_s:.0f} s",
            got=self.state_of("dermedge.service"),
            next_step="see journalctl -u dermedge; dermedge service rollback leads back",
        )

    def build(self) -> None:
        """Build what engines are missing, and wait for it.

        Raises:
            InputError: It failed, or there is no such unit.
        """
        unit = "dermedge-convert.service"
        try:
            run(["systemctl", "start", unit], within_s=BUILDS_WITHIN_S, purpose="build the engines")
        except InputError as error:
            raise InputError(
                f"{unit} to build the engines",
                got=error.got,
                next_step="see journalctl -u dermedge-convert, which has the reason",
            ) from error

    def stop_and_disable(self, units: Sequence[str]) -> None:
        """Those that are there."""
        there = [unit for unit in units if works(["systemctl", *self._root, "cat", unit])]
        if there:
            with contextlib.suppress(InputError):  # a unit without [Install] cannot be disabled
                self._do("disable", "--quiet", *there)
            if self._here:
                self._do("stop", *there)

    def forget(self, units: Sequence[str]) -> None:
        """After their files were taken away: the manager forgets them, the login comes back."""
        if not self._here:
            return
        self.reload()
        works(["systemctl", "reset-failed", *units])
        for login in _LOGINS:
            if works(["systemctl", "is-enabled", "--quiet", login]):
                works(["systemctl", "start", "--no-block", login])

    def state_of(self, unit: str) -> str:
        """One line on a unit."""
        state = self._show(unit)
        words = state.get("StatusText", "")
        line = f"{unit}: {state.get('ActiveState', 'unknown')} ({state.get('SubState', '?')})"
        return f"{line}: {words}" if words else line

    def _show(self, unit: str) -> dict[str, str]:
        names = "--property=ActiveState,SubState,StatusText"
        try:
            said = run(["systemctl", "show", names, unit])
        except InputError:
            return {}
        return dict(line.partition("=")[::2] for line in said.splitlines())

    def _do(self, *arguments: str) -> None:
        run(["systemctl", *self._root, *arguments], purpose=arguments[0])


def is_booted() -> bool:
    """Whether systemd runs this system."""
    return Path("/run/systemd/system").is_dir()
