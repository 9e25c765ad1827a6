"""Writes the pictures with their overlays as PNG files."""

from __future__ import annotations

import os
from pathlib import Path

import cv2

from edge.errors import InputError
from edge.sinks.base import Shot

_COMPRESSION = 1
"""PNG's quickest deflate level: the loop waits for the encoder, and noise hardly packs anyway."""


class PngSink:
    """Writes ``<frame id, 8 digits>.overlay.png`` into a folder, each file whole or not at all.

    Args:
        folder: Made where missing; files of the same name are replaced.
        every: Write the first frame and then every ``every``-th analyzed one.
    """

    def __init__(self, folder: Path, every: int = 1) -> None:
        self.name = f"png {folder}"
        self._folder = folder
        self._every = every
        self._seen = 0

    @property
    def wants_drawn(self) -> bool:
        """True where the next frame is one to be written."""
        return self._seen % self._every == 0

    def open(self) -> None:
        """Make the folder.

        Raises:
            InputError: It cannot be made or written.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            probe = self._folder / f".{os.getpid()}.partial"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise self._not_written(error) from error

    def write(self, shot: Shot) -> bool:
        """Write one picture, where it is its turn.

        Raises:
            InputError: The disk is full or gone; no partial file stays.
        """
        due = self.wants_drawn
        self._seen += 1
        if not due:
            return True
        picture = shot.frame.pixels if shot.drawn is None else shot.drawn
        _, data = cv2.imencode(
            ".png",
            cv2.cvtColor(picture, cv2.COLOR_RGB2BGR),
            [cv2.IMWRITE_PNG_COMPRESSION, _COMPRESSION],
        )
        path = self._folder / f"{shot.frame.frame_id:08d}.overlay.png"
        partial = self._folder / f".{path.name}.{os.getpid()}.partial"
        try:
            partial.write_bytes(data.tobytes())
            os.replace(partial, path)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise self._not_written(error) from error
        return True

    def close(self) -> None:
        """Nothing to finish."""

    def _not_written(self, error: OSError) -> InputError:
        return InputError(
            f"to write pictures into {self._folder}",
            got=error.strerror or str(error),
            next_step="free some space or choose another place with --sink png:DIR",
        )
