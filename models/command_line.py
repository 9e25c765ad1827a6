"""What the three console commands share: commands loaded late, errors in one line, exit codes.

0  done, or SIGTERM, or the window was closed     3    the input or camera failed
2  the request was wrong                          4    a model or engine was refused
5  anything else                                  130  Ctrl-C
"""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass

import click

from models.errors import DermedgeError

EXIT_REQUEST = 2
EXIT_OTHER = 5
EXIT_INTERRUPTED = 130


@dataclass(frozen=True)
class _Extra:
    """What to install for a module that a lean installation lacks, and what it is for."""

    install: str
    purpose: str


_EXTRAS: Mapping[str, _Extra] = {
    "cv2": _Extra(
        "pip install 'dermedge[desktop]' (on a Raspberry Pi 'dermedge[pi]'; on a Jetson use "
        "JetPack's own OpenCV: apt-get install python3-opencv)",
        "resizing, outlines and video",
    ),
    "torch": _Extra("pip install 'dermedge[train]'", "training and exporting models"),
}


class LazyGroup(click.Group):
    """A command group that imports a command's module only when that command is used.

    ``--help`` of the group then costs no import of numpy, OpenCV or ONNX Runtime.

    Args:
        targets: Command name to ``(module, attribute, one line of help)``.
    """

    def __init__(
        self, name: str, *, help: str, targets: Mapping[str, tuple[str, str, str]]
    ) -> None:
        super().__init__(name, help=help, context_settings={"help_option_names": ["-h", "--help"]})
        self._targets = targets

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all commands, in the order given."""
        return list(self._targets)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command itself, importing its module; ``None`` for an unknown name."""
        if cmd_name not in self._targets:
            return None
        module, attribute, _ = self._targets[cmd_name]
        command = getattr(importlib.import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{module}.{attribute} must be a click command, but got {command!r}")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from their one-line helps, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, target[2]) for name, target in self._targets.items()])


def run(group: click.Group, version: str) -> int:
    """Run a console command and say what went wrong in one line.

    A traceback is printed only with ``--debug`` among the arguments.

    Args:
        group: The command group; it gains ``--version`` and ``--debug`` here.
        version: Version to print.

    Returns:
        The exit code.
    """
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    debug = "--debug" in sys.argv[1:]
    click.version_option(version, message="%(prog)s %(version)s")(group)
    click.option("--debug", is_flag=True, expose_value=False, help="Show tracebacks.")(group)
    try:
        code = group.main(
            args=arguments, prog_name=group.name, standalone_mode=False, obj={"debug": debug}
        )
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except (click.Abort, KeyboardInterrupt):
        return _fail("stopped by Ctrl-C", EXIT_INTERRUPTED, debug)
    except click.ClickException as error:
        where = getattr(getattr(error, "ctx", None), "command_path", group.name)
        return _fail(f"{error.format_message()} Try '{where} --help'.", EXIT_REQUEST, debug)
    except DermedgeError as error:
        return _fail(str(error), error.exit_code, debug)
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        return _fail(
            f"expected the module {error.name} for {extra.purpose}; got none; {extra.install}",
            EXIT_REQUEST,
            debug,
        )
    except BrokenPipeError:
        # The reader of our output (head, less) has gone; nobody is left to tell.
        sys.stderr.close()
        return EXIT_OTHER
    except Exception as error:  # the last line of defence: exit 5, never a bare traceback
        return _fail(
            f"unforeseen {type(error).__name__}: {error}; run again with --debug and report it",
            EXIT_OTHER,
            debug,
        )


def _fail(message: str, code: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    one_line = " ".join(message.split())
    print(f"error: {one_line}", file=sys.stderr)
    return code
