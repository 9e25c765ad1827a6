"""The child's side of a screen: ``python -m edge.screens.child KIND SOCKET OPTIONS``."""

from __future__ import annotations

import json
import mmap
import os
import sys
import time
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edge.child_link import Link
from edge.errors import DermedgeError

POLL_S = 0.015
"""Longest time between two looks at what the user does."""


class Display(Protocol):
    """What shows pictures in this process."""

    @property
    def size_wh(self) -> tuple[int, int]:
        """Pixels that there are for a picture; valid once open."""
        ...

    @property
    def is_filled(self) -> bool:
        """True where a picture takes all of them, as on a whole screen."""
        ...

    def open(self) -> None:
        """Take the display; raises DermedgeError."""
        ...

    def show(self, picture: NDArray[np.uint8]) -> int:
        """Show an HxWx3 uint8 RGB picture; gives the monotonic nanoseconds when it was done."""
        ...

    def poll(self) -> Sequence[str]:
        """What the user has done: ``shutter``, ``closed``."""
        ...

    def close(self) -> None:
        """Give it back."""
        ...


def display_of(kind: str, options: dict[str, Any]) -> Display:
    """The display of a kind, not yet open."""
    if kind == "window":
        from edge.screens.window import Window

        stated_wh = options.get("screen_wh")
        return Window(None if stated_wh is None else (stated_wh[0], stated_wh[1]))
    if kind == "screen":
        from edge.screens.whole_screen import WholeScreen

        return WholeScreen(options.get("connector", ""), options.get("sink"))
    raise ValueError(f"no screen of the kind {kind!r}")


class _Server:
    """Shows what comes, one picture after another, until the parent is gone."""

    def __init__(self, link: Link, display: Display) -> None:
        self._link = link
        self._display = display
        self._map: mmap.mmap | None = None

    def serve(self) -> None:
        """Open, show, close."""
        send = self._link.send
        try:
            self._display.open()
            send(what="open", size_wh=self._display.size_wh, filled=self._display.is_filled)
            while True:
                self._turn()
        except EOFError:
            return
        except DermedgeError as error:
            self._link.send_error(error)
        finally:
            self._display.close()

    def _turn(self) -> None:
        received = self._link.receive(POLL_S)
        if received is not None:
            self._show(*received)
        for wish in self._display.poll():
            self._link.send(what=wish, at_ns=time.monotonic_ns())

    def _show(self, message: dict[str, Any], descriptors: list[int]) -> None:
        shape = tuple(message["shape"])
        for descriptor in descriptors:
            self._map = mmap.mmap(descriptor, int(np.prod(shape)), prot=mmap.PROT_READ)
            os.close(descriptor)
        assert self._map is not None
        picture = np.frombuffer(self._map, np.uint8).reshape(shape)
        at_ns = self._display.show(picture)
        del picture
        self._link.send(what="shown", number=message["number"], at_ns=at_ns)


def main() -> None:
    """Serve the parent that started this process."""
    kind, descriptor, options = sys.argv[1:4]
    link = Link(int(descriptor))
    _Server(link, display_of(kind, json.loads(options))).serve()


if __name__ == "__main__":
    main()
