"""Writes the pictures with their overlays as PNG files."""

from __future__ import annotations

from pathlib import Path

from edge.sinks.base import Shot
from edge.sinks.png_stream import write_png
from edge.sinks.whole_file import check_writable, whole_files
from edge.sources.integrity import printable


class PngSink:
    """Writes ``<frame id, 8 digits>.overlay.png`` into a folder, each file whole or not at all.

    Args:
        folder: Made where missing; files of the same name are replaced.
        every: Write the first frame and then every ``every``-th analyzed one.
    """

    wants_drawn = True
    goes_on = False

    def __init__(self, folder: Path, every: int = 1) -> None:
        self.name = f"png {printable(folder)}"
        self._folder = folder
        self._every = every
        self._seen = 0

    def open(self) -> None:
        """Make the folder.

        Raises:
            InputError: It cannot be made or written.
        """
        check_writable(self._folder)

    def write(self, shot: Shot) -> bool:
        """Write one picture, where it is its turn; always True.

        Raises:
            InputError: The disk is full or gone; no partial file stays.
        """
        due = self._seen % self._every == 0
        self._seen += 1
        if due:
            picture = shot.frame.pixels if shot.drawn is None else shot.drawn
            path = self._folder / f"{shot.frame.frame_id:08d}.overlay.png"
            with whole_files([path]) as (file,):
                write_png(file, picture)
        return True

    def close(self) -> None:
        """Nothing to finish."""
