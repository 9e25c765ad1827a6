"""The configuration that a service would read."""

from __future__ import annotations

from pathlib import Path

from edge.config import Config, load_config
from edge.doctor.line import Line
from edge.doctor.nodes import is_inside_unit
from edge.errors import DermedgeError

OF_THE_SERVICE = Path("/etc/dermedge/dermedge.toml")


def examine(path: Path | None) -> tuple[Line, Config | None]:
    """A line about it, and what it says: the defaults where there is none, ``None`` if wrong."""
    if path is None:
        if not OF_THE_SERVICE.exists():
            if is_inside_unit():
                step = "install the service again: that writes one"
                return Line("config", "problem", f"none at {OF_THE_SERVICE}", step), None
            found = f"none at {OF_THE_SERVICE}: the defaults"
            return Line("config", "note", found), Config()
        path = OF_THE_SERVICE
    try:
        config = load_config(path)
    except DermedgeError as error:
        return Line("config", "problem", f"{path}: {error.got}", error.next_step), None
    return Line("config", "ok", str(path)), config
