"""Writes one case: still, mask, overlay, pigment images, Result and what belongs to them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from edge.analysis.stamp import boot_id
from edge.cases.code import is_code, new_code
from edge.controls import Command
from edge.errors import InputError
from edge.result import DISCLAIMER
from edge.session import Frozen
from edge.sinks.png_stream import write_png
from edge.sinks.stills import json_line
from edge.sinks.whole_file import check_writable, output_error
from edge.sources.integrity import printable
from models import skin
from models.whole_file import sync_folder

SCHEMA = "dermedge.case/1"
CASE_JSON = "case.json"
PARTIAL_SUFFIX = ".partial"

RESERVE_BYTES = 256 << 20
"""With less than this left after a case, none is written: the system needs room too."""

_TRIES = 50
_STRIP_ROWS = 128


class CaseWriter:
    """Keeps frozen stills in a folder, one folder for each, under a code of its own.

    A case is written under a hidden name, brought to the disk file by file, and renamed: a pulled
    plug leaves the whole case or none. What an earlier one left unfinished is removed by
    :meth:`open`. A finished case is never changed nor removed by the program.

    Args:
        folder: Made where missing.
        facts: Gives what else belongs to a case, JSON-able: configuration, state of the device.
        reserve_bytes: Room that must be left.
    """

    def __init__(
        self,
        folder: Path,
        facts: Callable[[], Mapping[str, Any]] = dict,
        *,
        reserve_bytes: int = RESERVE_BYTES,
    ) -> None:
        self._folder = folder
        self._facts = facts
        self._reserve_bytes = reserve_bytes

    def open(self) -> None:
        """Make the folder, and remove what was left unfinished.

        Raises:
            OutputError: It cannot be made or written.
        """
        check_writable(self._folder)
        for path in self._folder.iterdir():
            if _is_unfinished(path):
                shutil.rmtree(path, ignore_errors=True)

    def keep(self, frozen: Frozen, press: Command) -> str:
        """Save one frozen still.

        Args:
            frozen: The still, its analysis and its picture; only read.
            press: What it was taken for.

        Returns:
            The case's code.

        Raises:
            InputError: There is no room, or the folder cannot be written; nothing of it is left.
        """
        pixels = frozen.outcome.frame.pixels
        self._check_room(8 * pixels.nbytes)
        code = self._free_code()
        unfinished = self._folder / f".{code}{PARTIAL_SUFFIX}"
        try:
            unfinished.mkdir(parents=False)
            self._write(unfinished, code, frozen, press)
            sync_folder(unfinished)
            os.rename(unfinished, self._folder / code)
            sync_folder(self._folder)
        except OSError as error:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise output_error(self._folder / code, error) from error
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        return code

    def _check_room(self, needed_bytes: int) -> None:
        try:
            free = shutil.disk_usage(self._folder).free
        except OSError as error:
            raise output_error(self._folder, error) from error
        if free < self._reserve_bytes + needed_bytes:
            raise InputError(
                f"{(self._reserve_bytes + needed_bytes) >> 20} MB free for a case in "
                f"{printable(self._folder)}",
                got=f"{free >> 20} MB",
                next_step="export cases and recordings, and remove what was exported",
            )

    def _free_code(self) -> str:
        for _ in range(_TRIES):
            code = new_code()
            if not (self._folder / code).exists():
                return code
        raise InputError(
            "a free case code", got=f"none in {_TRIES} tries", next_step="export cases"
        )

    def _write(self, folder: Path, code: str, frozen: Frozen, press: Command) -> None:
        frame, analysis = frozen.outcome.frame, frozen.outcome.analysis
        hemoglobin, melanin = _pigment_pictures(frame.pixels)
        pictures: dict[str, NDArray[np.uint8] | None] = {
            "still.png": frame.pixels,
            "overlay.png": frozen.picture,
            "mask.png": analysis.mask,
            "hemoglobin.png": hemoglobin,
            "melanin.png": melanin,
        }
        files = {
            name: _write_file(folder / name, partial(write_png, pixels=pixels))
            for name, pixels in pictures.items()
            if pixels is not None
        }
        line = json_line(analysis.result).encode("utf-8")
        files["result.json"] = _write_file(folder / "result.json", lambda file: file.write(line))
        case = {
            "schema": SCHEMA,
            "code": code,
            "disclaimer": DISCLAIMER,
            "software": analysis.result.software,
            "engines": analysis.result.to_json_dict()["engines"],
            "source": frame.source,
            "settings": None if frame.settings is None else dict(frame.settings),
            "press": {"origin": press.origin, "pressed_ns": press.pressed_ns},
            "exposure_began_ns": frame.exposure_began_ns,
            "captured_ns": frame.captured_ns,
            "captured_clock": frame.captured_clock,
            "saved_ns": time.monotonic_ns(),
            "boot_id": boot_id(),
            "wall": analysis.result.frame.wall,
            "wall_trusted": analysis.result.frame.wall_trusted,
            **dict(self._facts()),
            "files": files,
        }
        text = json.dumps(case, ensure_ascii=False, indent=1, allow_nan=False) + "\n"
        _write_file(folder / CASE_JSON, lambda file: file.write(text.encode("utf-8")))


def _pigment_pictures(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """What hemoglobin and melanin alone would look like, 8 bit; in strips: stills are large."""
    pictures = np.empty_like(pixels), np.empty_like(pixels)
    for top in range(0, len(pixels), _STRIP_ROWS):
        rows = slice(top, top + _STRIP_ROWS)
        for picture, image in zip(pictures, skin.pigment_images(pixels[rows]), strict=True):
            picture[rows] = np.rint(255.0 * image)
    return pictures


def _write_file(path: Path, write: Callable[[BinaryIO], object]) -> dict[str, Any]:
    """Write a file and bring it to the disk; its size and hash, read back from the system."""
    with open(path, "xb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
    data = path.read_bytes()
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _is_unfinished(path: Path) -> bool:
    """Surely ours: a hidden folder under a case's code that never took its name."""
    name = path.name
    return (
        name.startswith(".")
        and name.endswith(PARTIAL_SUFFIX)
        and is_code(name[1 : -len(PARTIAL_SUFFIX)])
        and path.is_dir()
        and not path.is_symlink()
    )
