"""The camera that is configured, and what stands between it and the program."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from edge.appliance.system import run
from edge.doctor.line import Line
from edge.doctor.nodes import cause, is_inside_unit, way_in
from edge.doctor.question import ask
from edge.errors import DermedgeError, InputError
from edge.sources.uri import parse_source

ARGUS_UNIT = "nvargus-daemon.service"
ARGUS_SOCKET = Path("/tmp/argus_socket")
"""Where libargus, and with it ``nvarguscamerasrc``, looks for its daemon."""

SYSTEMD_WITHIN_S = 10.0

_TRY_PICAMERA2 = (
    f"try it: {sys.executable} -c "
    "'from picamera2 import Picamera2; print(Picamera2.global_camera_info())'"
)


def examine(text: str) -> Iterator[Line]:
    """Every line about a source, which is written as in the configuration."""
    uri = parse_source(text)
    if uri.kind == "v4l2":
        yield from _v4l2(text, uri.place)
        return
    yield from _others(text)
    if uri.kind == "argus":
        yield _argus_daemon(ARGUS_SOCKET)
    elif uri.kind == "picamera2":
        yield _picamera2(text, uri.place)


def _v4l2(text: str, place: str) -> Iterator[Line]:
    from edge.sources.v4l2_identity import Host, find_camera, list_cameras

    listing = list_cameras(Host())
    yield from _refused(listing.refused)
    try:
        camera, _ = find_camera(place, Host())
    except DermedgeError as error:
        # One that did not open has a line already.
        is_told = os.path.realpath(place) in listing.refused or not listing.cameras
        if not (listing.refused and is_told):
            yield Line("camera", "problem", error.got, error.next_step)
    else:
        yield Line("camera", "ok", f"{text} is {camera}")


def _others(text: str) -> Iterator[Line]:
    """Cameras that are there though another source is configured."""
    from edge.sources.v4l2_identity import Host, list_cameras

    listing = list_cameras(Host())
    yield from _refused(listing.refused)
    words = f"{listing}; the configuration takes {text}"
    yield Line("cameras", "ok" if listing.cameras else "note", words)


def _refused(nodes: dict[str, OSError]) -> Iterator[Line]:
    for node, error in nodes.items():
        number = error.errno or 0
        yield Line("camera", "problem", cause(number, [Path(node)]), way_in(number, "video"))


def _argus_daemon(socket: Path) -> Line:
    """Looked at from outside: a connection of ours could disturb a stream that runs."""
    state = _state_of(ARGUS_UNIT)
    is_there = _is_socket(socket)
    words = f"{ARGUS_UNIT} is {state}, {'' if is_there else 'no '}{socket}"
    if is_there and state not in ("inactive", "failed"):
        return Line("Argus", "ok", words)
    return Line("Argus", "problem", words, _argus_step(state, socket))


def _argus_step(state: str, socket: Path) -> str:
    if state == "not-found":
        return "apt-get install nvidia-l4t-camera (Jetson only)"
    if state == "unknown":
        return f"start nvargus-daemon; a container needs its socket: -v {socket}:{socket}"
    step = "sudo systemctl restart nvargus-daemon"
    if state == "active" and is_inside_unit():
        step += (
            "; if that does not help, the unit has a /tmp of its own: "
            "sudo dermedge service install --board jetson, with the wheels it came from"
        )
    return step


def _state_of(unit: str) -> str:
    """As systemd calls it; ``not-found``, or ``unknown`` where it does not tell."""
    command = ["systemctl", "show", "--property", "LoadState,ActiveState", unit]
    try:
        said = run(command, within_s=SYSTEMD_WITHIN_S)
    except InputError:
        return "unknown"
    known = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
    is_missing = known.get("LoadState") == "not-found"
    return "not-found" if is_missing else known.get("ActiveState", "unknown")


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.stat().st_mode)
    except OSError:
        return False


def _picamera2(text: str, place: str) -> Line:
    answer = ask("picamera2", place)
    if answer.found is not None:
        return Line("camera", "ok", f"{text} is {answer.found}")
    words = f"{answer.got}, for {text}"
    return Line("camera", "problem", words, answer.next_step or _TRY_PICAMERA2)
