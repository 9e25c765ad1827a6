"""The ``dermedge-convert`` command."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from models.start import run_until_stopped

if TYPE_CHECKING:
    from models.command_line import LazyGroup

_COMMANDS = {
    "check": (
        "convert.commands.check",
        "check",
        "Say what a device would refuse, before any device is touched.",
    ),
    "prepare": (
        "convert.commands.prepare",
        "prepare",
        "Write the graphs that engines run: camera pixels in, probabilities out.",
    ),
    "build": (
        "convert.commands.build",
        "build",
        "Build engines for this device; those that pass the gate are used.",
    ),
    "device": (
        "convert.commands.device",
        "device",
        "Build what the configured pack lacks on this device; for its unit.",
    ),
    "gate": (
        "convert.commands.gate",
        "gate",
        "Hold engines against ONNX Runtime in float32, on golden frames.",
    ),
    "inspect": (
        "convert.commands.inspect",
        "inspect",
        "Show the engines of a pack: their cards, and their layers.",
    ),
}


def group() -> LazyGroup:
    """The command group, without its global options."""
    from models.command_line import LazyGroup

    return LazyGroup(
        "dermedge-convert",
        help="Turn a model pair into something a device runs, and prove it.",
        targets=_COMMANDS,
    )


def main() -> None:
    """Run the command line and exit with its code."""
    sys.exit(run_until_stopped(_run))


def _run() -> int:
    # Imported here: click takes longer than a signal may wait.
    from importlib import metadata

    from models.command_line import run

    return run(group(), metadata.version("dermedge"))


if __name__ == "__main__":
    main()
