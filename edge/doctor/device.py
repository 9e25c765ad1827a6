"""Camera, display, buttons, board and room: what this configuration needs on this device."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

from edge.board.state import read_board
from edge.config import Config
from edge.doctor.line import Line
from edge.errors import DermedgeError
from edge.uri import split_kind

HOT_C = 85.0
GSTREAMER_WITHIN_S = 30.0

_ELEMENTS = {
    "screen": ("kmssink", "gstreamer1.0-plugins-bad"),
    "argus": ("nvarguscamerasrc", "nvidia-l4t-gstreamer"),
}
_ASKS_GSTREAMER = (
    "import sys; from edge.gstreamer import load_gstreamer; "
    "load_gstreamer(sys.argv[1], dict([sys.argv[2:4]]))"
)


def examine(config: Config) -> Iterator[Line]:
    """Every line, as it is found."""
    yield _account()
    yield from _cameras(config.source.uri)
    yield from _displays(config.output.sinks)
    yield from _gstreamer(config)
    yield from _web(config.output.sinks)
    yield from _room(config)
    yield from _encoder(config.output.sinks)
    yield _fonts()
    yield from _board()


def _account() -> Line:
    try:
        name = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        name = str(os.geteuid())
    inside = " inside a service's sandbox" if os.environ.get("INVOCATION_ID") else ""
    return Line("account", "ok", f"{name}{inside}")


def _cameras(uri: str) -> Iterator[Line]:
    from edge.sources.v4l2_identity import Host, find_camera, list_cameras

    kind, place = split_kind(uri)
    listing = list_cameras(Host())
    for node, error in listing.refused.items():
        step = "sudo usermod -aG video $USER, then log in again"
        yield Line("camera", "problem", f"{node}: {error.strerror or error}", step)
    if kind != "v4l2":
        words = f"{listing}; the configuration takes {uri}"
        yield Line("cameras", "ok" if listing.cameras else "note", words)
        return
    try:
        camera, _ = find_camera(place.partition("?")[0], Host())
    except DermedgeError as error:
        yield Line("camera", "problem", error.got, error.next_step)
    else:
        yield Line("camera", "ok", f"{uri} is {camera}")


def _displays(sinks: tuple[str, ...]) -> Iterator[Line]:
    kinds = {split_kind(sink)[0]: split_kind(sink)[1] for sink in sinks}
    if "screen" in kinds:
        from edge.screens.connector import find_connector

        try:
            found = find_connector(kinds["screen"])
        except DermedgeError as error:
            yield Line("display", "note", error.got, "plug it in; it may come later")
        else:
            size = "x".join(map(str, found.size_wh)) if found.size_wh else "of unknown size"
            yield Line("display", "ok", f"{found.name}, {size}, driver {found.driver}")
    if "window" in kinds and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        step = "start it inside a desktop session, or use the sink screen:"
        yield Line("display", "note", "no desktop for a window", step)


def _gstreamer(config: Config) -> Iterator[Line]:
    """In a process of its own: a broken plug-in takes its process with it."""
    kinds = {split_kind(name)[0] for name in (*config.output.sinks, config.source.uri)}
    for kind, (element, package) in _ELEMENTS.items():
        if kind not in kinds:
            continue
        command = [sys.executable, "-c", _ASKS_GSTREAMER, f"{kind}:", element, package]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=GSTREAMER_WITHIN_S
            )
        except subprocess.TimeoutExpired:
            words = f"{element} does not load within {GSTREAMER_WITHIN_S:g} s"
            yield Line("GStreamer", "problem", words, f"gst-inspect-1.0 {element}")
            continue
        if done.returncode == 0:
            yield Line("GStreamer", "ok", f"{element}, for {kind}:")
            continue
        said = (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1]
        words = said.partition("got ")[2].partition(";")[0] or said
        step = f"apt-get install python3-gi gir1.2-gstreamer-1.0 {package}"
        yield Line("GStreamer", "problem", f"{element}, for {kind}: {words[:160]}", step)


def _web(sinks: tuple[str, ...]) -> Iterator[Line]:
    if not any(split_kind(sink)[0] == "web" for sink in sinks):
        return
    missing = [name for name in ("starlette", "uvicorn") if importlib.util.find_spec(name) is None]
    if missing:
        step = "in dermedge's folder: pip install '.[web]'"
        yield Line("web page", "problem", f"no {', '.join(missing)}", step)
    else:
        yield Line("web page", "ok", "starlette and uvicorn")


def _room(config: Config) -> Iterator[Line]:
    """Of the folders that are written to while it runs."""
    wanted = []
    if config.cases.folder:
        wanted.append(("cases", config.cases.folder, config.cases.reserve_mb))
    for sink in config.output.sinks:
        kind, place = split_kind(sink)
        if kind == "record":
            wanted.append(("recordings", place.partition("?")[0], config.record.reserve_mb))
    for name, text, reserve_mb in wanted:
        folder = Path(text)
        there = next((place for place in (folder, *folder.parents) if place.exists()), Path("/"))
        free_mb = shutil.disk_usage(there).free >> 20
        words = f"{folder}: {free_mb} MB free, {reserve_mb} MB are to be left"
        if not os.access(there, os.W_OK):
            step = "make it writable, or name another one"
            yield Line(name, "problem", f"{folder} cannot be written", step)
        elif free_mb < reserve_mb:
            yield Line(name, "problem", words, "free space: dermedge export, then remove")
        else:
            yield Line(name, "ok", words)


def _encoder(sinks: tuple[str, ...]) -> Iterator[Line]:
    """What makes recordings small."""
    if not any(split_kind(sink)[0] == "record" for sink in sinks):
        return
    try:
        with redirect_stderr(StringIO()):  # a page about a broken OpenCV: its own line says it
            from edge.recording.h264 import proven_program
    except ImportError as error:
        yield Line("encoder", "problem", f"OpenCV does not load: {error}", "see the line OpenCV")
        return
    program, why_not = proven_program()
    if program is None:
        step = "apt-get install ffmpeg; until then recordings take four times the room"
        yield Line("encoder", "note", f"no H.264: {why_not}", step)
    else:
        yield Line("encoder", "ok", program.name)


def _fonts() -> Line:
    """Labels of a pack may be in any script; these stand for those that need most."""
    from edge.overlay.fonts import DEBIAN_PACKAGES, Fonts

    samples = {"Latin": "é", "Korean": "피부", "Hindi": "त्वचा", "Arabic": "جلد"}
    fonts = Fonts()
    missing = [script for script, text in samples.items() if fonts.face_for(text) is None]
    if missing:
        words = f"labels in {', '.join(missing)} are shown as codes"
        return Line("fonts", "note", words, f"apt-get install {DEBIAN_PACKAGES}")
    return Line("fonts", "ok", f"labels in {', '.join(samples)}")


def _board() -> Iterator[Line]:
    board = read_board()
    parts = [board.model or "an unknown board"]
    hottest = max(board.temperatures_c.items(), key=lambda item: item[1], default=None)
    if hottest is not None:
        parts.append(f"{hottest[1]:.0f} °C ({hottest[0]})")
    if board.power_w:
        parts.append(", ".join(f"{name} {watts:.1f} W" for name, watts in board.power_w.items()))
    if board.events:
        parts.append(", ".join(f"{cause} {count} times" for cause, count in board.events.items()))
    words = "; ".join(parts)
    if board.throttled:
        step = "a stronger supply, or better cooling"
        yield Line("board", "problem", f"held back: {', '.join(board.throttled)}; {words}", step)
    elif hottest is not None and hottest[1] >= HOT_C:
        yield Line("board", "problem", f"hot: {words}", "better cooling")
    else:
        yield Line("board", "ok", words)
