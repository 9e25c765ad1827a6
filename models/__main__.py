"""``dermedge-models``: what packs there are, what they say, and how the reference one is made."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, version

from models.command_line import LazyGroup, run

GROUP = LazyGroup(
    "dermedge-models",
    help="Packs of models: list, show, train, export, evaluate.",
    targets={
        "list": ("models.show", "list_command", "List the packs that come with the program."),
        "show": ("models.show", "show_command", "Show what a pack is, does and must not do."),
        "train": ("models.train", "command", "Train both networks [extra: train]."),
        "export": ("models.export", "command", "Write checkpoints as a pack [extra: train]."),
        "evaluate": ("models.evaluate", "command", "Measure a pack on the data folder."),
    },
)


def main() -> int:
    """Run the command line; returns the exit code."""
    try:
        number = version("dermedge")
    except PackageNotFoundError:
        number = "unknown"
    return run(GROUP, number)


if __name__ == "__main__":
    sys.exit(main())
