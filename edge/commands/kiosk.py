"""``dermedge kiosk``: puts the camera loop on the device's own screen at boot, and takes it off."""

from __future__ import annotations

import grp
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from edge.errors import InputError, RequestError

UNIT, CONFIG = "dermedge-kiosk.service", "kiosk.toml"
GROUPS = ("video", "render", "input", "gpio")
"""What owns cameras, displays, buttons and lines; a system may lack some of them."""

_SHARED = Path(sys.prefix) / "share" / "dermedge" / "systemd"
_CHECKOUT = Path(__file__).resolve().parents[2] / "systemd"


@click.command("kiosk")
@click.option("--install", "wish", flag_value="install", help="Own the screen from the next boot.")
@click.option("--remove", "wish", flag_value="remove", help="Give the screen back.")
@click.option(
    "--root",
    type=click.Path(path_type=Path),
    default=Path("/"),
    help="Another system's root folder, whose units are not started.",
)
def kiosk(wish: str | None, root: Path) -> int:
    """Run the camera loop on the device's own screen, without a desktop, from boot on.

    Both ways may be repeated, and both are needed as root. The configuration is
    /etc/dermedge/kiosk.toml: installing never changes one that is there, removing leaves one that
    was changed.
    """
    if wish is None:
        raise RequestError("--install or --remove", got="neither", next_step="add one of them")
    if not os.access(root / "etc", os.W_OK):
        raise RequestError(
            f"to write into {root / 'etc'}", got="no permission", next_step="run it as root (sudo)"
        )
    if wish == "install":
        install(root)
    else:
        remove(root)
    return 0


def install(root: Path) -> None:
    """Write unit and configuration, and start the unit where ``root`` is this system."""
    unit = _read(UNIT).replace("@DERMEDGE@", _command()).replace("@GROUPS@", _groups())
    _write(root / "etc" / "systemd" / "system" / UNIT, unit)
    config = root / "etc" / "dermedge" / CONFIG
    if config.exists():
        click.echo(f"left as it is: {config}")
    else:
        _write(config, _read(CONFIG))
    if root == Path("/"):
        _systemctl("daemon-reload")
        _systemctl("enable", "--quiet", UNIT)
        _systemctl("restart", "--no-block", UNIT)
        click.echo(f"started; what it says: journalctl -u {UNIT}")
    else:
        _systemctl(f"--root={root}", "enable", "--quiet", UNIT)


def remove(root: Path) -> None:
    """Stop the unit, take it away, and give tty1 back to the login."""
    here = root == Path("/")
    unit = root / "etc" / "systemd" / "system" / UNIT
    if not unit.exists():
        click.echo("not installed: nothing to remove")
        return
    if here:
        _systemctl("disable", "--quiet", "--now", UNIT)
    else:
        _systemctl(f"--root={root}", "disable", "--quiet", UNIT)
    unit.unlink()
    config = root / "etc" / "dermedge" / CONFIG
    if config.exists() and config.read_text(encoding="utf-8") == _read(CONFIG):
        config.unlink()
        if not any(config.parent.iterdir()):
            config.parent.rmdir()
    elif config.exists():
        click.echo(f"left, because it was changed: {config}")
    if here:
        _systemctl("daemon-reload")
        for other in ("getty@tty1.service", "display-manager.service"):
            if _is_enabled(other):
                _systemctl("start", "--no-block", other)
    state = root / "var" / "lib" / "dermedge"
    click.echo(f"removed{f'; cases and recordings stay in {state}' if state.exists() else ''}")


def _command() -> str:
    """This very installation, as a unit names it."""
    python = sys.executable.replace("%", "%%").replace("$", "$$")
    return f'"{python}" -m edge' if any(c in python for c in " '\"\\") else f"{python} -m edge"


def _groups() -> str:
    there = {group.gr_name for group in grp.getgrall()}
    return " ".join(name for name in GROUPS if name in there)


def _read(name: str) -> str:
    for folder in (_CHECKOUT, _SHARED):
        if (folder / name).exists():
            return (folder / name).read_text(encoding="utf-8")
    raise InputError(
        f"the file {name} of dermedge's installation",
        got=f"none in {_CHECKOUT} nor {_SHARED}",
        next_step="install it again",
    )


def _write(path: Path, text: str) -> None:
    from models.whole_file import write_whole

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text.encode("utf-8"))
    except OSError as error:
        raise InputError(
            f"to write {path}", got=error.strerror or str(error), next_step="run it as root (sudo)"
        ) from error
    click.echo(f"written: {path}")


def _is_enabled(unit: str) -> bool:
    said = subprocess.run(["systemctl", "is-enabled", "--quiet", unit], capture_output=True)
    return said.returncode == 0


def _systemctl(*arguments: str) -> None:
    command: Sequence[str] = ("systemctl", *arguments)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(
            "systemd, which starts the screen at boot", got=str(error), next_step="see systemctl"
        ) from error
    if done.returncode != 0:
        raise InputError(
            f"{' '.join(command)} to work",
            got=" ".join(done.stderr.split()) or f"exit code {done.returncode}",
            next_step="see systemctl status " + UNIT,
        )
