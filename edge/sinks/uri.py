"""Makes sinks and screens from the way a user names them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.controls import Controls
from edge.errors import RequestError
from edge.output_names import OVERLAY_SUFFIX
from edge.screens.base import Screen
from edge.sinks.background import BackgroundSink
from edge.sinks.base import Sink
from edge.status import Status
from edge.stop import Stop
from edge.uri import (
    Kind,
    Place,
    Uri,
    host_and_port,
    number,
    one_of,
    parse_uri,
    size_wh,
    whole_number,
)

KINDS: Mapping[str, Kind] = {
    "window": Kind("window:?screen=WxH", {"screen": size_wh(64, 16384)}),
    "screen": Kind("screen:CONNECTOR"),
    "web": Kind("web:HOST:PORT"),
    "headless": Kind("headless"),
    "video": Kind("video:PATH?fps=N", {"fps": number(1.0, 60.0)}),
    "png": Kind("png:DIR?every=N", {"every": whole_number(1, 1_000_000)}),
    "jsonl": Kind("jsonl:PATH"),
    "record": Kind(
        "record:DIR?what=clean|drawn&codec=auto|h264|mjpeg",
        {"what": one_of("clean", "drawn"), "codec": one_of("auto", "h264", "mjpeg")},
    ),
}

_WITHOUT_PATH = ("window", "headless")
_SCREENS = ("window", "screen", "web")
_WITH_OR_WITHOUT = ("screen", "web")

WEB = Place("a web page written as web:HOST:PORT", "web:127.0.0.1:8080 or web:0.0.0.0:8080", 8080)

_LIVE_FPS = 10.0
"""Highest rate of a live video."""

_RECORDING_FPS = 25.0
"""Rate of a video made from a recording, whose own is not known before it is opened."""


def parse_sink(text: str) -> Uri:
    """Read one sink's name, without making it.

    Raises:
        RequestError: The kind or option is unknown, a path is missing or too much, or that of a
            video does not end in ``.webm``.
    """
    uri = parse_uri(text, KINDS, "sink")
    needs_path = uri.kind not in _WITHOUT_PATH
    if uri.kind not in _WITH_OR_WITHOUT and needs_path != bool(uri.place):
        raise RequestError(
            f"a sink written as {KINDS[uri.kind].form}",
            got=repr(text),
            next_step="add the path" if needs_path else "leave the path out",
        )
    if uri.kind == "web":
        host_and_port(uri.place, WEB)
    if uri.kind == "video" and Path(uri.place).suffix.lower() != ".webm":
        raise RequestError(
            "a video path that ends in .webm",
            got=repr(uri.place),
            next_step="name it, for example, video:out/run.webm",
        )
    return uri


@dataclass(frozen=True)
class Outputs:
    """Sinks and screens, none of them open.

    Attributes:
        sinks: What takes results.
        screens: What shows pictures, those first whose frame age counts.
        screens_must_open: There is nothing else that anybody would get.
    """

    sinks: tuple[Sink, ...]
    screens: tuple[Screen, ...]
    screens_must_open: bool


def outputs_from_uris(
    texts: Sequence[str],
    *,
    overwrite: bool,
    lossless: bool,
    controls: Controls,
    stop: Stop,
    status: Status | None = None,
    web_token: str = "",
    record_reserve_bytes: int = 2 << 30,
    source_path: Path | None = None,
) -> Outputs:
    """The named sinks and screens; none is open.

    Args:
        texts: ``window:?screen=WxH``, ``headless``, ``video:PATH?fps=N``, ``png:DIR?every=N``,
            ``jsonl:PATH``; empty takes a window where there is a display, and else nothing.
        overwrite: Replace what an earlier run left.
        lossless: A video holds every frame, even if the loop has to wait for the encoder.
        controls: Told what the user does at a screen.
        stop: Asked to stop by a closed window.
        status: Says how the run stands, for the web page.
        web_token: Token of the web page; one is made where it needs one and has none.
        record_reserve_bytes: Room that recordings leave on the disk.
        source_path: What the source reads; no sink may write there, nor over a file of it, nor
            into the folder above.

    Raises:
        RequestError: A name is wrong, two write the same place, or a place holds an earlier run
            or the source.
    """
    if not texts:  # results are counted in any case
        window = _display(Uri("window", "", {}), controls, stop)
        return Outputs((), (window,), screens_must_open=False)
    uris = [parse_sink(text) for text in texts]
    _refuse_shared_places(uris, texts, source_path)
    status = status or Status()
    screens: list[Screen] = [
        _web(uri, controls, status, web_token)
        if uri.kind == "web"
        else _display(uri, controls, stop)
        for uri in sorted(uris, key=lambda uri: uri.kind == "web")  # its age is not the eye's
        if uri.kind in _SCREENS
    ]
    sinks = tuple(
        BackgroundSink(
            _sink(uri, overwrite, lossless, record_reserve_bytes), stop, lossless=lossless
        )
        for uri in uris
        if uri.kind not in _SCREENS
    )
    return Outputs(sinks, tuple(screens), screens_must_open=not sinks and bool(screens))


def _refuse_shared_places(
    uris: Sequence[Uri], texts: Sequence[str], source_path: Path | None
) -> None:
    """Two sinks on one file would lose results silently, whatever their kinds."""
    read = _places_of(source_path) if source_path else frozenset()
    taken: dict[str, str] = {}
    for uri, text in zip(uris, texts, strict=True):
        # Not Path.resolve: before Python 3.13 it raises RuntimeError for a link to itself.
        is_path = uri.kind not in (*_WITHOUT_PATH, *_WITH_OR_WITHOUT)
        place = os.path.realpath(uri.place) if is_path else f"{uri.kind}:{uri.place}"
        if place in taken:
            raise RequestError(
                "each sink once, with a path of its own",
                got=f"{taken[place]!r} and {text!r}",
                next_step="give each its own path",
            )
        taken[place] = text
        if place in read:
            raise RequestError(
                "a sink apart from the source",
                got=f"{text!r}, which holds the source {str(source_path)!r}",
                next_step="choose another path or folder",
            )


def _places_of(source_path: Path) -> frozenset[str]:
    """Where a sink would write over what the source reads, or around it.

    The source and the folders above it, every file of it, and folders in which it reads pictures
    that have the names of a png sink.
    """
    from edge.sources.files import list_media

    source = Path(os.path.realpath(source_path))
    places = {str(path) for path in (source, *source.parents)}
    for media in list_media(source_path).files:
        places.add(os.path.realpath(media.path))
        if media.path.name.endswith(OVERLAY_SUFFIX):
            places.add(os.path.realpath(media.path.parent))
    return frozenset(places)


def _web(uri: Uri, controls: Controls, status: Status, token: str) -> Screen:
    from edge.screens.web import LOOPBACK, WebScreen, new_token

    host, port = host_and_port(uri.place, WEB)
    # Nobody else can tell a token of this run; one of the configuration stays out of the log.
    generated = not token and host not in LOOPBACK
    token = new_token() if generated else token
    return WebScreen(controls, status, host=host, port=port, token=token, tell_token=generated)


def _display(uri: Uri, controls: Controls, stop: Stop) -> Screen:
    from edge.screens.process import ScreenProcess

    options = {"connector": uri.place} if uri.kind == "screen" else {}
    if "screen" in uri.options:
        options["screen_wh"] = uri.options["screen"]
    return ScreenProcess(uri.kind, options, controls, stop)


def _sink(uri: Uri, overwrite: bool, lossless: bool, reserve_bytes: int) -> Sink:
    if uri.kind == "headless":
        from edge.sinks.headless import HeadlessSink

        return HeadlessSink()
    path = Path(uri.place)
    if uri.kind == "jsonl":
        from edge.sinks.jsonl import JsonlSink

        return JsonlSink(path, overwrite=overwrite)
    if uri.kind == "record":
        from edge.recording.sink import RecordSink

        return RecordSink(
            path,
            uri.options.get("what", "clean"),
            codec=uri.options.get("codec", "auto"),
            reserve_bytes=reserve_bytes,
        )
    if not overwrite:
        _refuse_earlier_run(uri.kind, path)
    if uri.kind == "png":
        from edge.sinks.png import PngSink

        return PngSink(path, every=uri.options.get("every", 1))
    if lossless and "fps" in uri.options:
        from edge.sinks.video import VideoSink

        return VideoSink(path, uri.options["fps"], own_thread=False)
    if lossless:
        from edge.sinks.recorded_video import RecordedVideoSink

        return RecordedVideoSink(path, _RECORDING_FPS)
    from edge.sinks.live_video import LiveVideoSink

    return LiveVideoSink(path, uri.options.get("fps", _LIVE_FPS))


def _refuse_earlier_run(kind: str, path: Path) -> None:
    holds = path.is_dir() and any(path.glob("*.overlay.png")) if kind == "png" else path.exists()
    if holds:
        raise RequestError(
            f"a place of its own for {kind}",
            got=f"{path}, which holds an earlier run",
            next_step="choose another one, or add --overwrite",
        )
