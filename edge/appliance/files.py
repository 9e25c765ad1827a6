"""Which files go where: units, drop-ins, account, folders, device rules, configuration."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edge.appliance.layout import Layout
from edge.appliance.system import write
from edge.errors import InputError

Board = Literal["jetson", "pi", "pc"]
BOARDS: tuple[Board, ...] = ("jetson", "pi", "pc")

MAIN_UNIT = "dermedge.service"
"""Without it there is no installation."""

_KINDS = ("service", "path", "target", "timer", "socket")
ENABLED = (
    *("dermedge.target", "dermedge.service"),
    *("dermedge-convert.service", "dermedge-convert.path"),
)
"""What starts with the machine."""

CAMERA_DAEMON = "dermedge-restart-camera-daemon.path"
"""Enabled on a Jetson."""

CONFIG = "dermedge.toml"

_SYSTEM = {
    "sysusers.conf": "etc/sysusers.d/dermedge.conf",
    "tmpfiles.conf": "etc/tmpfiles.d/dermedge.conf",
    "udev.rules": "etc/udev/rules.d/70-dermedge.rules",
}
_CONFINED = ("dermedge.service", "dermedge-convert.service")


@dataclass(frozen=True)
class Choices:
    """What is chosen at the installation, and kept.

    Attributes:
        board: Whose device nodes the services need.
        kiosk: Whether the camera loop owns the device's own screen.
        extras: Of the package, by name.
        are_extras_chosen: Whether somebody named them; else they are those of the board.
    """

    board: Board
    kiosk: bool
    extras: tuple[str, ...]
    are_extras_chosen: bool = False


def place(layout: Layout, source: Path, choices: Choices) -> list[Path]:
    """Write everything; gives what is new or different.

    Args:
        layout: Where to.
        source: The folder ``systemd`` of the version that is taken into use.
        choices: Which drop-ins.

    Raises:
        InputError: Something cannot be read or written.
    """
    needed = [(layout.units / name, source / name) for name in {MAIN_UNIT, *_units_in(source)}]
    needed += [(layout.root / to, source / name) for name, to in _SYSTEM.items()]
    needed += [(path, source / "drop-ins" / name) for path, name in _drop_ins(layout, choices)]
    # Another version, as of a rollback, may not have all of them.
    wanted = {
        path: _read(origin)
        for path, origin in needed
        if origin.name == MAIN_UNIT or origin.exists()
    }
    removed = [path for path in placed(layout) if path not in wanted and not path.is_symlink()]
    for path in removed:
        path.unlink()
    return [path for path, content in wanted.items() if write(path, content)] + removed


def place_config(layout: Layout, source: Path) -> bool:
    """Write the configuration where there is none; whether it was written."""
    if layout.config.exists():
        return False
    return write(layout.config, _read(source / CONFIG))


def guard_config(layout: Layout, group_id: int | None) -> None:
    """Let root write the configuration, the service read it, and nobody else see its secrets.

    Args:
        layout: Where it is.
        group_id: Of the service's account; ``None`` where it is not known here.
    """
    if group_id is None or layout.config.is_symlink():
        return
    os.chown(layout.config, 0, group_id)
    layout.config.chmod(0o640)


def is_config_hidden(layout: Layout, group_id: int | None) -> bool:
    """Whether the service's account may not read the configuration, by its mode."""
    try:
        found = layout.config.lstat()
    except OSError:
        return False
    if group_id is None or not stat.S_ISREG(found.st_mode):
        return False
    return not (found.st_mode & 0o004 or (found.st_gid == group_id and found.st_mode & 0o040))


def is_config_changed(layout: Layout, source: Path) -> bool:
    """Whether somebody has changed the configuration."""
    try:
        return layout.config.read_bytes() != _read(source / CONFIG)
    except OSError:
        return False


def unit_names(layout: Layout) -> list[str]:
    """Of every installed version: another one may have units that this one does not know."""
    folders = layout.versions.glob("*/share/dermedge/systemd")
    return sorted({MAIN_UNIT, *(name for folder in folders for name in _units_in(folder))})


def _units_in(source: Path) -> list[str]:
    return [path.name for kind in _KINDS for path in source.glob(f"*.{kind}")]


def placed(layout: Layout) -> list[Path]:
    """Every file that :func:`place` may have written and that is there."""
    paths = [layout.units / name for name in unit_names(layout)]
    paths += [layout.root / to for to in _SYSTEM.values()]
    return [path for path in (*paths, *_all_drop_ins(layout)) if path.exists()]


def drop_in_folders(layout: Layout) -> list[Path]:
    """Folders of drop-ins, which an administrator may use, too."""
    return [layout.units / f"{unit}.d" for unit in _CONFINED]


def _drop_ins(layout: Layout, choices: Choices) -> list[tuple[Path, str]]:
    found = []
    if choices.board != "pc":
        name = f"{choices.board}.conf"
        found += [(folder / f"10-{name}", name) for folder in drop_in_folders(layout)]
    if choices.kiosk:
        found.append((layout.units / "dermedge.service.d/20-kiosk.conf", "kiosk.conf"))
    return found


def _all_drop_ins(layout: Layout) -> list[Path]:
    every = (Choices(board, True, ()) for board in BOARDS)
    return sorted({path for choices in every for path, _ in _drop_ins(layout, choices)})


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            f"the file {path} of dermedge's installation",
            got=error.strerror or str(error),
            next_step="install it again",
        ) from error
