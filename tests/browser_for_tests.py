"""A real browser, driven through its debugging pipe: pages, questions to them, screenshots."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

PATIENCE_S = 30.0


def find_browser() -> str | None:
    """Path of a Chromium, or ``None``."""
    return shutil.which("chromium") or shutil.which("google-chrome")


class Browser:
    """One page in a headless Chromium; use it in a ``with`` statement."""

    def __init__(self, program: str, folder: Path, size_wh: tuple[int, int] = (1280, 800)) -> None:
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()
        command = (
            f'exec "{program}" --headless=new --no-sandbox --disable-gpu --hide-scrollbars '
            f'--user-data-dir="{folder}" --remote-debugging-pipe --no-first-run '
            f"--window-size={size_wh[0]},{size_wh[1]} about:blank 3<&{to_browser} 4>&{from_browser}"
        )
        self._process = subprocess.Popen(
            ["bash", "-c", command],
            pass_fds=[to_browser, from_browser],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._number = 0
        self._buffer = b""
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        attached = self._call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        self._call(
            "Emulation.setDeviceMetricsOverride",
            width=size_wh[0],
            height=size_wh[1],
            deviceScaleFactor=1,
            mobile=False,
        )

    def open(self, address: str) -> None:
        """Go to a page."""
        self._call("Page.navigate", url=address)

    def evaluate(self, script: str) -> Any:
        """Value of a JavaScript expression on the page."""
        said = self._call("Runtime.evaluate", expression=script, returnByValue=True)
        return said["result"].get("value")

    def until(self, script: str, patience_s: float = PATIENCE_S) -> None:
        """Wait until an expression is true."""
        end_s = time.monotonic() + patience_s
        while not self.evaluate(script):
            if time.monotonic() > end_s:
                raise TimeoutError(f"{script} is still {self.evaluate(script)!r}")
            time.sleep(0.05)

    def screenshot(self, path: Path) -> None:
        """What is seen now, as PNG."""
        data = self._call("Page.captureScreenshot", format="png")["data"]
        path.write_bytes(base64.b64decode(data))

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._write)
        os.close(self._read)

    def _call(self, method: str, **params: Any) -> Any:
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if hasattr(self, "_session"):
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        end_s = time.monotonic() + PATIENCE_S
        while True:
            answer = self._receive(end_s - time.monotonic())
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def _receive(self, timeout_s: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            if not select.select([self._read], [], [], max(0.0, timeout_s))[0]:
                raise TimeoutError("the browser does not answer")
            chunk = os.read(self._read, 1 << 16)
            if not chunk:
                raise ConnectionError("the browser has ended")
            self._buffer += chunk
        line, self._buffer = self._buffer.split(b"\0", 1)
        parsed: dict[str, Any] = json.loads(line)
        return parsed
