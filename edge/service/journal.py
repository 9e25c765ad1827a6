"""Log lines as journald reads them: a priority in front, no time of their own."""

from __future__ import annotations

import logging
import sys

_PRIORITIES = (
    (logging.CRITICAL, 2),
    (logging.ERROR, 3),
    (logging.WARNING, 4),
    (logging.INFO, 6),
    (logging.NOTSET, 7),
)
"""Levels of syslog(3), from sd-daemon(3)."""


class _JournalFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """Every line of a message gets the priority: journald takes lines one by one."""
        priority = next(value for level, value in _PRIORITIES if record.levelno >= level)
        text = super().format(record)
        return "\n".join(f"<{priority}>{line}" for line in text.splitlines() or [""])


def log_to_journal(*, debug: bool) -> None:
    """Log to standard error, which the unit connects to the journal."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JournalFormatter("%(name)s: %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.DEBUG if debug else logging.INFO)
