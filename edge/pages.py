"""Where a page of the documentation lies that a message names."""

from __future__ import annotations

import sys

_INSTALLED = "/opt/dermedge/"
"""As ``edge.appliance`` installs it: the device is offline, and brings its pages along."""


def page(name: str) -> str:
    """Where to find one.

    Args:
        name: Of a file in ``docs``, e.g. ``service.md``.
    """
    if sys.prefix.startswith(_INSTALLED):
        return f"{_INSTALLED}current/share/dermedge/docs/{name}"
    return f"docs/{name}"
