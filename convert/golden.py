"""Golden frames: the pictures on which an engine is held against its reference.

Phantoms of every tone, with known truth, the same for everybody; and the user's own pictures, for
whom an engine must be right in the end. One frame is in memory at a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convert.agreement import Box
from edge.errors import InputError
from edge.sources.files import list_media, no_media
from edge.sources.integrity import unreadable
from edge.sources.pictures import decode_picture
from models.phantom import random_spec, render
from models.phantom.draw import ITA_RANGE_DEG

PHANTOMS = 200

_FIRST_SEED = 7_000_000
"""Far from the seeds of training."""

_SIZES_WH = ((640, 480), (480, 640), (304, 304), (1280, 720), (640, 360), (512, 512))
_GOLDEN_RATIO = 0.6180339887498949
"""Multiples of it, without their whole parts, spread evenly over 0..1 at any count."""


@dataclass(frozen=True)
class GoldenFrame:
    """One picture.

    Attributes:
        name: For messages: a phantom's seed, or a file's path below the user's folder.
        pixels: HxWx3 uint8 RGB.
        truth: bool HxW, where a lesion is; ``None`` where nobody knows.
        truth_boxes: Boxes of the lesions, half-open, in pixels of the frame.
    """

    name: str
    pixels: NDArray[np.uint8]
    truth: NDArray[np.bool_] | None = None
    truth_boxes: tuple[Box, ...] = ()


class GoldenFrames:
    """Phantoms, then the pictures of a folder; each iteration makes them anew.

    Args:
        folder: The user's pictures, with its subfolders; ``None`` for phantoms alone.
        phantoms: How many.

    Raises:
        InputError: The folder has no picture, or cannot be searched.
    """

    def __init__(self, folder: Path | None = None, phantoms: int = PHANTOMS) -> None:
        self._phantoms = phantoms
        self._pictures = [] if folder is None else _pictures(folder)

    @property
    def key(self) -> str:
        """Hash of which frames these are, without making them: phantoms' number, files' content.

        Raises:
            InputError: A picture cannot be read; it is named.
        """
        digest = hashlib.sha256(f"{self._phantoms} phantoms from {_FIRST_SEED}\n".encode())
        for name, path in self._pictures:
            try:
                content = hashlib.sha256(path.read_bytes()).hexdigest()
            except OSError as error:
                raise unreadable(path, error) from error
            digest.update(f"{name}\n{content}\n".encode())
        return digest.hexdigest()

    def __len__(self) -> int:
        return self._phantoms + len(self._pictures)

    def __iter__(self) -> Iterator[GoldenFrame]:
        """Make the frames.

        Raises:
            InputError: A picture of the folder cannot be read; it is named.
        """
        for index in range(self._phantoms):
            yield phantom(index)
        for name, path in self._pictures:
            yield GoldenFrame(name, decode_picture(path).pixels)

    def thinned(self, most: int) -> Iterator[GoldenFrame]:
        """Up to ``most`` phantoms and as many pictures, evenly; errors as of iterating."""
        for index in _evenly(self._phantoms, most):
            yield phantom(index)
        for index in _evenly(len(self._pictures), most):
            name, path = self._pictures[index]
            yield GoldenFrame(name, decode_picture(path).pixels)


def _evenly(count: int, most: int) -> list[int]:
    """Up to ``most`` of the numbers below ``count``, spread over them."""
    return [index * count // most for index in range(most)] if count > most else list(range(count))


def phantom(index: int) -> GoldenFrame:
    """The golden phantom of this number, 0 or more: the same on every machine and day."""
    low, high = ITA_RANGE_DEG
    made = render(
        random_spec(
            _FIRST_SEED + index,
            _SIZES_WH[index % len(_SIZES_WH)],
            ita_deg=low + (high - low) * (index * _GOLDEN_RATIO % 1.0),
        )
    )
    boxes = [_box(made.labels == label) for label in range(1, int(made.labels.max()) + 1)]
    return GoldenFrame(
        name=f"phantom {_FIRST_SEED + index}",
        pixels=made.pixels,
        truth=made.labels > 0,
        truth_boxes=tuple(box for box in boxes if box is not None),
    )


class FrameHash:
    """Hash over all frames that were judged: the same verdict needs the same pictures."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, frame: GoldenFrame) -> None:
        """Take a frame's name, size and pixels in."""
        height, width = frame.pixels.shape[:2]
        self._digest.update(f"{frame.name}\n{width}x{height}\n".encode())
        self._digest.update(frame.pixels.tobytes())

    def hexdigest(self) -> str:
        """SHA-256 over the frames so far."""
        return self._digest.hexdigest()


def _pictures(folder: Path) -> list[tuple[str, Path]]:
    listing = list_media(folder)
    if listing.failures:
        raise listing.failures[0]
    pictures = [media for media in listing.files if media.kind == "picture"]
    if not pictures:
        raise no_media(folder, listing) if not listing.files else _only_videos(folder)
    return [(str(media.relative), media.path) for media in pictures]


def _only_videos(folder: Path) -> InputError:
    return InputError(
        f"pictures in {folder}", got="only videos", next_step="name a folder of still pictures"
    )


def _box(mask: NDArray[np.bool_]) -> Box | None:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
