"""Where the device keeps what it must remember: card checks, counters."""

from __future__ import annotations

import os
from pathlib import Path

from edge.errors import RequestError


def state_folder() -> Path:
    """``dermedge`` in the user's state folder (XDG: ``~/.local/state``); nothing is made.

    Raises:
        RequestError: There is neither that variable nor a home.
    """
    xdg = os.environ.get("XDG_STATE_HOME", "")
    if os.path.isabs(xdg):  # the XDG specification: a relative path is to be ignored
        return Path(xdg) / "dermedge"
    home = os.path.expanduser("~")
    if not os.path.isabs(home):
        raise RequestError(
            "a folder for what the device must remember",
            got="neither XDG_STATE_HOME nor HOME",
            next_step="set HOME, or [colour] folder in the configuration",
        )
    return Path(home) / ".local" / "state" / "dermedge"
