"""The first lines of the three console commands: stop signals from the first moment on.

Imports nothing that takes time, so that the signals are handled before anything does.
"""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType

EXIT_INTERRUPTED = 130


def run_until_stopped(command: Callable[[], int]) -> int:
    """Run a console command; SIGTERM ends it with exit code 0, Ctrl-C with 130 and one line.

    Both are exceptions in the middle of the work, for what has nothing to finish yet; a command
    that has (``edge.stop``) handles them itself meanwhile. Only the main thread may call this.

    Returns:
        The exit code.
    """
    asked: list[int] = []
    with _raising(asked):
        try:
            code = command()
        except KeyboardInterrupt:
            code = EXIT_INTERRUPTED
            with contextlib.suppress(OSError):
                print("error: stopped by Ctrl-C", file=sys.stderr)
    # An import that a signal interrupts may turn the exception into one of its own.
    return asked[0] if asked else code


@contextlib.contextmanager
def _raising(asked: list[int]) -> Iterator[None]:
    def terminate(number: int, frame: FrameType | None) -> None:
        asked.append(0)
        raise SystemExit(0)

    def interrupt(number: int, frame: FrameType | None) -> None:
        asked.append(EXIT_INTERRUPTED)
        raise KeyboardInterrupt

    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, terminate)}
    # A shell's background job ignores Ctrl-C, and goes on ignoring it.
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        before[signal.SIGINT] = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
