"""What the files of a result are called: those who write them and those who skip them agree."""

from __future__ import annotations

import re
from collections.abc import Container

JSON_SUFFIX, OVERLAY_SUFFIX, MASK_SUFFIX = ".json", ".overlay.png", ".mask.png"
OVERLAY_VIDEO = "overlay.webm"
"""In a video's output folder, beside the numbered results of its frames."""

_OF_FRAME = re.compile(r"(?P<number>\d{6,})(\.json|\.overlay\.png|\.mask\.png)", re.ASCII)


def frame_name(frame_id: int) -> str:
    """What the files of a video's frame are called, without their suffixes: ``000012``."""
    return f"{frame_id:06d}"


def frame_id_of(name: str) -> int | None:
    """The frame that a file in a video's output folder belongs to; ``None`` for any other file."""
    match = _OF_FRAME.fullmatch(name)
    if match is None or frame_name(int(match["number"])) != match["number"]:
        return None
    return int(match["number"])


def is_picture_name(name: str) -> bool:
    """True for what is called like an overlay or a mask."""
    return name.endswith((OVERLAY_SUFFIX, MASK_SUFFIX))


def kind_of_output(name: str, beside: Container[str]) -> str | None:
    """How an overlay or mask among the files ``beside`` ends, or ``None`` where it is none.

    A name alone does not make an output, for a photograph may be called so: the JSON that was
    written with it must be there.
    """
    first_of_video = frame_name(0) + JSON_SUFFIX in beside
    if name == OVERLAY_VIDEO:
        return name if first_of_video else None
    for suffix in (OVERLAY_SUFFIX, MASK_SUFFIX):
        base = name.removesuffix(suffix)
        if base != name and (
            base + JSON_SUFFIX in beside or (first_of_video and frame_id_of(name) is not None)
        ):
            return suffix
    return None
