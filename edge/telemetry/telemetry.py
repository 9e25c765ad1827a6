"""All of it as one, following the configuration from one run to the next."""

from __future__ import annotations

import logging
from pathlib import Path
from types import TracebackType

from edge.config import TelemetrySection, parse_listen
from edge.errors import DermedgeError
from edge.telemetry.endpoint import Endpoint
from edge.telemetry.lines import Lines
from edge.telemetry.meter import Meter

THREADS = "telemetry"
"""With this the names of all its threads begin: they outlive a run."""

_log = logging.getLogger("dermedge.telemetry")


class Telemetry:
    """Measures, and tells those whom the configuration names; use it in a ``with`` statement."""

    def __init__(self) -> None:
        self.meter = Meter()
        self._section = TelemetrySection()
        self._endpoint: Endpoint | None = None
        self._lines: Lines | None = None

    def __enter__(self) -> Telemetry:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close()

    def follow(self, section: TelemetrySection) -> None:
        """Tell those whom this names from now on.

        An endpoint that cannot listen is told in the log: figures never keep a picture away.
        """
        is_same = section == self._section
        if is_same and (self._endpoint is not None or not section.listen):
            return
        self._close()
        self._section = section
        if section.folder:
            keep_bytes = section.keep_mb << 20
            self._lines = Lines(Path(section.folder), self.meter, section.every_s, keep_bytes)
        if section.listen:
            host, port = parse_listen(section.listen)
            try:
                self._endpoint = Endpoint(host, port, self.meter)
            except DermedgeError as error:
                _log.warning("no figures for a monitoring: %s", error)

    def _close(self) -> None:
        if self._endpoint is not None:
            self._endpoint.close()
        if self._lines is not None:
            self._lines.close()
        self._endpoint = self._lines = None
