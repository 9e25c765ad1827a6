"""A source whose camera lives in a process of its own, because its library may hang for ever."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.child_process import ChildEndedError, ChildProcess, child_error
from edge.frame import Frame
from edge.own_module import own_module
from edge.sources.frame_numbers import FrameNumbers
from edge.sources.lost import SourceLost
from edge.sources.shared_pool import SharedPool, map_pixels

OPEN_WITHIN_S = 30.0
"""A camera that does not run after this long hangs; a daemon that starts anew takes its time."""

END_WITHIN_S = 4.0
"""A camera that is not stopped in order may not start until its daemon, or the machine, does."""

_log = logging.getLogger("dermedge.source")


class CameraProcess:
    """Asks a child for one frame at a time; a child that does not answer is killed.

    Every frame's pixels come from memory that the child fills and this process maps. They are
    whoever refers to them's, and nobody writes into them meanwhile. Ids are the camera's counts
    made to rise for good, so gaps are frames that were lost or passed over.

    After a :class:`SourceLost`, ``close`` and ``open`` start a new child.

    Args:
        kind: ``argus`` or ``picamera2``: what :mod:`edge.sources.camera_child` makes.
        options: For the child's side, JSON-able.
        place: What was asked for, for messages before the camera has told its name.
        silent_after_s: A child that has not given a frame after this long is killed.
        still_within_s: Likewise for a still.
        module: What Python runs in the child.
    """

    is_live = True

    def __init__(
        self,
        kind: str,
        options: Mapping[str, Any],
        place: str = "",
        *,
        silent_after_s: float = 4.0,
        still_within_s: float = 10.0,
        module: Sequence[str] = own_module("edge.sources.camera_child"),
    ) -> None:
        self._kind = kind
        self._options = dict(options)
        self._name = place
        self._silent_after_s = silent_after_s
        self._still_within_s = still_within_s
        self._module = module
        self._reading = threading.Lock()  # close() from another thread waits for a running read
        self._closed = threading.Event()
        self._numbers = FrameNumbers()
        self._child: ChildProcess | None = None
        self._pool: SharedPool | None = None

    @property
    def name(self) -> str:
        """The kind and what was asked for; once open, the camera's own name."""
        return f"{self._kind}:{self._name}"

    def open(self) -> None:
        """Start the child and its camera.

        Raises:
            RequestError: A library is not installed; says which package brings it.
            InputError: There is no such camera, or it does not run.
        """
        with self._reading:
            if self._child is not None:
                raise ValueError("the source is open already")
            self._closed.clear()
            options = json.dumps(self._options)
            arguments = [*self._module, self._kind, "SOCKET", options]
            self._child = ChildProcess(self._kind, arguments, _log, END_WITHIN_S)
            try:
                opened, _ = self._answer(OPEN_WITHIN_S)
            except BaseException:
                self._end()
                raise
            width, height = opened["size_wh"]
            self._name = opened["name"]
            self._pool = SharedPool((height, width, 3))
            self._numbers.restart()

    def read(self) -> Frame | None:
        """The next frame, the newest that the camera has; ``None`` once closed.

        Raises:
            SourceLost: The camera or its process gives nothing more until it is opened again.
            InputError: This frame cannot be had.
        """
        with self._reading:
            if self._closed.is_set():
                return None
            if self._pool is None:
                raise self._lost("one that is not open")
            slot = self._pool.take()
            try:
                answer, _ = self._ask(
                    {"what": "frame", "slot": slot.number}, slot.descriptor, self._silent_after_s
                )
            except SourceLost:
                if self._closed.is_set():
                    return None
                raise
            return self._frame(answer, slot.pixels, self._numbers.number(answer["sequence"]))

    def take_still(self, pressed_ns: int) -> Frame:
        """One frame of the still's size, exposed after ``pressed_ns`` (monotonic).

        Raises:
            InputError: No such picture can be had; the stream goes on.
            SourceLost: The camera or its process is gone.
        """
        with self._reading:
            request = {"what": "still", "pressed_ns": pressed_ns}
            answer, descriptors = self._ask(request, None, self._still_within_s)
            shape = answer["shape"]
            pixels = map_pixels(descriptors[0], shape[0] * shape[1] * 3).reshape(shape)
            os.close(descriptors[0])
            return self._frame(answer, pixels, self._numbers.between())

    def close(self) -> None:
        """End the child; calling it twice, or from another thread, is harmless."""
        self._closed.set()
        child = self._child
        if child is not None:
            child.interrupt()
        with self._reading:
            self._end()

    def __enter__(self) -> CameraProcess:
        self.open()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _ask(
        self, request: Mapping[str, Any], descriptor: int | None, within_s: float
    ) -> tuple[dict[str, Any], list[int]]:
        try:
            if self._child is None:
                raise self._lost("one that is not open")
            self._child.send(request, [] if descriptor is None else [descriptor])
        except ChildEndedError as error:
            raise self._lost(str(error)) from None
        finally:
            if descriptor is not None:
                os.close(descriptor)
        return self._answer(within_s)

    def _answer(self, within_s: float) -> tuple[dict[str, Any], list[int]]:
        """What the child says; one that says nothing is killed."""
        assert self._child is not None
        try:
            received = self._child.receive(within_s)
        except ChildEndedError as error:
            raise self._lost(str(error)) from None
        if received is None:
            raise self._lost(f"no answer for {within_s:g} s: it hangs, and its process was ended")
        message, descriptors = received
        if message["what"] in ("failed", "lost"):
            self._end()
        if message["what"] == "lost":
            raise SourceLost(
                message["expected"], got=message["got"], next_step=message["next_step"]
            )
        if message["what"] in ("failed", "no_frame"):
            raise child_error(message)
        return message, descriptors

    def _frame(self, answer: Mapping[str, Any], pixels: NDArray[np.uint8], frame_id: int) -> Frame:
        if answer["held"] is not None:
            self._options["held"] = answer["held"]  # for the child after this one
        return Frame(
            pixels=pixels,
            frame_id=frame_id,
            source=self.name,
            captured_ns=answer["captured_ns"],
            captured_clock="monotonic",
            captured_by=answer["captured_by"],
            settings=answer["settings"],
            notes=tuple(answer["notes"]),
            exposure_began_ns=answer["exposure_began_ns"],
        )

    def _lost(self, got: str) -> SourceLost:
        self._end()
        return SourceLost(
            f"frames from the camera {self.name}",
            got=got,
            next_step="check the camera and its cable; it is opened again",
        )

    def _end(self) -> None:
        child, self._child, self._pool = self._child, None, None
        if child is not None:
            began_s = time.monotonic()
            child.end()
            _log.debug("%s: ended in %.1f s", self.name, time.monotonic() - began_s)
