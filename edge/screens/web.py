"""A local web page with the live picture, for phones and for devices without a screen."""

from __future__ import annotations

import asyncio
import fcntl
import hmac
import json
import logging
import secrets
import socket
import struct
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import cv2
import numpy as np

from edge.controls import Controls, Wish
from edge.errors import InputError, RequestError
from edge.overlay.layout import Room
from edge.screens.base import Presented, Shown
from edge.screens.web_state import page_state
from edge.status import Status

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

VIEWERS_MAX = 8
LONG_SIDE_PX, JPEG_QUALITY = 1280, 80
SILENT_AFTER_S = 3.0
"""A picture that nothing has replaced for so long is not live, unless it is frozen."""

ANSWER_AFTER_S = 1.0
"""A request that waits for a picture is answered without one after this: the device is there."""

TOKEN_CHARS_MIN = 16
END_WITHIN_S = 2.0

_PAGE = Path(__file__).with_name("page")
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
LOOPBACK = ("127.0.0.1", "localhost", "::1")
_COOKIE = "dermedge_token"
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}

_log = logging.getLogger("dermedge.screen")


def new_token() -> str:
    """A token that nobody guesses."""
    return secrets.token_urlsafe(18)


class WebScreen:
    """Serves the page on threads of its own; pictures are encoded only while somebody looks.

    A viewer asks for the picture after the one it has, and gets the newest with everything that
    belongs to it: a slow one skips pictures, and nothing is queued. The page covers the picture by
    itself when no answer comes for two seconds.

    On the loopback address anybody at this machine may look. Elsewhere a token is needed, once in
    the address (``/?token=...``), then as a cookie. Names of other hosts are refused, so that a
    page of the web cannot look through a browser on this machine, and wishes need a header that no
    other page can send.

    Args:
        controls: Told what is asked for on the page.
        status: Says how the run stands.
        host: Address to listen on.
        port: Port; 0 takes a free one.
        token: At least 16 characters; needed unless ``host`` is the loopback.

    Raises:
        RequestError: Another address without a token, or one too short.
    """

    room: Room | None = None

    def __init__(
        self,
        controls: Controls,
        status: Status,
        *,
        host: str = "127.0.0.1",
        port: int = 8080,
        token: str = "",
        tell_token: bool = False,
    ) -> None:
        if token and len(token) < TOKEN_CHARS_MIN or not token and host not in LOOPBACK:
            raise RequestError(
                f"a token of at least {TOKEN_CHARS_MIN} characters for a web page on {host}",
                got=f"{len(token)} characters" if token else "none",
                next_step="set [web] token, or listen on 127.0.0.1",
            )
        self.name = f"web {host}:{port}"
        self._controls = controls
        self._status = status
        self._host, self._port, self._token = host, port, token
        self._tell_token = tell_token
        self._lock = threading.Lock()
        self._shown: Shown | None = None
        self._shown_s = 0.0
        self._jpeg: tuple[int, bytes] = (-1, b"")
        self._viewers = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._new: asyncio.Event | None = None
        self._server: Any = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port that is listened on; the real one once open."""
        return self._port

    def open(self) -> None:
        """Listen.

        Raises:
            RequestError: The server's packages are not installed.
            InputError: The address or port cannot be had.
        """
        uvicorn, app = _server_of(self)
        listener = self._listen()
        self._port = listener.getsockname()[1]
        config = uvicorn.Config(
            app,
            log_config=None,
            log_level="critical",
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=1,
            h11_max_incomplete_event_size=16384,
            limit_concurrency=4 * VIEWERS_MAX,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._serve, args=(self._server, listener), name="web", daemon=True
        )
        self._thread.start()
        query = f"?token={self._token}" if self._token and self._tell_token else ""
        more = " with the token of the configuration" if self._token and not query else ""
        for host in _reachable_at(self._host):
            _log.info("web page: http://%s:%d/%s%s", host, self._port, query, more)

    def show(self, shown: Shown) -> Presented | None:
        """Keep the newest picture for whoever asks. What a browser adds to its age is unknown."""
        with self._lock:
            self._shown, self._shown_s = shown, time.monotonic()
        loop, new = self._loop, self._new
        if loop is not None and new is not None and self._viewers:
            try:
                loop.call_soon_threadsafe(new.set)
            except RuntimeError as error:
                raise InputError(
                    "the web server to run", got=str(error), next_step="it is started again"
                ) from error
        return self.poll()

    def poll(self) -> Presented | None:
        """Nothing to hear: wishes come through the controls.

        Raises:
            InputError: The server has ended.
        """
        if self._thread is None or not self._thread.is_alive():
            raise InputError("the web server to run", got="it has ended", next_step="see the log")
        shown = self._shown
        return None if shown is None else Presented(shown.number, time.monotonic_ns())

    def close(self) -> None:
        """Stop listening and end every answer that waits; calling it twice is harmless."""
        server, thread = self._server, self._thread
        self._server = self._thread = None
        if server is not None:
            server.should_exit = True
            if self._loop is not None and self._new is not None:
                self._loop.call_soon_threadsafe(self._new.set)
        if thread is not None:
            thread.join(END_WITHIN_S / 2)
            if thread.is_alive() and server is not None:
                server.force_exit = True
                thread.join(END_WITHIN_S / 2)
        self._loop = self._new = None

    # --- on the server's thread -------------------------------------------------------------------

    def _listen(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((self._host, self._port))
            listener.listen(32)
        except OSError as error:
            listener.close()
            raise InputError(
                f"to listen on {self._host} port {self._port}",
                got=error.strerror or str(error),
                next_step="choose another port: --sink web:HOST:PORT",
            ) from error
        return listener

    def _serve(self, server: Any, listener: socket.socket) -> None:
        async def main() -> None:
            self._loop, self._new = asyncio.get_running_loop(), asyncio.Event()
            await server.serve(sockets=[listener])

        try:
            asyncio.run(main())
        except Exception:
            _log.exception("the web server ended")
        finally:
            listener.close()

    async def live(self, request: Request) -> Response:
        """The picture after the one that the viewer has, or after a second the state alone."""
        from starlette.responses import Response

        if self._viewers >= VIEWERS_MAX:
            return Response("too many viewers", 503, _HEADERS)
        after = request.query_params.get("after", "-1")
        number = int(after) if after.lstrip("-").isdigit() and len(after) < 12 else -1
        self._viewers += 1
        try:
            await self._wait_for_newer(number)
        finally:
            self._viewers -= 1
        with self._lock:
            shown, shown_s = self._shown, self._shown_s
        waited_s = time.monotonic() - shown_s
        silent_s = waited_s if shown is not None and waited_s > SILENT_AFTER_S else None
        state = json.dumps(page_state(shown, self._status.snapshot(), silent_s)).encode()
        jpeg = b""
        if shown is not None and shown.number != number:
            jpeg = await asyncio.get_running_loop().run_in_executor(None, self._encoded, shown)
        body = struct.pack("<I", len(state)) + state + jpeg
        return Response(body, 200, _HEADERS, media_type="application/octet-stream")

    async def _wait_for_newer(self, number: int) -> None:
        until_s = time.monotonic() + ANSWER_AFTER_S
        while self._server is not None and self._new is not None:
            if self._shown is not None and self._shown.number != number:
                return
            left_s = until_s - time.monotonic()
            if left_s <= 0.0:
                return
            self._new.clear()
            try:
                await asyncio.wait_for(self._new.wait(), left_s)
            except asyncio.TimeoutError:  # before Python 3.11 another class than TimeoutError
                return

    def _encoded(self, shown: Shown) -> bytes:
        """The picture as JPEG, encoded once for all viewers."""
        with self._lock:
            if self._jpeg[0] == shown.number:
                return self._jpeg[1]
        picture = shown.picture
        height, width = picture.shape[:2]
        if max(width, height) > LONG_SIDE_PX:
            scale = LONG_SIDE_PX / max(width, height)
            small = cv2.resize(
                picture, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA
            )
            picture = np.asarray(small, np.uint8)
        bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
        _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        jpeg = data.tobytes()
        with self._lock:
            self._jpeg = (shown.number, jpeg)
        return jpeg

    async def wish(self, request: Request) -> Response:
        """Somebody asks for something on the page."""
        from starlette.responses import Response

        wish = request.path_params["wish"]
        if wish not in get_args(Wish):
            return Response("no such wish", 404, _HEADERS)
        if request.headers.get("x-dermedge") != "1":
            return Response("not from this page", 403, _HEADERS)
        self._controls.ask(wish, "web")
        return Response(status_code=204, headers=_HEADERS)

    async def result(self, request: Request) -> Response:
        """The newest Result as JSON."""
        from starlette.responses import JSONResponse, Response

        shown = self._shown
        if shown is None:
            return Response("no result yet", 503, _HEADERS)
        return JSONResponse(shown.result.to_json_dict(), headers=_HEADERS)

    async def health(self, request: Request) -> Response:
        """200 while the picture is live or frozen, else 503; no word about anybody's skin."""
        from starlette.responses import PlainTextResponse

        with self._lock:
            shown, shown_s = self._shown, self._shown_s
        waited_s = time.monotonic() - shown_s
        silent_s = waited_s if shown is not None and waited_s > SILENT_AFTER_S else None
        state = page_state(shown, self._status.snapshot(), silent_s)
        words = "ok" if state["dead"] is None else str(state["dead"])
        return PlainTextResponse(words, 200 if state["dead"] is None else 503, _HEADERS)

    async def page(self, request: Request) -> Response:
        """The page and its parts; a token in the address becomes a cookie."""
        from starlette.responses import RedirectResponse, Response

        given = request.query_params.get("token")
        if given is not None and self._is_token(given):
            answer: Response = RedirectResponse("/", 303, _HEADERS)
            answer.set_cookie(_COOKIE, given, httponly=True, samesite="strict")
            return answer
        name = request.path_params.get("name") or "index.html"
        path = _PAGE / name
        if path.suffix not in _TYPES or path.parent != _PAGE or not path.is_file():
            return Response("not found", 404, _HEADERS)
        return Response(path.read_bytes(), 200, _HEADERS, media_type=_TYPES[path.suffix])

    def refusal(self, request: Request) -> tuple[int, str] | None:
        """Why a request is not answered, or ``None``."""
        host = request.headers.get("host", "").rsplit(":", 1)[0].strip("[]")
        origin = request.headers.get("origin")
        if origin is not None and origin.partition("//")[2] != request.headers.get("host"):
            return 403, "not from this page"
        if not self._token:
            return None if host in LOOPBACK else (403, "another host's name")
        if request.url.path == "/healthz":
            return None
        given = request.cookies.get(_COOKIE) or request.query_params.get("token") or ""
        return None if self._is_token(given) else (401, "open the address with its token")

    def _is_token(self, given: str) -> bool:
        return bool(self._token) and hmac.compare_digest(given.encode(), self._token.encode())


SIOCGIFADDR = 0x8915
"""Linux's ``netdevice(7)``: the IPv4 address of an interface."""


def _reachable_at(host: str) -> list[str]:
    """Addresses that another machine may type; of "everywhere" those of this machine."""
    if host not in ("0.0.0.0", "::"):
        return [f"[{host}]" if ":" in host else host]
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", name.encode()[:15])
            try:
                answer = fcntl.ioctl(any_socket.fileno(), SIOCGIFADDR, request)
            except OSError:  # an interface without an address
                continue
            found.append(socket.inet_ntoa(answer[20:24]))
    return [address for address in found if not address.startswith("127.")] or ["127.0.0.1"]


def _server_of(screen: WebScreen) -> tuple[Any, Any]:
    """uvicorn, and the application that it is to run."""
    try:
        import uvicorn
        from starlette.applications import Starlette
        from starlette.responses import PlainTextResponse
        from starlette.routing import Route
    except ImportError as error:
        raise RequestError(
            "uvicorn and starlette, for the web page",
            got=f"no module {error.name}",
            next_step="in dermedge's folder: pip install '.[web]'",
        ) from error

    def guarded(handler: Any) -> Any:
        async def answer(request: Request) -> Response:
            refused = screen.refusal(request)
            if refused is not None:
                return PlainTextResponse(refused[1], refused[0], _HEADERS)
            answered: Response = await handler(request)
            return answered

        return answer

    async def broken(request: Request, error: Exception) -> Response:
        _log.error("web: %s %s: %s", request.method, request.url.path, error)
        return PlainTextResponse("the device could not answer", 500, _HEADERS)

    routes = [
        Route("/live", guarded(screen.live)),
        Route("/wish/{wish}", guarded(screen.wish), methods=["POST"]),
        Route("/result.json", guarded(screen.result)),
        Route("/healthz", guarded(screen.health)),
        Route("/", guarded(screen.page)),
        Route("/{name}", guarded(screen.page)),
    ]
    app = Starlette(routes=routes, exception_handlers={Exception: broken})
    app.router.redirect_slashes = False
    return uvicorn, app
