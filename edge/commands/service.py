"""``dermedge service``: installs dermedge as a service of this device, and takes it off again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click

from edge.appliance import steps
from edge.appliance.files import BOARDS
from edge.appliance.layout import Layout
from edge.appliance.package import from_wheels
from edge.errors import RequestError

_CHECKOUT = Path(__file__).resolve().parents[2]

NOT_INSTALLED_EXIT = 3

_FROM_THERE = """import sys
sys.path.insert(0, sys.argv.pop(1))
from edge.appliance.installer import main
sys.exit(main(sys.argv[1:]))"""

_HERE = Layout(Path("/"))


@click.group("service")
def service() -> None:
    """Install dermedge as a service of this device, go back a version, or take it off.

    Everything may be repeated, and is needed as root. docs/service.md describes the units.
    """


@service.command("install")
@click.option(
    "--wheels",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of wheels, as in a bundle; without it the checkout is installed, and the network "
    "is asked.",
)
@click.option(
    "--constraints",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Exact versions; by default constraints.txt beside the wheels, or of the checkout.",
)
@click.option("--board", type=click.Choice(BOARDS), help="By default what this board is.")
@click.option(
    "--kiosk/--no-kiosk",
    default=None,
    help="The camera loop owns the device's own screen: the login on it makes room.",
)
@click.option("--extras", help="Extras of the package, with commas; by default those of the board.")
def install(
    wheels: Path | None,
    constraints: Path | None,
    board: str | None,
    kiosk: bool | None,
    extras: str | None,
) -> int:
    """Install or upgrade. Configuration, cases, recordings and engines stay as they are."""
    if wheels is None:
        _refuse_no_checkout()
        what = ["--checkout", str(_CHECKOUT)]
    else:
        what = ["--wheels", str(wheels.resolve())]
    if constraints is not None:
        what += ["--constraints", str(constraints.resolve())]
    if board is not None:
        what += ["--board", board]
    if kiosk is not None:
        what.append("--kiosk" if kiosk else "--no-kiosk")
    if extras is not None:
        what += ["--extras", extras]
    return _installed_by_itself(wheels, what)


@service.command("rollback")
def rollback() -> int:
    """Go back to the version before; once more leads forth again."""
    steps.rollback(_HERE, click.echo)
    return 0


@service.command("build")
def build() -> int:
    """Build the engines that this board lacks, also where three attempts have failed."""
    steps.build(_HERE, click.echo)
    return 0


@service.command("uninstall")
def uninstall() -> int:
    """Take everything away but cases, recordings and a changed configuration."""
    steps.uninstall(_HERE, click.echo)
    return 0


@service.command("status")
def status() -> int:
    """Say which version is in use, and how its units stand; exit code 3 where there is none."""
    return 0 if steps.status(_HERE, click.echo) else NOT_INSTALLED_EXIT


def _refuse_no_checkout() -> None:
    if not (_CHECKOUT / "pyproject.toml").is_file():
        raise RequestError(
            "a folder of wheels: --wheels FOLDER",
            got=f"none, and {sys.prefix} is no checkout of dermedge",
            next_step="name the folder of a bundle",
        )


def _installed_by_itself(wheels: Path | None, what: list[str]) -> int:
    """Run the installer of what is to be installed: only that knows its own units."""
    code = _CHECKOUT if wheels is None else from_wheels(wheels, None).wheel
    # Not by PYTHONPATH: the programs that the installer starts would inherit it.
    command = [sys.executable, "-I", "-B", "-c", _FROM_THERE, str(code), *what]
    return subprocess.run(command, check=False).returncode
