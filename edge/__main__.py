"""The ``dermedge`` command."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from edge import __version__
from models.start import run_until_stopped

if TYPE_CHECKING:
    from models.command_line import LazyGroup

_COMMANDS = {
    "analyze": (
        "edge.commands.analyze",
        "analyze",
        "Analyze pictures, folders and videos; write overlays, masks and Result JSON.",
    ),
    "run": ("edge.commands.run", "run", "Run the camera loop: aim, see, read."),
    "export": (
        "edge.commands.export",
        "export",
        "Copy cases, logs and recordings to a stick, and verify them.",
    ),
    "service": (
        "edge.commands.service",
        "service",
        "Install dermedge as a service of this device, go back a version, or take it off.",
    ),
    "doctor": (
        "edge.commands.doctor",
        "doctor",
        "Say what is here, what is missing, and what to type.",
    ),
}


def group() -> LazyGroup:
    """The command group, without its global options."""
    from models.command_line import LazyGroup

    return LazyGroup(
        "dermedge",
        help="Locate and classify abnormal skin in pictures and on cameras. "
        "Research prototype. Not for diagnosis.",
        targets=_COMMANDS,
    )


def main() -> None:
    """Run the command line and exit with its code."""
    sys.exit(run_until_stopped(_run))


def _run() -> int:
    # Imported here: it brings click, which takes longer than a signal may wait.
    from models.command_line import run

    return run(group(), __version__)


if __name__ == "__main__":
    main()
