"""The child's side of :mod:`edge.child_process`."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Sequence
from typing import Any

from edge.errors import DermedgeError

LOOK_FOR_PARENT_S = 0.5

_LONGEST_MESSAGE_BYTES = 65536


class Link:
    """Messages to and from the parent; ends the process once the parent is gone.

    Args:
        descriptor: Number of the socket, as it stands on the command line.
    """

    def __init__(self, descriptor: int) -> None:
        # Both may go to every process of a service; the parent decides, and says so by the link.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
        self._socket = socket.socket(fileno=descriptor)

    def send(self, descriptors: Sequence[int] = (), /, **message: Any) -> None:
        """Give the parent one message."""
        try:
            socket.send_fds(self._socket, [json.dumps(message).encode()], descriptors)
        except OSError:
            raise SystemExit(0) from None  # the parent has gone: nobody wants to know

    def send_error(self, error: DermedgeError, what: str = "failed") -> None:
        """Give the parent an error for it to raise."""
        self.send(
            what=what,
            kind=type(error).__name__,
            expected=error.expected,
            got=error.got,
            next_step=error.next_step,
        )

    def receive(self, timeout_s: float | None = None) -> tuple[dict[str, Any], list[int]] | None:
        """The next message and its descriptors, which are the taker's to close.

        Args:
            timeout_s: ``None`` waits for as long as it takes.

        Returns:
            ``None`` where none comes in time.

        Raises:
            EOFError: The parent wants no more.
        """
        ready, _, _ = select.select([self._socket], [], [], timeout_s)
        if not ready:
            return None
        data, descriptors, _, _ = socket.recv_fds(self._socket, _LONGEST_MESSAGE_BYTES, 1)
        if not data:
            raise EOFError
        return json.loads(data), descriptors


def _end_with(parent: int) -> None:
    """End with the parent, which may be killed without a chance to say so.

    Not by PR_SET_PDEATHSIG: that is the death of the thread that started this process, and children
    are started again by threads of their own.
    """
    while os.getppid() == parent:
        time.sleep(LOOK_FOR_PARENT_S)
    os._exit(0)
