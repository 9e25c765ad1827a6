"""The ``dermedge`` command."""

from __future__ import annotations

import sys

from edge import __version__
from models.command_line import LazyGroup, run

_COMMANDS = {
    "analyze": (
        "edge.commands.analyze",
        "analyze",
        "Analyze pictures, folders and videos; write overlays, masks and Result JSON.",
    ),
    "run": ("edge.commands.run", "run", "Run the camera loop: aim, see, read."),
}


def group() -> LazyGroup:
    """The command group, without its global options."""
    return LazyGroup(
        "dermedge",
        help="Locate and classify abnormal skin in pictures and on cameras. "
        "Research prototype. Not for diagnosis.",
        targets=_COMMANDS,
    )


def main() -> None:
    """Run the command line and exit with its code."""
    sys.exit(run(group(), __version__))


if __name__ == "__main__":
    main()
