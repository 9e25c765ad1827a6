"""Looks from inside: with the account, rights and environment of ``dermedge.service``."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from edge.appliance.system import run
from edge.errors import InputError, RequestError
from edge.pages import page

UNIT = "dermedge.service"
WITHIN_S = 300.0

SAYS = "DERMEDGE_SERVICE_SAYS"
"""Environment variable: how the service stands; from inside nobody may ask."""

FIRST_OF_SYSTEMD = 200
"""From here on exit codes are systemd's own: the program was never started (systemd.exec(5))."""

_NOT_OF_A_QUESTION = (
    *("Type", "Exec", "Restart", "Watchdog", "Timeout", "NotifyAccess", "Standard", "TTY"),
    # It would be taken away with the question.
    *("RuntimeDirectory", "OOM"),
)
"""Beginnings of directives that are about the camera loop, and not about its surroundings."""


def look_inside(arguments: Sequence[str]) -> int:
    """Run ``dermedge doctor`` once as a unit with the properties of the service.

    Args:
        arguments: For it.

    Returns:
        Its exit code.

    Raises:
        RequestError: Not root, or the service is not installed.
        InputError: systemd does not start it.
    """
    if os.geteuid() != 0:
        raise RequestError("root", got="another user", next_step="run it with sudo")
    properties = list(_properties(_unit_text()))
    command = ["systemd-run", "--quiet", "--pipe", "--wait", "--collect"]
    for name, value in properties:
        command += ["--property", f"{name}={value}"]
    program = Path(sys.executable).with_name("dermedge")
    command += ["--setenv", f"{SAYS}={_state()}"]
    command += ["--", str(program), "doctor", *arguments]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, timeout=WITHIN_S)
    except FileNotFoundError as error:
        raise InputError(
            "systemd-run", got="no such program", next_step="leave out --service"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise InputError(
            f"an answer within {WITHIN_S:g} s", got="none", next_step="run dermedge doctor"
        ) from error
    if done.returncode >= FIRST_OF_SYSTEMD:
        raise InputError(
            f"systemd to start a program with the properties of {UNIT}",
            got=f"its exit code {done.returncode}: not even the service can start",
            next_step="see journalctl -b -p warning; is a folder gone that a drop-in names? "
            f"({page('service.md')})",
        )
    return done.returncode


def _state() -> str:
    """How the service stands, in systemd's words and its own."""
    asked = "--property=ActiveState,SubState,StatusText"
    said = dict(
        line.partition("=")[::2] for line in run(["systemctl", "show", asked, UNIT]).splitlines()
    )
    state = f"{said.get('ActiveState', 'unknown')} ({said.get('SubState', '?')})"
    words = said.get("StatusText", "")
    return f"{state}: {words}" if words else state


def _unit_text() -> str:
    try:
        return run(["systemctl", "cat", UNIT])
    except InputError as error:
        raise RequestError(
            f"{UNIT} to be installed",
            got=error.got,
            next_step=f"install it: {page('service.md')}; or leave out --service",
        ) from error


def _properties(text: str) -> Iterator[tuple[str, str]]:
    """What a unit and its drop-ins say about the surroundings of their process, in order."""
    section = ""
    for line in text.splitlines():
        if line.startswith("["):
            section = line
        name, is_set, value = line.partition("=")
        if section != "[Service]" or not is_set or line.startswith(("#", ";")):
            continue
        if not name.startswith(_NOT_OF_A_QUESTION):
            yield name, value
