"""A question to a library that may crash, hang or print: it is asked in a process of its own.

The child's side is ``python -m edge.doctor.question KIND ARGUMENT...``.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Literal

from edge.errors import InputError, RequestError
from edge.gstreamer import GI_PACKAGES, load_gstreamer
from edge.own_module import own_module
from edge.system_packages import how_to_install

WITHIN_S = 30.0
"""A first start loads libraries from a card."""


@dataclass(frozen=True)
class Answer:
    """What came back.

    Attributes:
        found: What is there, in words; ``None`` where it is not.
        got: Why it is not.
        next_step: What to do about it; empty where that is not known.
    """

    found: str | None
    got: str = ""
    next_step: str = ""


def ask(kind: Literal["gstreamer", "picamera2"], *arguments: str) -> Answer:
    """Ask a library.

    Args:
        kind: Which.
        arguments: ``gstreamer``: each element that is needed and the package that brings it;
            ``picamera2``: the camera, as in ``picamera2:CAMERA``.

    Returns:
        Its answer; one of a library that crashes or hangs has no next step.
    """
    command = [sys.executable, *own_module("edge.doctor.question"), kind, *arguments]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=WITHIN_S,
        )
    except subprocess.TimeoutExpired:
        return Answer(None, f"no answer within {WITHIN_S:g} s")
    with suppress(ValueError):  # it ended before it could answer
        return Answer(**json.loads(done.stdout))
    said = (done.stderr.strip().splitlines() or ["no word"])[-1]
    return Answer(None, f"its process ended ({_ending(done.returncode)}): {said[:160]}")


def _ending(code: int) -> str:
    return (signal.strsignal(-code) if code < 0 else None) or str(code)


# --- the child's side -----------------------------------------------------------------------------


def _gstreamer(*pairs: str) -> Answer:
    elements = dict(zip(pairs[::2], pairs[1::2], strict=True))
    for element, package in elements.items():
        try:
            load_gstreamer("dermedge", {element: package})
        except RequestError as error:
            step = how_to_install(f"{GI_PACKAGES} {package}")
            return Answer(None, f"{element}: {error.got[:160]}", step)
    return Answer(", ".join(elements))


def _picamera2(place: str) -> Answer:
    # Imported here: it brings numpy, of which the other kind has no need.
    from edge.sources.picamera import find_camera

    try:
        library = importlib.import_module("picamera2")
    # What a library that fits nothing raises is its own affair: ImportError, ValueError, ...
    except Exception as error:
        words = " ".join(f"{type(error).__name__}: {error}".split())[:160]
        return Answer(None, words, how_to_install("python3-picamera2"))
    try:
        # A list and no more: the camera itself may be in the service's hands.
        return Answer(find_camera(library.Picamera2.global_camera_info(), place)[1])
    except InputError as error:
        return Answer(None, error.got, error.next_step)


_ASKED: dict[str, Callable[..., Answer]] = {"gstreamer": _gstreamer, "picamera2": _picamera2}


def main() -> None:
    """Answer the parent that started this process: one JSON object on its standard output."""
    kind, *arguments = sys.argv[1:]
    answers = os.dup(1)
    os.dup2(2, 1)  # what a library prints is no answer
    answer = _ASKED[kind](*arguments)
    os.write(answers, json.dumps(asdict(answer)).encode())
    os._exit(0)  # what a library does at its end is not asked


if __name__ == "__main__":
    main()
