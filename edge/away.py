"""An output that cannot be written for now: why, and a thread that tries it again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from edge.errors import DermedgeError
from edge.overlay.notices import Notice

RETRY_S = 30.0
"""Pause before an output that has failed is opened again."""


class Away:
    """What is away; :meth:`try_when_due` never waits, so that a disk that hangs holds up nobody.

    Args:
        name: What people call it.
        open_again: Raises what still keeps it from being written.
        error: Why it is away.
        tries_again: False where it would begin anew and overwrite what it has written.
    """

    def __init__(
        self,
        name: str,
        open_again: Callable[[], None],
        error: Exception,
        *,
        tries_again: bool = True,
    ) -> None:
        self.name = name
        self._open_again = open_again
        self._words = _words(error)
        self._tries_again = tries_again
        self._retry_s = time.monotonic() + RETRY_S
        self._opening: threading.Thread | None = None
        self._is_open = False

    @property
    def is_back(self) -> bool:
        """Whether it is open again."""
        return self._is_open

    @property
    def notice(self) -> Notice:
        """What the person should know."""
        return Notice(f"NOT WRITTEN: {self.name}: {self._words}", "alarm")

    def try_when_due(self) -> None:
        """Begin to open it, where it is time to."""
        busy = self._opening is not None and self._opening.is_alive()
        if not self._tries_again or busy or time.monotonic() < self._retry_s:
            return
        self._retry_s = time.monotonic() + RETRY_S
        self._opening = threading.Thread(
            target=self._open, name=f"reopen {self.name[:40]}", daemon=True
        )
        self._opening.start()

    def _open(self) -> None:
        try:
            self._open_again()
        except Exception as error:  # told as it was before, until it works
            self._words = _words(error)
        else:
            self._is_open = True


def _words(error: Exception) -> str:
    return error.got if isinstance(error, DermedgeError) else str(error)
