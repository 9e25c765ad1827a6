"""``/metrics`` and ``/healthz`` for a monitoring, on a port of their own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from socketserver import TCPServer, ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import make_wsgi_app

from edge.errors import InputError
from edge.telemetry.meter import Meter

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_ASKER_WITHIN_S = 5.0
_log = logging.getLogger("dermedge.telemetry")


class _Server(ThreadingMixIn, WSGIServer):
    def server_bind(self) -> None:
        """As WSGIServer does, which asks the network for this machine's name: it may be away."""
        TCPServer.server_bind(self)
        host, self.server_port = self.server_address[:2]
        self.server_name = str(host)
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Each asker on a thread of its own, named so that nobody takes it for one of a run."""
        threading.Thread(
            target=self.process_request_thread,
            args=(request, client_address),
            name="telemetry answer",
            daemon=True,
        ).start()


class _Handler(WSGIRequestHandler):
    timeout = _ASKER_WITHIN_S  # one that says nothing holds a thread, not for ever

    def log_message(self, format: str, *args: object) -> None:
        """Questions are not worth a line."""


class Endpoint:
    """Answers until it is closed.

    Args:
        host: To listen at.
        port: 0 takes any.
        meter: Whose figures.

    Raises:
        InputError: It cannot listen there.
    """

    def __init__(self, host: str, port: int, meter: Meter) -> None:
        self._metrics = make_wsgi_app(meter.registry)
        self._meter = meter
        try:
            self._server = make_server(
                host, port, self._answer, server_class=_Server, handler_class=_Handler
            )
        except (OSError, OverflowError) as error:
            raise InputError(
                f"to listen at {host}:{port} for a monitoring",
                got=getattr(error, "strerror", None) or str(error),
                next_step="choose another [telemetry] listen",
            ) from error
        self.port = self._server.server_port
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.2,), name="telemetry", daemon=True
        )
        self._thread.start()
        _log.info("figures for a monitoring: http://%s:%d/metrics", host, self.port)

    def close(self) -> None:
        """Answer nobody any more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(2.0)

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == "/metrics":
            answer: Iterable[bytes] = self._metrics(environ, start_response)
            return answer
        plain = [("Content-Type", "text/plain; charset=utf-8")]
        if path == "/healthz":
            words = self._meter.health()
            start_response("503 Service Unavailable" if words else "200 OK", plain)
            return [(words or "ok").encode()]
        start_response("404 Not Found", plain)
        return [b"/metrics or /healthz"]
