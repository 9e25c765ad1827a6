"""A Raspberry Pi's camera, through picamera2; runs in a process of its own.

By the request API: a request is borrowed from the camera, copied once into the frame's buffer, and
given back at once. What libcamera did is read from the metadata of each frame.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError  # its own before Python 3.11
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.errors import InputError, RequestError
from edge.sources.camera_child import FrameFacts, Opened
from edge.sources.lost import SourceLost
from edge.system_packages import how_to_install

SILENT_AFTER_S = 3.0
"""A camera without a frame for so long is lost; less than the parent's patience."""

STILL_WITHIN_S = 8.0

LEVEL_TOLERANCE = 0.02
"""Relative: sensors round exposure to lines and gain to steps."""

_RGB = "BGR888"
"""libcamera names a pixel's bytes from the last to the first: in memory this is R, G, B."""

_CONTROL_OF: Mapping[str, str] = {
    "exposure": "ExposureTime",
    "gain": "AnalogueGain",
    "white_balance": "ColourGains",
}
"""What holds each matter: setting any of these switches off what moves it. ``AeEnable`` is left
alone: it would freeze what is in force before the values of the same request arrive."""


class Picamera:
    """One camera in picamera2's hands.

    Args:
        place: Number of the camera, or a part of its id or model, such as ``imx708``.
        size_wh: Size of the stream in pixels.
        fps: Its rate.
        still_size_wh: Size of stills; ``None`` is the sensor's own.
        profile: ``name``, ``settle_s``, ``fixed`` and the section ``picamera2``; ``None`` leaves
            the camera on automatic.
        held: What a profile's ``hold`` came to before the camera was opened again.
    """

    def __init__(
        self,
        place: str,
        size_wh: tuple[int, int],
        fps: float,
        still_size_wh: tuple[int, int] | None = None,
        profile: Mapping[str, Any] | None = None,
        held: Mapping[str, Any] | None = None,
    ) -> None:
        self._place = place
        self._size_wh = (size_wh[0], size_wh[1])
        self._fps = fps
        self._still_size_wh = (
            None if still_size_wh is None else (still_size_wh[0], still_size_wh[1])
        )
        self._profile = profile
        self._camera: Any = None
        self._wanted: dict[str, Any] = dict(held or {})
        self._first_ns = 0
        self._settled = held is not None

    def open(self) -> Opened:
        """Find the camera, set it up and start it.

        Raises:
            RequestError: picamera2 is not installed.
            InputError: There is no such camera, or it does not start.
        """
        library = _picamera2()
        self._mapped = library.MappedArray
        number, name = find_camera(library.Picamera2.global_camera_info(), self._place)
        try:
            self._camera = library.Picamera2(number)
            self._configure()
            self._camera.start()
        except (RuntimeError, ValueError, OSError) as error:
            raise InputError(
                f"the camera picamera2:{name}",
                got=str(error) or type(error).__name__,
                next_step="end what else uses it, and check its cable",
            ) from error
        self._name = name
        return Opened(name, self._size_wh)

    def _configure(self) -> None:
        interval_us = round(1e6 / self._fps)
        for matter, control in _CONTROL_OF.items():
            if self._profile is not None and self._profile[control] != "hold":
                self._wanted[matter] = self._profile[control]
        controls = {"FrameDurationLimits": (interval_us, interval_us), **self._controls()}
        known = self._camera.camera_controls
        stream = self._camera.create_video_configuration(
            main={"size": self._size_wh, "format": _RGB},
            buffer_count=4,
            controls={name: value for name, value in controls.items() if name in known},
        )
        self._camera.configure(stream)
        got = self._camera.camera_configuration()["main"]
        if tuple(got["size"]) != self._size_wh or got["format"] != _RGB:
            raise ValueError(f"frames of {got['size']} {got['format']}")

    def _controls(self) -> dict[str, Any]:
        return {_CONTROL_OF[matter]: value for matter, value in self._wanted.items()}

    def frame(self, out: NDArray[np.uint8]) -> FrameFacts:
        """The newest frame that was not given yet; as of the protocol ``Camera``."""
        request = self._request(None)
        try:
            with self._mapped(request, "main", write=False) as mapped:
                np.copyto(out, mapped.array)
            metadata = request.get_metadata()
            facts = self._facts(metadata, request)
        finally:
            request.release()
        self._lock_when_settled(metadata, facts.captured_ns)
        return facts

    def still(self, pressed_ns: int) -> tuple[NDArray[np.uint8], FrameFacts]:
        """A frame of the still's size; the stream pauses for it."""
        size_wh = self._still_size_wh or tuple(self._camera.sensor_resolution)
        if size_wh == self._size_wh:
            request = self._request(pressed_ns)
        else:
            request = self._other_size(size_wh)
        try:
            pixels: NDArray[np.uint8] = request.make_array("main")
            facts = self._facts(request.get_metadata(), request)
        finally:
            request.release()
        if facts.exposure_began_ns is None or facts.exposure_began_ns <= pressed_ns:
            raise InputError(
                f"a still from picamera2:{self._name}",
                got="one exposed before the press",
                next_step="press again",
            )
        return pixels, facts

    def _other_size(self, size_wh: tuple[int, int]) -> Any:
        still = self._camera.create_still_configuration(
            main={"size": size_wh, "format": _RGB}, buffer_count=1, controls=self._controls()
        )
        try:
            return self._camera.switch_mode_and_capture_request(still, wait=STILL_WITHIN_S)
        except FutureTimeoutError:
            raise self._lost(f"no still within {STILL_WITHIN_S:g} s") from None

    def close(self) -> None:
        """Stop the camera and let it go."""
        if self._camera is not None:
            self._camera.close()
            self._camera = None

    def _request(self, exposed_after_ns: int | None) -> Any:
        try:
            return self._camera.capture_request(wait=SILENT_AFTER_S, flush=exposed_after_ns)
        except FutureTimeoutError:
            raise self._lost(f"no frame for {SILENT_AFTER_S:g} s") from None

    def _lock_when_settled(self, metadata: Mapping[str, Any], now_ns: int) -> None:
        """Hold what the automatics have come to, once they had their time."""
        profile = self._profile
        if profile is None or self._settled:
            return
        self._first_ns = self._first_ns or now_ns
        if now_ns - self._first_ns < profile["settle_s"] * 1e9:
            return
        for matter, control in _CONTROL_OF.items():
            if matter not in self._wanted and control in metadata:
                self._wanted[matter] = metadata[control]
        self._camera.set_controls(self._controls())
        self._settled = True

    def _facts(self, metadata: Mapping[str, Any], request: Any) -> FrameFacts:
        captured_ns = monotonic_ns(int(metadata["SensorTimestamp"]))
        buffer = next(iter(request.request.buffers.values()))
        return FrameFacts(
            int(buffer.metadata.sequence),
            captured_ns,
            "sensor",
            # As picamera2 itself takes it where it waits for a frame exposed after an instant.
            captured_ns - 1000 * int(metadata["ExposureTime"]),
            self._settings(metadata),
            held=dict(self._wanted) if self._settled else None,
        )

    def _settings(self, metadata: Mapping[str, Any]) -> dict[str, Any]:
        """As ``Frame.settings``, of this very frame."""
        profile = self._profile
        locked = self._locked(metadata)
        gains = metadata.get("ColourGains")
        matters = [m for m in _CONTROL_OF if profile is not None and m not in profile["fixed"]]
        return {
            "pixel_format": _RGB,
            "frame_interval_us": _float(metadata, "FrameDuration"),
            "exposure_us": _float(metadata, "ExposureTime"),
            "analogue_gain": _float(metadata, "AnalogueGain"),
            "digital_gain": _float(metadata, "DigitalGain"),
            "iso": None,
            # An estimate, which goes on moving where the gains are held.
            "white_balance_k": None if gains else _float(metadata, "ColourTemperature"),
            "awb_gains_rb": [float(gain) for gain in gains] if gains else None,
            "controls": {},
            "colour_profile": None if profile is None else profile["name"],
            "locked": locked,
            "colour_locked": profile is not None and all(locked[m] is True for m in matters),
        }

    def _locked(self, metadata: Mapping[str, Any]) -> dict[str, bool | None]:
        """By matter, from what libcamera says it did for this very frame."""
        locked: dict[str, bool | None] = {}
        for matter, control in _CONTROL_OF.items():
            wanted, done = self._wanted.get(matter), metadata.get(control)
            held = wanted is not None and done is not None and _near(wanted, done)
            locked[matter] = None if done is None else held
        return locked

    def _lost(self, got: str) -> SourceLost:
        return SourceLost(
            f"frames from the camera picamera2:{self._name}",
            got=got,
            next_step="check its cable; it is opened again",
        )


def monotonic_ns(sensor_ns: int) -> int:
    """A sensor's time on CLOCK_MONOTONIC.

    libcamera says that it is on CLOCK_BOOTTIME; kernels stamp buffers on CLOCK_MONOTONIC. They are
    one until the machine is suspended. After that a time that lies ahead of the monotonic clock can
    only be of the other.
    """
    now_ns = time.monotonic_ns()
    if sensor_ns <= now_ns:
        return sensor_ns
    return sensor_ns - (time.clock_gettime_ns(time.CLOCK_BOOTTIME) - now_ns)


def find_camera(cameras: Sequence[Mapping[str, Any]], place: str) -> tuple[int, str]:
    """Number and id of the camera that is meant.

    Args:
        cameras: ``Picamera2.global_camera_info()``, in its order.
        place: A number, a part of an id or of a model, or nothing where there is only one.

    Raises:
        InputError: None is, or more than one.
    """
    if place.isdecimal():
        found = [(number, c) for number, c in enumerate(cameras) if number == int(place)]
    else:
        found = [
            (number, c)
            for number, c in enumerate(cameras)
            if place in c["Id"] or place in c.get("Model", "")
        ]
    if len(found) == 1:
        return found[0][0], str(found[0][1]["Id"])
    there = ", ".join(f"{n}: {c.get('Model', '?')} ({c['Id']})" for n, c in enumerate(cameras))
    raise InputError(
        f"one camera that is picamera2:{place}",
        got=f"cameras {there}" if cameras else "no camera that libcamera knows",
        next_step="name one by its model or a part of its id" if cameras else "check its cable",
    )


def _near(wanted: Any, done: Any) -> bool:
    pairs = zip(_list(wanted), _list(done), strict=True)
    return all(abs(a - b) <= LEVEL_TOLERANCE * abs(a) for a, b in pairs)


def _list(value: Any) -> list[float]:
    return [float(part) for part in (value if isinstance(value, (list, tuple)) else (value,))]


def _float(metadata: Mapping[str, Any], name: str) -> float | None:
    value = metadata.get(name)
    return None if value is None else float(value)


def _picamera2() -> Any:
    try:
        import picamera2
    except ImportError as error:
        raise RequestError(
            "the Python module picamera2, for a picamera2: camera (Raspberry Pi only)",
            got=str(error),
            next_step=how_to_install("python3-picamera2"),
        ) from error
    return picamera2
