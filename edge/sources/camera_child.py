"""A camera's own process: ``python -m edge.sources.camera_child KIND SOCKET OPTIONS``.

Serves one request at a time: a frame into a buffer of the parent's, or a still in memory of its
own. What hangs in here is ended from outside.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from edge.child_link import Link
from edge.child_process import shared_memory
from edge.errors import DermedgeError, InputError
from edge.sources.lost import SourceLost
from edge.sources.shared_pool import ONCE, map_pixels


@dataclass(frozen=True)
class Opened:
    """A camera that runs.

    Attributes:
        name: Its stable identity.
        size_wh: Width and height of its frames in pixels.
    """

    name: str
    size_wh: tuple[int, int]


@dataclass(frozen=True)
class FrameFacts:
    """What a camera knows of one frame; attributes as of :class:`edge.frame.Frame`.

    Attributes:
        sequence: Its count since the camera was opened, unsigned 32 bits; gaps are lost frames.
        held: Values that a colour profile's ``hold`` came to, for a camera that is opened again;
            ``None`` where there are none.
    """

    sequence: int
    captured_ns: int
    captured_by: Literal["sensor", "driver", "arrival"]
    exposure_began_ns: int | None
    settings: Mapping[str, Any]
    notes: tuple[str, ...] = field(default=())
    held: Mapping[str, Any] | None = None


class Camera(Protocol):
    """A vendor's camera library, as the child uses it: from one thread, one call at a time."""

    def open(self) -> Opened:
        """Start the camera; raises DermedgeError."""
        ...

    def frame(self, out: NDArray[np.uint8]) -> FrameFacts:
        """Wait for a frame that was not given yet, the newest there is.

        Args:
            out: HxWx3 uint8 RGB, filled.

        Raises:
            SourceLost: The camera gives nothing more until it is opened again.
            InputError: This one cannot be had.
        """
        ...

    def still(self, pressed_ns: int) -> tuple[NDArray[np.uint8], FrameFacts]:
        """A frame of the still's size, exposed after ``pressed_ns`` (monotonic)."""
        ...

    def close(self) -> None:
        """Stop the camera."""
        ...


def camera_of(kind: str, options: dict[str, Any]) -> Camera:
    """The camera of a kind, not yet open."""
    if kind == "argus":
        from edge.sources.argus import ArgusCamera

        return ArgusCamera(**options)
    if kind == "picamera2":
        from edge.sources.picamera import Picamera

        return Picamera(**options)
    raise ValueError(f"no camera of the kind {kind!r}")


class _Server:
    """Answers the parent's requests until it is gone."""

    def __init__(self, link: Link, camera: Camera) -> None:
        self._link = link
        self._camera = camera
        self._shape = (0, 0, 3)
        self._slots: dict[int, NDArray[np.uint8]] = {}

    def serve(self) -> None:
        """Open, answer, close."""
        try:
            opened = self._camera.open()
            self._shape = (opened.size_wh[1], opened.size_wh[0], 3)
            self._link.send(what="open", **asdict(opened))
            while True:
                received = self._link.receive()
                assert received is not None
                self._answer(*received)
        except EOFError:
            return
        except SourceLost as error:
            self._link.send_error(error, "lost")
        except DermedgeError as error:
            self._link.send_error(error)
        finally:
            self._camera.close()

    def _answer(self, request: dict[str, Any], descriptors: list[int]) -> None:
        try:
            if request["what"] == "still":
                self._still(request["pressed_ns"])
                return
            facts = self._camera.frame(self._buffer(request["slot"], descriptors))
            self._link.send(what="frame", **asdict(facts))
        except SourceLost:
            raise
        except InputError as error:
            self._link.send_error(error, "no_frame")

    def _buffer(self, number: int, descriptors: list[int]) -> NDArray[np.uint8]:
        """The parent's buffer of this number; a new one comes with its descriptor."""
        for descriptor in descriptors:
            size = self._shape[0] * self._shape[1] * 3
            pixels = map_pixels(descriptor, size).reshape(self._shape)
            os.close(descriptor)
            if number == ONCE:
                return pixels
            self._slots[number] = pixels
        return self._slots[number]

    def _still(self, pressed_ns: int) -> None:
        pixels, facts = self._camera.still(pressed_ns)
        descriptor = shared_memory("dermedge-still", pixels.size)
        np.copyto(map_pixels(descriptor, pixels.size).reshape(pixels.shape), pixels)
        self._link.send([descriptor], what="still", shape=pixels.shape, **asdict(facts))
        os.close(descriptor)


def main() -> None:
    """Serve the parent that started this process."""
    kind, descriptor, options = sys.argv[1:4]
    link = Link(int(descriptor))
    _Server(link, camera_of(kind, json.loads(options))).serve()


if __name__ == "__main__":
    main()
