"""What the two processes of a build say to each other: one order down, events up, a word to stop.

The order is JSON on the child's command line. Events are lines of JSON on a pipe. The child's
stdin is the way to stop it: a line, or the end of it, since then nobody waits for an answer.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

Failure = Literal["graph", "memory", "workspace", "output", "start", "compiler", "stopped"]
"""Why there is no engine: the parser refused the graph; there was no memory; a layer needs more
workspace than it may use; the engine's file cannot be written; TensorRT finds no device; the
compiler failed otherwise; somebody wanted it to stop."""

Event = dict[str, Any]
"""``event`` names what happened; the other keys belong to it."""

STOP = b"stop\n"

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


@dataclass(frozen=True)
class Order:
    """What the child is to do.

    Attributes:
        work: ``build`` an engine, list the ``layers`` of one, or say which ``device`` this is.
        parent_pid: Process that waits for the answer.
        events_fd: Where events go.
        graph_fd: The ONNX file to compile, or the engine whose layers are wanted.
        engine_fd: Where the engine goes; open for writing.
        timing_fd: The timing cache, empty where there is none; it is replaced by what is known
            after the build.
        max_batch: Largest batch of the profile.
        opt_batch: The batch that it is tuned for.
        optimization_level: TensorRT's, 0 to 5.
        workspace_bytes: Scratch memory that one layer may use.
        tactic_bytes: Memory that the trial of one tactic may use.
        detailed: Whether the engine can tell its layers.
    """

    work: Literal["build", "layers", "device"]
    parent_pid: int
    events_fd: int
    graph_fd: int = -1
    engine_fd: int = -1
    timing_fd: int = -1
    max_batch: int = 1
    opt_batch: int = 1
    optimization_level: int = 3
    workspace_bytes: int = 0
    tactic_bytes: int = 0
    detailed: bool = True

    def to_json(self) -> str:
        """For the command line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Order:
        """What :meth:`to_json` wrote."""
        return cls(**json.loads(text))


class BuildFailed(Exception):
    """There is no engine; raised in the child, and told to the parent.

    Args:
        kind: Why, for the parent to act on.
        text: Why, in words.
        errno: The system's number where a file could not be written.
    """

    def __init__(self, kind: Failure, text: str, errno: int = 0) -> None:
        self.kind, self.text, self.errno = kind, text, errno
        super().__init__(text)


class Uplink:
    """The child's end: it sends events and hears the word to stop.

    Args:
        order: Says where events go and who the parent is.
    """

    def __init__(self, order: Order) -> None:
        self._fd = order.events_fd
        self._lock = threading.Lock()  # TensorRT reports progress from threads of its own
        self._stop = threading.Event()
        self._parent_pid = order.parent_pid

    @property
    def stopped(self) -> bool:
        """Whether the build is no longer wanted."""
        return self._stop.is_set()

    def send(self, event: str, **facts: object) -> None:
        """Send an event; a parent that has gone is a reason to stop, not an error."""
        line = json.dumps({"event": event, **facts}).encode() + b"\n"
        with self._lock:
            try:
                while line:
                    line = line[os.write(self._fd, line) :]
            except OSError:
                self._stop.set()

    def listen(self) -> None:
        """Die with the parent, however it ends, and hear the word to stop from now on."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != self._parent_pid:
            os._exit(1)  # it ended before it could be watched
        threading.Thread(target=self._hear, name="stop", daemon=True).start()

    def _hear(self) -> None:
        # Not through sys.stdin, whose lock this thread would hold when the interpreter ends.
        os.read(0, len(STOP))
        self._stop.set()


class Downlink:
    """The parent's end of the events: whole lines, as they come.

    Args:
        fd: The pipe's end; closed by :meth:`close`.
    """

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self.fd = fd
        self.ended = False
        self._rest = b""

    def events(self) -> Iterator[Event]:
        """What has come since the last call; never waits."""
        while not self.ended:
            try:
                content = os.read(self.fd, 1 << 16)
            except BlockingIOError:
                return
            self.ended = not content
            *lines, self._rest = (self._rest + content).split(b"\n")
            for line in lines:
                # A child that was killed half way through a line says nothing more.
                with contextlib.suppress(ValueError):
                    yield json.loads(line)

    def close(self) -> None:
        """Let the pipe go."""
        os.close(self.fd)
