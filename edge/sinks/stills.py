"""The three files of one analyzed picture: Result JSON, overlay and mask."""

from __future__ import annotations

import json
import os
from pathlib import Path

from edge.output_names import JSON_SUFFIX, MASK_SUFFIX, OVERLAY_SUFFIX
from edge.result import FAILED, Result
from edge.sinks.base import Shot
from edge.sinks.png_stream import write_png
from edge.sinks.whole_file import whole_files


def still_paths(base: Path) -> tuple[Path, Path, Path]:
    """Where JSON, overlay and mask of a picture go: ``base`` plus a suffix each."""
    json_path, overlay_path, mask_path = (
        base.with_name(base.name + suffix) for suffix in (JSON_SUFFIX, OVERLAY_SUFFIX, MASK_SUFFIX)
    )
    return json_path, overlay_path, mask_path


def is_finished(base: Path) -> bool:
    """True where :func:`write_still` has completed for ``base``, and not with a failure.

    The JSON is written last. A model that was refused, or an analysis that failed, is no result:
    the next run, perhaps with another pack, tries again.
    """
    path = still_paths(base)[0]
    if not os.path.exists(path):  # unlike Path's, False for too long a name
        return False
    try:
        status = json.loads(path.read_bytes()).get("status")
    except (OSError, ValueError, AttributeError):
        return True  # not ours to replace without being asked
    return status not in FAILED


def write_still(base: Path, shot: Shot, *, pictures: bool = True) -> None:
    """Write ``base.json`` and, with ``pictures``, ``base.overlay.png`` and ``base.mask.png``.

    They appear together and whole. Without an answer there is no mask, and one of an earlier run
    is removed, so that the three files always belong together.

    Args:
        base: Path without the suffixes; its folder is made where missing.
        shot: What to write; only read.
        pictures: Write the PNG files.

    Raises:
        OutputError: The folder cannot be written, or is full; earlier files are untouched.
    """
    json_path, overlay_path, mask_path = still_paths(base)
    images = {overlay_path: shot.drawn, mask_path: shot.mask} if pictures else {}
    wanted = {path: pixels for path, pixels in images.items() if pixels is not None}
    stale = [path for path in images if path not in wanted]
    with whole_files([*wanted, json_path], stale) as files:
        *image_files, json_file = files
        for file, pixels in zip(image_files, wanted.values(), strict=True):
            write_png(file, pixels)
        json_file.write(json_line(shot.result).encode("utf-8"))


def json_line(result: Result) -> str:
    """The Result as one line of JSON, with its line end."""
    return json.dumps(result.to_json_dict(), ensure_ascii=False, allow_nan=False) + "\n"
