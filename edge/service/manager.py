"""Messages to the service manager: systemd's notification protocol, sd_notify(3)."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Mapping


class Manager:
    """Tells the service manager how it goes; says nothing where there is none.

    Safe to use from any thread.

    Args:
        environment: Where ``NOTIFY_SOCKET`` and ``WATCHDOG_USEC`` are looked up.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._lock = threading.Lock()
        self._last_status = ""
        self._is_stopping = False
        usec = environment.get("WATCHDOG_USEC", "")
        mine = environment.get("WATCHDOG_PID", "") in ("", str(os.getpid()))
        self.watchdog_s: float | None = int(usec) / 1e6 if usec.isdigit() and mine else None
        """A service that has not fed the watchdog for so long is ended; ``None``: it has none."""

    @property
    def is_there(self) -> bool:
        """Whether anybody listens."""
        return bool(self._address)

    def ready(self) -> None:
        """The start is over: somebody sees a picture, or the reason why there is none."""
        self._send("READY=1")

    def status(self, words: str) -> None:
        """One line for ``systemctl status``."""
        line = " ".join(words.split())
        if line != self._last_status:
            self._last_status = line
            self._send(f"STATUS={line}")

    def feed(self) -> None:
        """Feed the watchdog."""
        self._send("WATCHDOG=1")

    def extend(self, seconds: float) -> None:
        """Ask for so much more time, from now, to start; an end has the time that the unit says."""
        if not self._is_stopping:
            self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * 1e6)}")

    def stopping(self) -> None:
        """It ends, and is not to be taken for one that hangs."""
        self._is_stopping = True
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        address = self._address
        if address.startswith("@"):  # Linux's abstract names
            address = "\0" + address[1:]
        with self._lock, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
            to.settimeout(1.0)
            try:
                to.sendto(message.encode("utf-8"), address)
            except OSError:
                return  # a manager that cannot be told ends the service when it misses the words
