"""The installation by the very code that is installed: ``main`` with the options below.

An upgrade is the new version's affair: only it knows its units. So the installer of a bundle, and
``dermedge service install`` of the version in use, call this out of the new wheel. It needs
nothing but Python's own library, and its options are a contract between versions.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from edge.appliance import steps
from edge.appliance.files import BOARDS
from edge.appliance.layout import Layout
from edge.appliance.package import Package, from_checkout, from_wheels
from edge.errors import DermedgeError


def main(arguments: list[str]) -> int:
    """Install; the exit code."""
    # What a person may give; whoever calls this names the wheels or the checkout.
    usage = "install [--[no-]kiosk] [--board NAME] [--extras NAMES] [--constraints FILE]"
    parser = argparse.ArgumentParser(prog="install", usage=usage)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--wheels", type=Path)
    what.add_argument("--checkout", type=Path)
    parser.add_argument("--kiosk", action=argparse.BooleanOptionalAction, default=None)
    parser.add_argument("--board", choices=BOARDS)
    parser.add_argument("--extras", type=lambda text: [name for name in text.split(",") if name])
    parser.add_argument("--constraints", type=Path)
    chosen = parser.parse_args(arguments)

    def package(build: Path) -> Package:
        if chosen.wheels is not None:
            return from_wheels(chosen.wheels, chosen.constraints)
        return from_checkout(chosen.checkout, build, chosen.constraints)

    wishes = {"board": chosen.board, "kiosk": chosen.kiosk, "extras": chosen.extras}
    try:
        steps.install(Layout(Path("/")), package, wishes, _say)
    except DermedgeError as error:
        print(f"install: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("install: stopped by Ctrl-C; what was in use still is", file=sys.stderr)
        return 130
    return 0


def _say(words: str) -> None:
    """To whoever still listens: ``install | head`` ends listening, not the installation."""
    try:
        print(words, flush=True)
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")
