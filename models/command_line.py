"""What the three console commands share: commands loaded late, errors in one line, exit codes.

0  done, or SIGTERM, or the window was closed
2  the request was wrong
3  the input, the camera or an output failed; also stdout, where its reader has gone or its disk
   is full. What was written to files is kept.
4  a model or engine was refused
5  anything else
130  Ctrl-C

A stdout or stderr that is closed from the start takes whatever is written, as /dev/null does.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass

import click

from models.errors import DermedgeError, InputError
from models.start import EXIT_INTERRUPTED

EXIT_REQUEST = 2
EXIT_OTHER = 5

_OUTPUT_LOST = frozenset({errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EIO})


@dataclass(frozen=True)
class _Extra:
    """What to install for a module that a lean installation lacks, and what it is for."""

    install: str
    purpose: str


_EXTRAS: Mapping[str, _Extra] = {
    "cv2": _Extra(
        "in dermedge's folder: pip install '.[desktop]' (on a Raspberry Pi '.[pi]'; "
        "on a Jetson use JetPack's own OpenCV: apt-get install python3-opencv)",
        "resizing, outlines and video",
    ),
    "torch": _Extra(
        "in dermedge's folder: pip install '.[train]'", "training and exporting models"
    ),
}


_OWN_PACKAGES = ("edge", "convert", "models")


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

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Print the help where nothing is asked for; versions of click differ in how they do."""
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help(), err=True)
            ctx.exit(EXIT_REQUEST)
        return super().parse_args(ctx, args)

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
    _replace_closed_streams()
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    debug = "--debug" in sys.argv[1:]
    click.version_option(version, message="%(prog)s %(version)s")(group)
    click.option("--debug", is_flag=True, expose_value=False, help="Show tracebacks.")(group)
    code = _exit_code(group, arguments, debug)
    return max(code, _flushed(debug))


def _exit_code(group: click.Group, arguments: list[str], debug: bool) -> int:
    try:
        # Not click's main(), which makes exit code 1 of a reader that has gone.
        with group.make_context(group.name, arguments, obj={"debug": debug}) as context:
            code = group.invoke(context)
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
    except ImportError as error:
        if (error.name or "").partition(".")[0] in _OWN_PACKAGES:
            return _unforeseen(error, debug)
        # A library that is linked to others than those that are here, or built for another numpy.
        words = f"expected libraries that load; got {error}; see which does not: dermedge doctor"
        return _fail(words, EXIT_REQUEST, debug)
    except PermissionError as error:
        where = f" {error.filename}" if error.filename else ""
        words = f"expected to be allowed to use{where}; got {error.strerror}; run it with sudo"
        return _fail(words, EXIT_REQUEST, debug)
    except OSError as error:
        if error.errno in _OUTPUT_LOST:
            return _lost(error, debug)
        return _unforeseen(error, debug)
    except Exception as error:  # the last line of defence: exit 5, never a bare traceback
        return _unforeseen(error, debug)


def _unforeseen(error: Exception, debug: bool) -> int:
    return _fail(
        f"unforeseen {type(error).__name__}: {error}; run again with --debug and report it",
        EXIT_OTHER,
        debug,
    )


def _fail(message: str, code: int, debug: bool) -> int:
    with contextlib.suppress(OSError):  # nobody reads stderr: the exit code still tells
        if debug:
            traceback.print_exc()
        print(f"error: {' '.join(message.split())}", file=sys.stderr, flush=True)
    return code


def _replace_closed_streams() -> None:
    """Open the streams that the caller closed (``>&-``) on the null device.

    Otherwise the next file that is opened gets the number of stdout, and what libraries print
    goes into it. The lowest free number is taken, so the order is that of the numbers.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))


def _flushed(debug: bool) -> int:
    """Write what stdout and stderr hold back; the exit code of a stdout that is lost, else 0.

    A stream that fails goes to the null device from then on: the interpreter would try again when
    it ends, and complain.
    """
    code = 0
    try:
        sys.stdout.flush()
    except OSError as error:
        _silence(1)
        code = _lost(error, debug)
    try:
        sys.stderr.flush()
    except OSError:
        _silence(2)
    return code


def _lost(error: OSError, debug: bool) -> int:
    if error.errno == errno.EPIPE:  # head or less has seen enough: nobody is to be told
        return InputError.exit_code
    return _fail(
        f"expected to write all of the output; got {error.strerror}; free some space",
        InputError.exit_code,
        debug,
    )


def _silence(number: int) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, number)
    os.close(null)
