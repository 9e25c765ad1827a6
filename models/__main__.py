"""``dermedge-models``: what packs there are, what they say, and how the reference one is made."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from models.start import run_until_stopped

if TYPE_CHECKING:
    from models.command_line import LazyGroup

_COMMANDS = {
    "list": ("models.show", "list_command", "List the packs that come with the program."),
    "show": ("models.show", "show_command", "Show what a pack is for, made from, and bad at."),
    "phantom": ("models.phantom.command", "phantom", "Write a synthetic picture of skin."),
    "evaluate": ("models.evaluate", "command", "Measure a pack on the data folder."),
    "train": ("models.train", "command", "Train both networks (extra: train)."),
    "export": ("models.export", "command", "Write what train left as a pack (extra: train)."),
}


def group() -> LazyGroup:
    """The command group, without its global options."""
    from models.command_line import LazyGroup

    return LazyGroup(
        "dermedge-models",
        help="Packs of models, and how the reference pack is made. "
        "Research prototype. Not for diagnosis.",
        targets=_COMMANDS,
    )


def main() -> None:
    """Run the command line and exit with its code."""
    sys.exit(run_until_stopped(_run))


def _run() -> int:
    # Imported here: click takes longer than a signal may wait.
    from importlib.metadata import PackageNotFoundError, version

    from models.command_line import run

    try:
        number = version("dermedge")
    except PackageNotFoundError:
        number = "unknown"
    return run(group(), number)


if __name__ == "__main__":
    main()
