"""Camera, display, buttons, board and room: what this configuration needs on this device."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

from edge.board.state import read_board
from edge.config import Config
from edge.doctor import cameras, nodes
from edge.doctor.inside import SAYS
from edge.doctor.line import Line
from edge.doctor.nodes import account, is_inside_unit
from edge.doctor.question import ask
from edge.errors import DermedgeError
from edge.pages import page
from edge.sources.uri import path_of
from edge.uri import split_kind

HOT_C = 85.0

_ELEMENTS = {
    "screen": {"kmssink": "gstreamer1.0-plugins-bad"},
    "argus": {
        "nvarguscamerasrc": "nvidia-l4t-gstreamer",
        "nvvidconv": "nvidia-l4t-gstreamer",
        "appsink": "gstreamer1.0-plugins-base",
    },
}
"""By the kind of a sink or source, elements and the packages that bring them."""


def examine(config: Config | None) -> Iterator[Line]:
    """Every line, as it is found.

    Args:
        config: What is configured; ``None``: it cannot be read, and what hangs on it is left out.
    """
    yield _account()
    yield from _service()
    if config is None:
        yield from _board()
        return
    yield from _backend(config)
    yield from _nobody_sees(config.output.sinks)
    yield from cameras.examine(config.source.uri)
    yield from _displays(config.output.sinks)
    yield from nodes.examine(config)
    yield from _gstreamer(config)
    yield from _videos(config)
    yield from _web(config.output.sinks)
    yield from _room(config)
    yield from _encoder(config.output.sinks)
    yield _fonts()
    yield from _board()


def _account() -> Line:
    inside = " inside a service's sandbox" if is_inside_unit() else ""
    return Line("account", "ok", f"{account()}{inside}")


def _service() -> Iterator[Line]:
    """How the service itself stands, where somebody has looked before."""
    words = os.environ.get(SAYS)
    if words is None:
        return
    is_well = words.startswith("active") and not re.search(
        r": (not running|NOT WELL|HANGS|camera away)", words
    )
    step = f"the words say it; else journalctl -u dermedge -b, and {page('field.md')}"
    yield Line("service", "ok", words) if is_well else Line("service", "problem", words, step)


def _backend(config: Config) -> Iterator[Line]:
    """Whether what the configuration demands is there; ``auto`` takes what there is."""
    from edge.compose import check_backend

    try:
        check_backend(config.model.backend)
    except DermedgeError as error:
        step = 'see the lines TensorRT and CUDA, or take [model] backend = "auto"'
        yield Line("backend", "problem", f"{config.model.backend}: {error.got}", step)
    else:
        yield Line("backend", "ok", config.model.backend)


def _nobody_sees(sinks: tuple[str, ...]) -> Iterator[Line]:
    """A service that no person can see: every other line may be well."""
    kinds = {split_kind(sink)[0] for sink in sinks}
    if not is_inside_unit() or kinds & {"screen", "web"}:
        return
    words = "only a window, and a service has no desktop" if "window" in kinds else "no screen"
    step = 'add one: [output] sinks = ["screen:", "web:"]'
    yield Line("output", "problem", f"{words}: nobody sees a picture", step)


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
    kinds = {split_kind(name)[0] for name in (*config.output.sinks, config.source.uri)}
    for kind, elements in _ELEMENTS.items():
        if kind not in kinds:
            continue
        pairs = [word for pair in elements.items() for word in pair]
        answer = ask("gstreamer", *pairs)
        if answer.found is not None:
            yield Line("GStreamer", "ok", f"{answer.found}, for {kind}:")
        else:
            step = answer.next_step or f"try it: gst-inspect-1.0 {pairs[0]}"
            yield Line("GStreamer", "problem", f"{answer.got}, for {kind}:", step)


def _videos(config: Config) -> Iterator[Line]:
    """Videos are read and written by OpenCV, which needs a library for that; cameras do not."""
    wanted = [sink for sink in config.output.sinks if split_kind(sink)[0] == "video"]
    path = path_of(config.source.uri)
    if not wanted and path is None:
        return
    try:
        with redirect_stderr(StringIO()):  # a page about a broken OpenCV: its own line says it
            from cv2 import CAP_FFMPEG, CAP_GSTREAMER, videoio_registry

            from edge.sources.files import list_media
    except ImportError:
        return
    if path is not None and any(media.kind == "video" for media in list_media(path).files):
        wanted.append(config.source.uri)
    if not wanted:
        return
    names = {CAP_FFMPEG: "FFmpeg", CAP_GSTREAMER: "GStreamer"}
    there = [name for number, name in names.items() if number in videoio_registry.getBackends()]
    words = f"OpenCV has {' and '.join(there) or 'neither FFmpeg nor GStreamer'}"
    words += f", for {', '.join(wanted)}"
    if there:
        yield Line("videos", "ok", words)
    else:
        step = "take another OpenCV: apt-get install python3-opencv"
        yield Line("videos", "problem", words, step)


def _web(sinks: tuple[str, ...]) -> Iterator[Line]:
    if not any(split_kind(sink)[0] == "web" for sink in sinks):
        return
    missing = [name for name in ("starlette", "uvicorn") if importlib.util.find_spec(name) is None]
    ports = [int(found[1]) for sink in sinks if (found := re.match(r"web:.*:(\d+)(?:\?|$)", sink))]
    first = _first_port_for_all()
    if any(port < first for port in ports) and os.geteuid() != 0:
        step = f"take a port from {first} on"
        yield Line("web page", "problem", f"port {min(ports)} is for root alone", step)
    elif missing:
        step = "in dermedge's folder: pip install '.[web]'; a service: install it with --extras"
        yield Line("web page", "problem", f"no {', '.join(missing)}", step)
    else:
        yield Line("web page", "ok", "starlette and uvicorn")


def _first_port_for_all() -> int:
    try:
        return int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text("ascii"))
    except (OSError, ValueError):
        return 1024


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
            if is_inside_unit():
                step += f"; the unit lets it write where ReadWritePaths= says: {page('service.md')}"
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
    if of_late := [cause for cause, was in board.of_late.items() if was]:
        parts.append(f"of late: {', '.join(of_late)}")
    words = "; ".join(parts)
    if board.throttled:
        step = "a stronger supply, or better cooling"
        yield Line("board", "problem", f"held back: {', '.join(board.throttled)}; {words}", step)
    elif hottest is not None and hottest[1] >= HOT_C:
        yield Line("board", "problem", f"hot: {words}", "better cooling")
    else:
        yield Line("board", "ok", words)
