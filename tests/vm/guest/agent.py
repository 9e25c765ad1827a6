#!/usr/bin/python3
"""Runs commands for the tests: a JSON request per line over a serial line, answers the same way.

A request has ``number``, ``command`` (for a shell, as root) and ``limit_s``, after which the
command is killed. Answers carry the request's number, with ``said`` while it runs and ``code`` at
its end; a code of 124 stands for the limit.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
import tty


class Line:
    """The serial line; both ways are JSON with a line end."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
        if os.isatty(self._fd):
            tty.setraw(self._fd)
        self._rest = b""

    def receive(self) -> dict[str, object]:
        while True:
            line, end, rest = self._rest.partition(b"\n")
            if end:
                self._rest = rest
                try:
                    return json.loads(line)
                except ValueError:  # what came before both ends were open
                    continue
            more = os.read(self._fd, 65536)
            if not more:
                time.sleep(0.1)  # nobody holds the other end
            self._rest += more

    def send(self, **answer: object) -> None:
        data = json.dumps(answer).encode() + b"\n"
        while data:
            data = data[os.write(self._fd, data) :]


def serve(line: Line) -> None:
    request = line.receive()
    number = request["number"]
    job = subprocess.Popen(
        ["/bin/sh", "-c", str(request["command"])],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    assert job.stdout is not None
    end_s = time.monotonic() + float(str(request["limit_s"]))
    with selectors.DefaultSelector() as ready:
        ready.register(job.stdout, selectors.EVENT_READ)
        # A grandchild may hold the pipe open after the command has ended: then its end counts.
        while time.monotonic() < end_s:
            if ready.select(0.2):
                data = os.read(job.stdout.fileno(), 32768)
                if not data:
                    break
                line.send(number=number, said=data.decode("utf-8", "replace"))
            elif job.poll() is not None:
                break
    try:
        code = job.wait(max(0.0, end_s - time.monotonic()))
    except subprocess.TimeoutExpired:
        os.killpg(job.pid, signal.SIGKILL)
        code = 124
    line.send(number=number, code=code)


if __name__ == "__main__":
    here = Line(sys.argv[1])
    while True:
        serve(here)
