"""The web page: a real server, real requests, hostile ones too, and a real browser."""

from __future__ import annotations

import dataclasses
import http.client
import json
import logging
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from browser_for_tests import Browser, find_browser
from shots_for_tests import frame, result, shown

from edge.controls import Controls
from edge.errors import InputError, RequestError
from edge.no_live_image import no_live_result
from edge.screens import web as web_module
from edge.screens.base import Shown
from edge.screens.web import VIEWERS_MAX, WebScreen, new_token
from edge.screens.web_state import page_state
from edge.status import Snapshot, Status

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

TOKEN = "0123456789abcdef-token"


class Told(Status):
    """A status that says what the test wants."""

    def __init__(self) -> None:
        super().__init__()
        self.now = Snapshot()

    def snapshot(self) -> Snapshot:
        return self.now


@pytest.fixture
def serve():
    screens = []

    def start(**options) -> tuple[WebScreen, Controls, Told]:
        controls, status = Controls(), Told()
        screen = WebScreen(controls, status, port=0, **options)
        screen.open()
        screens.append(screen)
        return screen, controls, status

    yield start
    for screen in screens:
        began_s = time.monotonic()
        screen.close()
        screen.close()
        assert time.monotonic() - began_s < 3.0


def ask(screen: WebScreen, path: str, method: str = "GET", **headers: str):
    connection = http.client.HTTPConnection("127.0.0.1", screen.port, timeout=10)
    connection.request(
        method, path, headers={name.replace("_", "-"): text for name, text in headers.items()}
    )
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, body


def parts(body: bytes) -> tuple[dict, bytes]:
    (length,) = struct.unpack("<I", body[:4])
    return json.loads(body[4 : 4 + length]), body[4 + length :]


def picture(number: int, level: int = 100) -> Shown:
    return shown(number, np.full((96, 128, 3), level, np.uint8))


def test_a_picture_comes_with_its_own_regions_and_the_next_one_is_waited_for(serve):
    screen, _, _ = serve()
    screen.show(picture(1, 50))
    state, jpeg = parts(ask(screen, "/live?after=-1")[1])
    assert state["number"] == 1 and state["dead"] is None
    assert [region["letter"] for region in state["regions"]] == ["A"]
    seen = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert seen.shape == (96, 128, 3) and abs(int(seen.mean()) - 50) <= 1
    later = threading.Timer(0.3, screen.show, (picture(2),))
    later.start()
    began_s = time.monotonic()
    state, jpeg = parts(ask(screen, "/live?after=1")[1])
    assert state["number"] == 2 and jpeg
    assert 0.2 < time.monotonic() - began_s < 0.9
    later.join()  # it still uses the screen, which the test's end closes


def test_without_a_new_picture_the_state_comes_alone(serve):
    screen, _, _ = serve()
    screen.show(picture(1))
    state, jpeg = parts(ask(screen, "/live?after=1")[1])
    assert state["number"] == 1 and jpeg == b""


def test_a_large_picture_is_sent_smaller_and_encoded_once_for_all(serve, monkeypatch):
    encoded = []
    real = cv2.imencode

    def counting(*arguments):
        encoded.append(arguments[1].shape)
        return real(*arguments)

    monkeypatch.setattr(web_module.cv2, "imencode", counting)
    screen, _, _ = serve()
    screen.show(shown(1, np.zeros((2160, 3840, 3), np.uint8)))
    for _ in range(3):
        assert parts(ask(screen, "/live?after=-1")[1])[1]
    assert encoded == [(720, 1280, 3)]


def test_nothing_is_encoded_while_nobody_looks(serve, monkeypatch):
    monkeypatch.setattr(web_module.cv2, "imencode", lambda *_: pytest.fail("encoded for nobody"))
    screen, _, _ = serve()
    for number in range(50):
        assert screen.show(picture(number)).number == number


def test_a_slow_viewer_gets_the_newest_and_holds_nobody_up(serve):
    screen, _, _ = serve()
    screen.show(picture(0))
    slow = socket.create_connection(("127.0.0.1", screen.port))
    slow.sendall(b"GET /live?after=-1 HTTP/1.1\r\nHost: localhost\r\n\r\n")  # and never reads
    began_s = time.monotonic()
    for number in range(1, 200):
        screen.show(picture(number))
    assert time.monotonic() - began_s < 1.0
    assert parts(ask(screen, "/live?after=5")[1])[0]["number"] == 199
    slow.close()


def test_no_more_viewers_than_it_can_serve(serve):
    screen, _, _ = serve()
    screen.show(picture(0))
    codes = []

    def look() -> None:
        codes.append(ask(screen, "/live?after=0")[0].status)

    viewers = [threading.Thread(target=look) for _ in range(VIEWERS_MAX + 3)]
    for viewer in viewers:
        viewer.start()
    for viewer in viewers:
        viewer.join()
    assert sorted(codes) == [200] * VIEWERS_MAX + [503] * 3


# --- what may not be believed -------------------------------------------------------------------


def test_a_picture_that_nothing_replaces_is_dead_unless_it_is_frozen(serve, monkeypatch):
    monkeypatch.setattr(web_module, "SILENT_AFTER_S", 0.2)
    screen, _, status = serve()
    screen.show(picture(1))
    time.sleep(0.4)
    state, _ = parts(ask(screen, "/live?after=-1")[1])
    assert "no new picture" in state["dead"] and state["regions"] == []
    assert ask(screen, "/healthz")[0].status == 503
    status.now = Snapshot("frozen", "K7M2", ("Saved as case K7M2",))
    screen.show(dataclasses.replace(picture(2), view="still"))
    time.sleep(0.4)
    state, _ = parts(ask(screen, "/live?after=-1")[1])
    assert state["dead"] is None and state["frozen"] and "K7M2" in state["words"]
    assert state["said"] == ["Saved as case K7M2"]
    assert ask(screen, "/healthz")[0].status == 200


def test_no_live_image_has_no_table(serve):
    screen, _, _ = serve()
    some = frame(1)
    dead = no_live_result(some, "the camera has sent the same picture for 4 s")
    screen.show(Shown(1, np.zeros((96, 128, 3), np.uint8), some, dead, "live"))
    state, _ = parts(ask(screen, "/live?after=-1")[1])
    assert state["dead"] == "the camera has sent the same picture for 4 s"
    assert state["regions"] == [] and state["notes"] == []


def test_before_the_first_picture_it_says_so(serve):
    screen, _, _ = serve()
    state, jpeg = parts(ask(screen, "/live?after=-1")[1])
    assert state["dead"] == "waiting for the first picture" and jpeg == b""
    assert ask(screen, "/result.json")[0].status == 503


def test_the_words_of_a_region():
    answer = dataclasses.replace(
        result(frame(0), 2), label_text={"NEV": "모반"}, reasons=("classes are unvalidated",)
    )
    state = page_state(dataclasses.replace(shown(3), result=answer), Snapshot(), None)
    first, second = state["regions"]
    assert first["class"] == "모반" and first["share"] == "60%"
    assert first["redness"] == "unknown" and not first["redness_reliable"]
    assert second["class"] == "uncertain (모반)" and second["doubtful"]
    assert "Classes: unvalidated model" in state["notes"]
    assert "Research prototype. Not for diagnosis." in state["notes"]


def test_what_is_said_in_the_picture_is_on_the_page_once():
    """What the shutter says comes first; it stands in the picture too."""
    told = dataclasses.replace(shown(3), said=("Saving the still", "Colour is not locked"))
    state = page_state(told, Snapshot("freezing", None, ("Saving the still",)), None)
    assert state["said"] == ["Saving the still", "Colour is not locked"]


def test_what_is_hidden_in_the_picture_is_not_in_the_table():
    state = page_state(dataclasses.replace(shown(3), hidden=True), Snapshot(), None)
    assert state["regions"] == [] and state["notes"][0] == "Hidden: the view moves"


# --- wishes and strangers -----------------------------------------------------------------------


def test_wishes_of_the_page_come_through_and_those_of_other_pages_do_not(serve):
    screen, controls, _ = serve()
    assert ask(screen, "/wish/freeze", "POST", X_Dermedge="1")[0].status == 204
    command = controls.next()
    assert command is not None and (command.wish, command.origin) == ("freeze", "web")
    assert ask(screen, "/wish/freeze", "POST")[0].status == 403
    evil = ask(screen, "/wish/freeze", "POST", X_Dermedge="1", Origin="http://evil.example")
    assert evil[0].status == 403
    assert ask(screen, "/wish/format-disk", "POST", X_Dermedge="1")[0].status == 404
    assert ask(screen, "/wish/freeze", "GET", X_Dermedge="1")[0].status == 405
    assert controls.next() is None


@pytest.mark.parametrize("path", ["/", "/live", "/result.json", "/wish/freeze", "/healthz"])
def test_on_loopback_another_hosts_name_is_refused(serve, path: str):
    """A page of the web that has its name lead here must not see anything."""
    screen, _, _ = serve()
    assert ask(screen, path, Host="evil.example")[0].status in (403, 405)


def test_elsewhere_a_token_is_needed_once(serve):
    screen, _, _ = serve(host="0.0.0.0", token=TOKEN)
    screen.show(picture(1))
    for path in ("/", "/live?after=-1", "/result.json", "/page.js"):
        assert ask(screen, path)[0].status == 401
    assert ask(screen, "/?token=wrong")[0].status == 401
    answer, _ = ask(screen, f"/?token={TOKEN}")
    assert answer.status == 303
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie
    assert ask(screen, "/live?after=-1", Cookie=cookie.split(";")[0])[0].status == 200
    assert ask(screen, "/healthz")[0].status == 200


@pytest.mark.parametrize(
    ("host", "token"), [("0.0.0.0", ""), ("192.168.1.5", ""), ("0.0.0.0", "short"), ("::", "")]
)
def test_no_other_address_without_a_good_token(host: str, token: str):
    with pytest.raises(RequestError, match="a token of at least 16 characters"):
        WebScreen(Controls(), Status(), host=host, token=token)


def test_a_token_of_the_configuration_is_not_in_the_log(serve, caplog):
    """Logs are carried away on sticks."""
    with caplog.at_level(logging.INFO):
        serve(host="0.0.0.0", token=TOKEN)
        assert TOKEN not in caplog.text and "token of the configuration" in caplog.text
        serve(host="0.0.0.0", token=TOKEN, tell_token=True)
        assert TOKEN in caplog.text


def test_tokens_are_long_and_never_the_same():
    assert len(new_token()) >= 16 and new_token() != new_token()


@pytest.mark.parametrize(
    "path",
    [
        "/../pyproject.toml",
        "/%2e%2e/web.py",
        "/web.py",
        "/page",
        "/index.html/",
        "/a/b",
        "/nothing",
    ],
)
def test_only_the_pages_own_files_are_given(serve, path: str):
    screen, _, _ = serve()
    assert ask(screen, path)[0].status == 404


def test_every_answer_forbids_foreign_content(serve):
    screen, _, _ = serve()
    for path in ("/", "/page.js", "/style.css", "/live", "/nothing"):
        answer, body = ask(screen, path)
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Cache-Control"] == "no-store"
        assert b"http://" not in body and b"https://" not in body
        assert "server" not in answer.headers


@pytest.mark.parametrize(
    "raw",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET /live?after=%FF%FE HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /live?after=99999999999999999999 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST /wish/freeze HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\nx",
        b"",
    ],
)
def test_nonsense_does_not_shake_it(serve, raw: bytes):
    screen, _, _ = serve()
    screen.show(picture(1))
    with socket.create_connection(("127.0.0.1", screen.port), timeout=5) as stranger:
        stranger.sendall(raw)
        stranger.settimeout(2)
        try:
            said = stranger.recv(65536)
        except (TimeoutError, ConnectionError):
            said = b""
    assert b"Traceback" not in said
    assert ask(screen, "/live?after=-1")[0].status == 200


def test_a_port_in_use_is_one_line(serve):
    screen, _, _ = serve()
    with pytest.raises(
        InputError, match=r"to listen on 127\.0\.0\.1 port \d+; got Address already"
    ):
        WebScreen(Controls(), Status(), port=screen.port).open()


def test_it_opens_again_after_it_was_closed(serve):
    screen, _, _ = serve()
    screen.close()
    with pytest.raises(InputError, match="it has ended"):
        screen.show(picture(1))
    screen._port = 0
    screen.open()
    screen.show(picture(2))
    assert parts(ask(screen, "/live?after=-1")[1])[0]["number"] == 2


def test_closing_ends_requests_that_wait(serve):
    screen, _, _ = serve()
    screen.show(picture(1))
    waiting = threading.Thread(target=lambda: ask(screen, "/live?after=1"))
    waiting.start()
    time.sleep(0.2)
    began_s = time.monotonic()
    screen.close()
    waiting.join(5)
    assert not waiting.is_alive() and time.monotonic() - began_s < 2.5


# --- a browser ----------------------------------------------------------------------------------

_SERVER = """
import sys, time
import numpy as np
from pathlib import Path
from shots_for_tests import frame, result, shown
from edge.controls import Controls
from edge.overlay.overlay import Overlay
from edge.screens.web import WebScreen
from edge.status import Status
screen = WebScreen(Controls(), Status(), port=int(sys.argv[1]))
screen.open()
print(screen.port, flush=True)
number = 0
while True:
    number += 1
    screen.show(shown(number, np.full((480, 640, 3), 90 + number % 40, np.uint8)))
    time.sleep(0.1)
"""


@pytest.fixture
def browser(tmp_path: Path):
    program = find_browser()
    if program is None:
        pytest.skip("needs a browser: apt-get install chromium")
    with Browser(program, tmp_path / "profile", (360, 780)) as page:
        yield page


LIVE = "document.getElementById('dead').hidden && document.getElementById('picture').src !== ''"
DEAD = "!document.getElementById('dead').hidden"
ROWS = "document.querySelectorAll('#regions tr').length"


def test_a_browser_covers_the_picture_once_the_device_is_gone_and_shows_it_again(browser: Browser):
    tests = Path(__file__).parents[2]
    code = f"import sys; sys.path[:0] = [{str(tests.parent)!r}, {str(tests)!r}]\n" + _SERVER

    def start(port: int) -> tuple[subprocess.Popen[str], int]:
        server = subprocess.Popen(
            [sys.executable, "-c", code, str(port)], stdout=subprocess.PIPE, text=True
        )
        assert server.stdout is not None
        return server, int(server.stdout.readline())

    server, port = start(0)
    try:
        browser.open(f"http://127.0.0.1:{port}/")
        browser.until(LIVE)
        assert browser.evaluate(ROWS) == 1
        assert browser.evaluate("document.body.scrollWidth <= window.innerWidth")
        server.kill()
        server.communicate()
        killed_s = time.monotonic()
        browser.until(DEAD)
        assert time.monotonic() - killed_s < 4.0
        assert browser.evaluate(ROWS) == 0
        assert browser.evaluate("document.getElementById('state').textContent") == "no connection"
        assert "NO LIVE IMAGE" in browser.evaluate("document.body.innerText")
        server, _ = start(port)
        browser.until(LIVE)
        assert browser.evaluate(ROWS) == 1
    finally:
        server.kill()
        server.communicate()


def test_the_buttons_of_the_page_work_and_its_words_are_any_script(browser: Browser, serve):
    screen, controls, status = serve()
    korean = dataclasses.replace(result(frame(0), 1), label_text={"NEV": "모반 (母斑)"})
    screen.show(dataclasses.replace(picture(1), result=korean))
    browser.open(f"http://127.0.0.1:{screen.port}/")
    browser.until(LIVE)
    assert "모반 (母斑)" in browser.evaluate("document.getElementById('regions').textContent")
    browser.evaluate("document.getElementById('freeze').click()")
    end_s = time.monotonic() + 10.0
    while (command := controls.next()) is None and time.monotonic() < end_s:
        time.sleep(0.02)
    assert command is not None and command.wish == "freeze"
    status.now = Snapshot("frozen", "K7M2", ("Saved as case K7M2",))
    screen.show(dataclasses.replace(picture(2), view="still"))
    browser.until("!document.getElementById('release').hidden")
    assert "K7M2" in browser.evaluate("document.getElementById('state').textContent")
    assert browser.evaluate("document.getElementById('freeze').hidden")


def test_addresses_that_another_machine_may_type():
    from edge.screens.web import _reachable_at

    assert _reachable_at("192.0.2.7") == ["192.0.2.7"] and _reachable_at("::1") == ["[::1]"]
    found = _reachable_at("0.0.0.0")
    assert found and all(socket.inet_aton(address) for address in found)
    assert "0.0.0.0" not in found
