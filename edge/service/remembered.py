"""The screens of the last configuration that could be read, for saying that it cannot be now."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path

from edge.config import told_sinks
from models.whole_file import write_whole

_FILE = "screens.json"
_log = logging.getLogger("dermedge.service")


def remember(folder: Path, sinks: Sequence[str]) -> None:
    """Keep the names of the sinks, where they differ from those that are kept."""
    if list(sinks) == remembered(folder):
        return
    try:
        write_whole(folder / _FILE, json.dumps(list(sinks)).encode())
    except OSError as error:
        _log.warning("the screens are not remembered: %s", error)


def screens_told(config_path: Path | None, folder: Path) -> list[str]:
    """Sinks by a configuration that is refused, as far as they can be read, else the kept ones."""
    return (told_sinks(config_path) if config_path else []) or remembered(folder)


def remembered(folder: Path) -> list[str]:
    """The names that were kept, or none."""
    try:
        names = json.loads((folder / _FILE).read_bytes())
    except (OSError, ValueError):
        return []
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
