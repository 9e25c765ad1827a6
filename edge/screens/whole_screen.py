"""A whole display without a desktop, as the child's side of a screen wants it."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge.errors import InputError
from edge.screens.connector import find_connector, is_connected
from edge.screens.gst_display import GstDisplay

LOOK_EVERY_S = 1.0
"""How often it is looked whether the display is still plugged in."""


class WholeScreen:
    """The display that is connected; it has no keys: see the inputs of docs/cameras-and-screens.md.

    Args:
        wanted: Name of a connector, or empty for the first that is connected.
        sink: GStreamer's element instead of the display's own.
    """

    is_filled = True

    def __init__(self, wanted: str = "", sink: str | None = None) -> None:
        self._wanted = wanted
        self._sink = sink
        self._display: GstDisplay | None = None
        self._next_look_s = 0.0

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height in pixels; valid once open."""
        assert self._display is not None
        return self._display.size_wh

    def open(self) -> None:
        """Take the display; errors as of find_connector and GstDisplay.open."""
        self._connector = find_connector(self._wanted)
        self._display = GstDisplay(self._connector, self._sink)
        self._display.open()

    def show(self, picture: NDArray[np.uint8]) -> int:
        """Show a picture; gives the monotonic nanoseconds at which the display had taken it."""
        assert self._display is not None
        return self._display.show(picture)

    def poll(self) -> Sequence[str]:
        """Nothing is done at a display.

        Raises:
            InputError: It was unplugged.
        """
        if time.monotonic() >= self._next_look_s:
            self._next_look_s = time.monotonic() + LOOK_EVERY_S
            if not is_connected(self._connector):
                raise InputError(
                    f"the display {self._connector.name}",
                    got="it was unplugged",
                    next_step="plug it in again",
                )
        return ()

    def close(self) -> None:
        """Give the display back."""
        if self._display is not None:
            self._display.close()
