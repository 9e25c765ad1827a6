"""A whole display without a desktop, through GStreamer; runs in a process of its own."""

from __future__ import annotations

import time
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import InputError
from edge.gstreamer import load_gstreamer
from edge.pages import page
from edge.screens.connector import Connector, find_connector

SHOWN_WITHIN_S = 2.0
"""A display that has not taken a picture after this long is away."""

_NEXT = f"see {page('cameras-and-screens.md')}"


class GstDisplay:
    """Takes the display, shows pictures of its size, and gives it back.

    Args:
        connector: Which display.
        sink: GStreamer's element that shows, with its properties; by default the one for the
            connector. Tests give another.
    """

    def __init__(self, connector: Connector, sink: str | None = None) -> None:
        self._connector = connector
        self._sink_description = sink or sink_for(connector)
        self._pipeline: Any = None
        self._rendered = 0

    def open(self) -> None:
        """Take the display.

        Raises:
            RequestError: GStreamer or the element is not installed.
            InputError: The display cannot be taken.
        """
        element = self._sink_description.split()[0]
        self._gst = load_gstreamer(
            "a screen without a desktop", {element: "gstreamer1.0-plugins-bad"}
        )
        width, height = self._size_wh = self._connector.size_wh or self._asked_size_wh()
        caps = f"video/x-raw,format=BGRx,width={width},height={height},framerate=0/1"
        self._pipeline = self._gst.parse_launch(
            f'appsrc name=pictures is-live=true format=time max-buffers=1 caps="{caps}" ! '
            f"{self._sink_description} name=display sync=false async=false qos=false"
        )
        self._pictures = self._pipeline.get_by_name("pictures")
        self._display = self._pipeline.get_by_name("display")
        self._bgrx = np.empty((height, width, 4), np.uint8)
        self._rendered = 0
        if self._pipeline.set_state(self._gst.State.PLAYING) == self._gst.StateChangeReturn.FAILURE:
            raise self._failure("it cannot be taken")

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height of the display in pixels; valid once open."""
        return self._size_wh

    def _asked_size_wh(self) -> tuple[int, int]:
        """The display's own size, from the element that will show on it."""
        pipeline = self._gst.parse_bin_from_description(
            f"{self._sink_description} name=display", False
        )
        try:
            if pipeline.set_state(self._gst.State.PAUSED) == self._gst.StateChangeReturn.FAILURE:
                raise self._error("it cannot be taken")
            display = pipeline.get_by_name("display")
            size = [display.get_property(f"display-{side}") for side in ("width", "height")]
        finally:
            pipeline.set_state(self._gst.State.NULL)
        if min(size) > 0:
            return int(size[0]), int(size[1])
        # Nothing is shown on it; but now it has been asked, and the kernel knows its modes.
        known_wh = find_connector(self._connector.name).size_wh
        if known_wh is None:
            raise self._error("it does not tell its size")
        return known_wh

    def show(self, picture: NDArray[np.uint8]) -> int:
        """Show one picture.

        Args:
            picture: HxWx3 uint8 RGB; smaller than the display it stands in the middle, on black.

        Returns:
            Monotonic nanoseconds at which the display had taken it.

        Raises:
            InputError: The display does not take it.
        """
        self._convert(picture)
        buffer = self._gst.Buffer.new_wrapped(self._bgrx.tobytes())
        if self._pictures.emit("push-buffer", buffer) != self._gst.FlowReturn.OK:
            raise self._failure("it takes no pictures")
        until_s = time.monotonic() + SHOWN_WITHIN_S
        while (rendered := self._count()) == self._rendered:
            if self._pipeline.get_bus().have_pending():
                self._look_for_errors()
            if time.monotonic() > until_s:
                raise self._failure(f"it took no picture within {SHOWN_WITHIN_S:g} s")
            time.sleep(0.001)
        self._rendered = rendered
        return time.monotonic_ns()

    def close(self) -> None:
        """Give the display back; twice is harmless."""
        if self._pipeline is not None:
            self._pipeline.set_state(self._gst.State.NULL)
            self._pipeline = None

    def _convert(self, picture: NDArray[np.uint8]) -> None:
        height, width = self._bgrx.shape[:2]
        if picture.shape[:2] == (height, width):
            cv2.cvtColor(picture, cv2.COLOR_RGB2BGRA, dst=self._bgrx)
            return
        scale = min(width / picture.shape[1], height / picture.shape[0], 1.0)
        inner_w = min(width, round(picture.shape[1] * scale))
        inner_h = min(height, round(picture.shape[0] * scale))
        if scale < 1.0:
            small = cv2.resize(picture, (inner_w, inner_h), interpolation=cv2.INTER_AREA)
            picture = np.asarray(small, np.uint8)
        x0, y0 = (width - inner_w) // 2, (height - inner_h) // 2
        self._bgrx.fill(0)
        self._bgrx[y0 : y0 + inner_h, x0 : x0 + inner_w, :3] = picture[..., ::-1]

    def _count(self) -> int:
        statistics = self._display.get_property("stats")
        return int(statistics.get_uint64("rendered").value)

    def _look_for_errors(self) -> None:
        message = self._pipeline.get_bus().pop_filtered(self._gst.MessageType.ERROR)
        if message is not None:
            raise self._error(message.parse_error()[0].message)

    def _failure(self, words: str) -> InputError:
        """What the pipeline's bus says, or else ``words``."""
        message = self._pipeline.get_bus().timed_pop_filtered(
            200 * self._gst.MSECOND, self._gst.MessageType.ERROR
        )
        return self._error(message.parse_error()[0].message if message is not None else words)

    def _error(self, words: str) -> InputError:
        return InputError(
            f"the display {self._connector.name}",
            got=words,
            next_step="end what else uses it (a desktop?), be in the group video; " + _NEXT,
        )


def sink_for(connector: Connector) -> str:
    """GStreamer's element for a display."""
    if connector.is_framebuffer:
        return f"fbdevsink device=/dev/{connector.name}"
    # The mode is set anew, to the size of the pictures, which is the display's own.
    parts = ["kmssink", "force-modesetting=true"]
    if connector.connector_id is not None:
        parts.append(f"connector-id={connector.connector_id}")
    if connector.driver is not None:
        parts.append(f"driver-name={connector.driver}")
    return " ".join(parts)
