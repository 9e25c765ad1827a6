"""Makes a source from the way a user names it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.errors import InputError, RequestError
from edge.sources.base import Source
from edge.uri import Kind, Uri, number, one_of, parse_uri, size_wh, split_kind, whole_number

if TYPE_CHECKING:
    from edge.guards.colour_profile import ColourProfile
    from edge.sources.v4l2_colour import ColourProfile as V4l2Profile

KINDS: Mapping[str, Kind] = {
    "synthetic": Kind(
        "synthetic:SEED?size=WxH&fps=N&regions=N",
        {
            "size": size_wh(64, 4096),
            "fps": number(0.1, 240.0),
            "regions": whole_number(3, 40),
        },
    ),
    "files": Kind("files:PATH"),
    "v4l2": Kind(
        "v4l2:CAMERA?size=WxH&fps=N&format=MJPG|YUYV&still=WxH",
        {
            "size": size_wh(16, 16384),
            "fps": number(0.1, 1000.0),
            "format": one_of("MJPG", "YUYV"),
            "still": size_wh(16, 16384),
        },
    ),
    "argus": Kind(
        "argus:NUMBER?size=WxH&fps=N&still=WxH&mode=N",
        {
            "size": size_wh(64, 16384),
            "fps": number(1.0, 240.0),
            "still": size_wh(64, 16384),
            "mode": whole_number(0, 99),
        },
    ),
    "picamera2": Kind(
        "picamera2:CAMERA?size=WxH&fps=N&still=WxH",
        {
            "size": size_wh(64, 16384),
            "fps": number(1.0, 240.0),
            "still": size_wh(64, 16384),
        },
    ),
}

_DEFAULT_SEED = 7


def parse_source(text: str) -> Uri:
    """Read a source's name, without making it and without looking at the disk for ``files:``.

    Raises:
        RequestError: No such kind or option, or no path.
    """
    kind, _ = split_kind(text)
    is_path = kind not in KINDS and text not in KINDS and (not kind or Path(text).exists())
    uri = Uri("files", text, {}) if is_path else parse_uri(text, KINDS, "source")
    if uri.kind == "files" and not uri.place:
        raise RequestError(
            "the path of a picture, a folder or a video, or synthetic:",
            got=repr(text),
            next_step="name one",
        )
    if uri.kind == "synthetic" and uri.place:
        try:
            whole_number(0, 999_999_999)(uri.place)
        except ValueError as error:
            raise RequestError(
                f"a seed that {error} in synthetic:SEED", got=repr(uri.place), next_step="try 7"
            ) from None
    if uri.kind == "argus" and uri.place:
        try:
            whole_number(0, 99)(uri.place)
        except ValueError as error:
            raise RequestError(
                f"a number of a camera that {error} in argus:NUMBER",
                got=repr(uri.place),
                next_step="argus:0 is the first",
            ) from None
    return uri


def source_from_uri(
    text: str,
    *,
    paced: bool = False,
    profile: ColourProfile | None = None,
) -> Source:
    """The source that ``text`` names; nothing is opened yet.

    Args:
        text: ``synthetic:``, ``synthetic:7?size=1280x720&fps=30&regions=8``, ``files:PATH``, the
            plain path of a picture, a folder or a video, or ``v4l2:CAMERA?size=1280x720&fps=30``,
            where CAMERA is ``usb-VID:PID[:SERIAL]``, a bus path, ``/dev/video0`` or a link to it,
            or nothing where there is only one; ``argus:0`` or ``picamera2:imx708`` with the same
            options.
        paced: Give recordings at their own pace instead of as fast as they are analyzed.
        profile: What to hold of a camera's colours; ``None`` leaves it on automatic.

    Raises:
        RequestError: No such kind or option.
        InputError: No such path.
    """
    uri = parse_source(text)
    if uri.kind == "v4l2":
        return _v4l2(uri, profile)
    if uri.kind in ("argus", "picamera2"):
        return _in_a_process(uri, profile)
    return _synthetic(uri) if uri.kind == "synthetic" else _files(uri.place, paced)


def path_of(text: str) -> Path | None:
    """The path that a source reads, or ``None`` where it reads none; errors as of parse_source."""
    uri = parse_source(text)
    return Path(uri.place) if uri.kind == "files" else None


def _synthetic(uri: Uri) -> Source:
    from edge.sources.synthetic import SyntheticSource

    options = uri.options
    return SyntheticSource(
        int(uri.place or _DEFAULT_SEED),
        size_wh=options.get("size", (1280, 720)),
        fps=options.get("fps", 30.0),
        lesion_count=options.get("regions", 6),
    )


def _v4l2(uri: Uri, profile: ColourProfile | None) -> Source:
    if sys.platform != "linux" or sys.maxsize < 2**32:
        raise RequestError(
            "64-bit Linux for a v4l2: source",
            got=sys.platform,
            next_step="use synthetic: or files:",
        )
    from edge.sources.v4l2 import V4l2Source
    from edge.sources.v4l2_formats import Wish

    options = uri.options
    return V4l2Source(
        uri.place,
        wish=Wish(
            options.get("size", (1280, 720)), options.get("fps", 30.0), options.get("format")
        ),
        still_size_wh=options.get("still"),
        profile=None if profile is None else _held(profile),
    )


def _in_a_process(uri: Uri, profile: ColourProfile | None) -> Source:
    from edge.sources.camera_process import CameraProcess

    is_argus = uri.kind == "argus"
    options: dict[str, Any] = {
        "size_wh": uri.options.get("size", (1280, 720)),
        "fps": uri.options.get("fps", 30.0),
        "still_size_wh": uri.options.get("still"),
    }
    if is_argus:
        options |= {"sensor_id": int(uri.place or 0), "sensor_mode": uri.options.get("mode")}
    else:
        options["place"] = uri.place
    if profile is not None:
        section = profile.argus if is_argus else profile.picamera2
        options["profile"] = {
            "name": profile.name,
            "settle_s": profile.settle_s,
            "fixed": profile.fixed,
            **dict(section),
        }
    return CameraProcess(uri.kind, options, uri.place or ("0" if is_argus else ""))


def _held(profile: ColourProfile) -> V4l2Profile:
    from edge.sources.v4l2_colour import MATTERS
    from edge.sources.v4l2_colour import ColourProfile as V4l2Profile

    matters = tuple(matter for matter in MATTERS if matter not in profile.fixed)
    return V4l2Profile(profile.name, profile.v4l2, profile.settle_s, matters)


def _files(place: str, paced: bool) -> Source:
    if not Path(place).exists():
        raise InputError(
            "the path of a picture, a folder or a video",
            got=f"{place!r}, which does not exist",
            next_step="check the spelling",
        )
    from edge.sources.files import FilesSource

    return FilesSource(Path(place), paced=paced)
