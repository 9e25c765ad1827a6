"""Cases of one run: saves stills, and says it before the press where none can be saved."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from edge.away import Away
from edge.cases.writer import CaseWriter
from edge.controls import Command
from edge.errors import DermedgeError
from edge.overlay.notices import Notice
from edge.session import Frozen
from edge.sources.integrity import printable

_log = logging.getLogger("dermedge.cases")


class CaseKeeper:
    """Opens the folder, at once or when it is there.

    Args:
        writer: Not yet open.
        folder: Of the cases, for messages.
    """

    def __init__(self, writer: CaseWriter, folder: Path) -> None:
        self._writer = writer
        self._name = f"cases {printable(folder)}"
        self._lock = threading.Lock()
        self._is_open = False
        self._away: Away | None = None

    def open(self, *, may_wait: bool) -> None:
        """Make the folder ready.

        Args:
            may_wait: A folder that cannot be written is told, and tried again now and then and at
                every press.

        Raises:
            OutputError: It cannot be written, and may not wait.
        """
        try:
            self._open()
        except DermedgeError as error:
            if not may_wait:
                raise
            _log.error("case: none can be saved: %s", error)
            self._away = Away(self._name, self._open, error)

    def keep(self, frozen: Frozen, press: Command) -> str:
        """Save one frozen still; see :meth:`CaseWriter.keep`.

        Raises:
            InputError: It could not be saved; nothing of it is left.
        """
        self._open()
        return self._writer.keep(frozen, press)

    def notices(self) -> list[Notice]:
        """That no case can be saved, and why; the loop asks, and so the folder is tried again."""
        if self._away is not None and self._is_open:
            self._away = None
            _log.info("case: the folder can be written again")
        elif self._away is not None:
            self._away.try_when_due()
        return self.away()

    def away(self) -> list[Notice]:
        """The same for whoever only looks."""
        away = self._away
        return [] if away is None or self._is_open else [away.notice]

    def _open(self) -> None:
        # Once: opening removes what is unfinished, and by then that may be a case being saved.
        with self._lock:
            if not self._is_open:
                self._writer.open()
                self._is_open = True
