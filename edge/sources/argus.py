"""A Jetson's CSI camera, through GStreamer's ``nvarguscamerasrc``; runs in a process of its own.

The element before the appsink is a parameter: with ``videotestsrc`` the same code runs anywhere.
"""

from __future__ import annotations

import ctypes
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import InputError
from edge.gstreamer import load_gstreamer
from edge.sources.argus_colour import ArgusColour
from edge.sources.camera_child import FrameFacts, Opened
from edge.sources.lost import SourceLost

SILENT_AFTER_S = 3.0
"""A stream without a frame for so long is lost; less than the parent's patience."""

STILL_WITHIN_S = 6.0

FRAMES_IN_FLIGHT = 6
"""Allowed for between exposure and arrival, and between setting a property and its effect: Argus
keeps several captures under way and does not say how many."""

BELIEVABLE_AGE_NS = 2_000_000_000
"""A sensor's time so much older than the arrival of its frame is of some other clock."""

_SLICE_NS = 100_000_000
_KEPT_ARRIVALS = 64


@dataclass(frozen=True)
class _Arrival:
    """One buffer as it left the camera's element."""

    sequence: int
    arrived_ns: int
    sensor_ns: int | None


class ArgusCamera:
    """A pipeline that runs from ``open`` to ``close``; it is not stopped for stills.

    A second start of the pipeline fails on some drivers until the board is restarted, so a still
    of another size comes from a second branch, whose valve is opened for it alone.

    Args:
        sensor_id: Number of the camera, as Argus counts them.
        size_wh: Size of the stream in pixels.
        fps: Its rate.
        still_size_wh: Size of stills, which the sensor then runs at; ``None`` is the stream's.
        sensor_mode: As ``gst-launch-1.0 nvarguscamerasrc`` lists them; ``None`` lets Argus choose.
        profile: See :class:`ArgusColour`.
        source: The camera's element and its properties.
        memory: The caps feature of what it gives.
        convert: The element that converts and scales into plain memory.
    """

    def __init__(
        self,
        sensor_id: int,
        size_wh: tuple[int, int],
        fps: float,
        still_size_wh: tuple[int, int] | None = None,
        sensor_mode: int | None = None,
        profile: Mapping[str, Any] | None = None,
        source: str = "nvarguscamerasrc",
        memory: str = "(memory:NVMM)",
        convert: str = "nvvidconv",
    ) -> None:
        self._sensor_id = sensor_id
        self._size_wh = (size_wh[0], size_wh[1])
        self._fps = fps
        self._still_size_wh = (
            None if still_size_wh is None else (still_size_wh[0], still_size_wh[1])
        )
        self._sensor_mode = sensor_mode
        self._profile = profile
        self._source = source
        self._memory = memory
        self._convert = convert
        self._pipeline: Any = None
        self._arrivals: OrderedDict[int, _Arrival] = OrderedDict()
        self._count = 0
        self._first_ns = 0
        self._scratch = np.empty((0, 0), np.uint8)

    def open(self) -> Opened:
        """Start the pipeline and wait for nothing.

        Raises:
            RequestError: GStreamer or an element is not installed.
            InputError: The camera does not start.
        """
        self._gst = load_gstreamer(
            "an argus: camera",
            {
                self._source.split()[0]: "JetPack's package nvidia-l4t-gstreamer",
                self._convert.split()[0]: "JetPack's package nvidia-l4t-gstreamer",
                "appsink": "gstreamer1.0-plugins-base",
            },
        )
        self._native = _native_gstreamer()
        self._mark = self._native.g_quark_from_string(b"GstBufferMetaData")
        self._pipeline = self._gst.parse_launch(self._description())
        camera = self._pipeline.get_by_name("camera")
        self._frames = self._pipeline.get_by_name("frames")
        self._colour = ArgusColour(self._gst, camera, self._profile)
        for name, value in (("sensor-id", self._sensor_id), ("sensor-mode", self._sensor_mode)):
            if value is not None and camera.find_property(name) is not None:
                camera.set_property(name, value)
        self._colour.start()
        camera.get_static_pad("src").add_probe(self._gst.PadProbeType.BUFFER, self._on_buffer)
        state = self._pipeline.set_state(self._gst.State.PLAYING)
        if state == self._gst.StateChangeReturn.FAILURE:
            raise self._failure("it does not start")
        return Opened(str(self._sensor_id), self._size_wh)

    def _description(self) -> str:
        width, height = self._still_size_wh or self._size_wh
        rate = f"{round(self._fps * 1000)}/1000"
        camera = (
            f"{self._source} name=camera ! "
            f"video/x-raw{self._memory},width={width},height={height},framerate={rate}"
        )
        stream = f"{self._convert} ! {_bgrx(self._size_wh)} ! {_SINK.format(name='frames')}"
        if self._still_size_wh is None:
            return f"{camera} ! {stream}"
        still = f"{self._convert} ! {_bgrx(self._still_size_wh)} ! {_SINK.format(name='stills')}"
        return (
            f"{camera} ! tee name=both "
            f"both. ! queue max-size-buffers=1 leaky=downstream ! {stream} "
            f"both. ! valve name=gate drop=true ! {still} async=false"
        )

    def frame(self, out: NDArray[np.uint8]) -> FrameFacts:
        """The newest frame that was not given yet; as of the protocol ``Camera``."""
        buffer, arrival = self._next(self._frames, time.monotonic() + SILENT_AFTER_S)
        if self._first_ns == 0:
            self._first_ns = arrival.arrived_ns
        self._colour.lock_when_settled(arrival.arrived_ns, self._first_ns)
        self._convert_into(buffer, out)
        return self._facts(arrival)

    def still(self, pressed_ns: int) -> tuple[NDArray[np.uint8], FrameFacts]:
        """A frame of the sensor's own size, exposed after the press."""
        gate = self._pipeline.get_by_name("gate")
        sink = self._pipeline.get_by_name("stills") if gate is not None else self._frames
        width, height = self._still_size_wh or self._size_wh
        until_s = time.monotonic() + STILL_WITHIN_S
        if gate is not None:
            gate.set_property("drop", False)
        try:
            while True:
                buffer, arrival = self._next(sink, until_s)
                facts = self._facts(arrival)
                assert facts.exposure_began_ns is not None
                if facts.exposure_began_ns > pressed_ns:
                    break
        finally:
            if gate is not None:
                gate.set_property("drop", True)
        pixels = np.empty((height, width, 3), np.uint8)
        self._convert_into(buffer, pixels)
        return pixels, facts

    def close(self) -> None:
        """Stop the pipeline."""
        if self._pipeline is not None:
            self._pipeline.set_state(self._gst.State.NULL)
            self._pipeline = None

    def _on_buffer(self, _: Any, info: Any) -> Any:
        """Runs on GStreamer's thread, for each buffer that leaves the camera's element."""
        arrived_ns = time.monotonic_ns()
        buffer = info.get_buffer()
        sensor_ns = self._sensor_time_ns(buffer)
        if sensor_ns is not None and not 0 <= arrived_ns - sensor_ns < BELIEVABLE_AGE_NS:
            sensor_ns = None
        self._arrivals[buffer.pts] = _Arrival(self._count, arrived_ns, sensor_ns)
        self._count += 1
        while len(self._arrivals) > _KEPT_ARRIVALS:
            self._arrivals.popitem(last=False)
        return self._gst.PadProbeReturn.OK

    def _sensor_time_ns(self, buffer: Any) -> int | None:
        """What nvarguscamerasrc hangs on each buffer for ``nvgstcapture --enable-meta``: two 64-bit
        numbers, count and time of the frame."""
        address = self._native.gst_mini_object_get_qdata(hash(buffer), self._mark)
        if not address:
            return None
        return int(ctypes.cast(address, ctypes.POINTER(ctypes.c_int64))[1])

    def _next(self, sink: Any, until_s: float) -> tuple[Any, _Arrival]:
        while time.monotonic() < until_s:
            sample = sink.emit("try-pull-sample", _SLICE_NS)
            if sample is not None:
                buffer = sample.get_buffer()
                arrival = self._arrivals.get(buffer.pts)
                if arrival is None:  # so old that it was forgotten
                    continue
                return buffer, arrival
            if self._pipeline.get_bus().have_pending():
                self._look_for_errors()
        raise self._lost("no frame, and no word of why")

    def _convert_into(self, buffer: Any, out: NDArray[np.uint8]) -> None:
        height, width = out.shape[:2]
        size = buffer.get_size()
        stride = size // height
        if size % height != 0 or not 4 * width <= stride < 4 * width + 4096:
            raise InputError(
                f"a frame of {width}x{height} from {self._name}",
                got=f"{size} bytes",
                next_step="wait for the next one",
            )
        if self._scratch.shape != (height, stride):
            self._scratch = np.empty((height, stride), np.uint8)
        bgrx = self._scratch
        self._native.gst_buffer_extract(hash(buffer), 0, bgrx.ctypes.data, size)
        pixels = bgrx[:, : 4 * width].reshape(height, width, 4)
        cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGB, dst=out)

    def _facts(self, arrival: _Arrival) -> FrameFacts:
        interval_ns = round(1e9 / self._fps)
        exposure_us = self._colour.stated("exposuretimerange", 1e-3)
        exposed_ns = interval_ns if exposure_us is None else round(exposure_us * 1e3)
        if arrival.sensor_ns is None:
            captured_ns = arrival.arrived_ns
            began_ns = captured_ns - FRAMES_IN_FLIGHT * interval_ns - exposed_ns
        else:
            captured_ns = arrival.sensor_ns
            began_ns = captured_ns - max(interval_ns, exposed_ns)
        captured_by: Literal["sensor", "arrival"] = (
            "arrival" if arrival.sensor_ns is None else "sensor"
        )
        settings = self._settings(exposure_us)
        if began_ns <= self._colour.since_ns + FRAMES_IN_FLIGHT * interval_ns:
            locked = settings["locked"].items()
            settings["locked"] = {k: None if held is None else False for k, held in locked}
            settings["colour_locked"] = False
        return FrameFacts(arrival.sequence, captured_ns, captured_by, began_ns, settings)

    def _settings(self, exposure_us: float | None) -> dict[str, Any]:
        """As ``Frame.settings``: Argus tells GStreamer nothing but what was asked for."""
        colour = self._colour
        return {
            "pixel_format": "BGRx",
            "frame_interval_us": 1e6 / self._fps,
            "exposure_us": exposure_us,
            "analogue_gain": colour.stated("gainrange"),
            "digital_gain": colour.stated("ispdigitalgainrange"),
            "iso": None,
            "white_balance_k": None,
            "awb_gains_rb": None,
            "controls": colour.controls(),
            "colour_profile": colour.profile_name,
            "locked": colour.locked(),
            "colour_locked": colour.colour_locked(),
        }

    @property
    def _name(self) -> str:
        return f"argus:{self._sensor_id}"

    def _look_for_errors(self) -> None:
        kinds = self._gst.MessageType.ERROR | self._gst.MessageType.EOS
        message = self._pipeline.get_bus().pop_filtered(kinds)
        if message is None:
            return
        if message.type == self._gst.MessageType.EOS:
            raise self._lost("the end of its stream")
        raise self._lost(_told(message))

    def _failure(self, words: str) -> InputError:
        """What the pipeline's bus says, or else ``words``."""
        message = self._pipeline.get_bus().timed_pop_filtered(
            500 * self._gst.MSECOND, self._gst.MessageType.ERROR
        )
        return self._lost(words if message is None else _told(message))

    def _lost(self, got: str) -> SourceLost:
        return SourceLost(
            f"frames from the camera {self._name}",
            got=got,
            next_step="check cable and sensor, or restart nvargus-daemon; it is opened again",
        )


def _told(message: Any) -> str:
    """What an element reports: its words, and the last line of what it adds for programmers."""
    error, more = message.parse_error()
    lines = (more or "").strip().splitlines()
    return f"{error.message} ({lines[-1].strip()})" if lines else str(error.message)


_SINK = "appsink name={name} max-buffers=1 drop=true sync=false"


def _bgrx(size_wh: tuple[int, int]) -> str:
    return f"video/x-raw,format=BGRx,width={size_wh[0]},height={size_wh[1]}"


def _native_gstreamer() -> ctypes.CDLL:
    """libgstreamer itself: what gi cannot do, or only with a copy of each frame."""
    native = ctypes.CDLL("libgstreamer-1.0.so.0")
    native.g_quark_from_string.argtypes = [ctypes.c_char_p]
    native.g_quark_from_string.restype = ctypes.c_uint32
    native.gst_mini_object_get_qdata.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
    native.gst_mini_object_get_qdata.restype = ctypes.c_void_p
    native.gst_buffer_extract.argtypes = [
        ctypes.c_void_p,
        ctypes.c_size_t,
        ctypes.c_void_p,
        ctypes.c_size_t,
    ]
    native.gst_buffer_extract.restype = ctypes.c_size_t
    return native
