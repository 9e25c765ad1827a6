"""A stand-in for picamera2 on a Raspberry Pi, as far as the ``picamera2:`` source uses it.

Frames come at the configured rate; controls take effect two frames after they were set, as on a
sensor, and metadata say what was in force. ``tests/edge/sources/test_picamera.py`` holds names and
parameters to the genuine package. ``PICAMERA2_FAULT`` asks for a fault.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import TimeoutError as FutureTimeoutError
from types import SimpleNamespace

import numpy as np

READOUT_NS = 12_000_000
DELAY_FRAMES = 2
_FAULT = os.environ.get("PICAMERA2_FAULT", "")


class CompletedRequest:
    """A frame that is borrowed from the camera; to be given back by ``release``."""

    borrowed = 0

    def __init__(self, picam2: Picamera2, number: int, exposed_ns: int, size: tuple) -> None:
        CompletedRequest.borrowed += 1
        if CompletedRequest.borrowed > 3:
            raise RuntimeError("every buffer is with the application: release them")
        in_force = picam2.in_force(number)
        self.config = {"main": {"size": size, "format": "BGR888"}}
        self._array = np.zeros((size[1], size[0], 3), np.uint8)
        self._array[..., 0] = 200  # red, in memory order
        self._array[0, 0] = number % 256
        metadata = SimpleNamespace(sequence=number, status="Success")
        self.request = SimpleNamespace(buffers={"main": SimpleNamespace(metadata=metadata)})
        self._metadata = {"SensorTimestamp": exposed_ns, "DigitalGain": 1.01, **in_force}

    def get_metadata(self) -> dict:
        """By the names of libcamera's controls."""
        return dict(self._metadata)

    def make_array(self, name: str) -> np.ndarray:
        """A copy of the pixels."""
        assert name == "main"
        return self._array.copy()

    def release(self) -> None:
        """Give the buffer back; what is read after that is something else."""
        CompletedRequest.borrowed -= 1
        self._array[:] = 77
        self.request = None


class MappedArray:
    """The camera's own memory, for as long as the ``with`` lasts."""

    def __init__(
        self, request: CompletedRequest, stream: str, reshape: bool = True, write: bool = True
    ) -> None:
        self.array = request._array

    def __enter__(self) -> MappedArray:
        return self

    def __exit__(self, *_: object) -> None:
        self.array = None


class Picamera2:
    """One camera."""

    @staticmethod
    def global_camera_info() -> list:
        """What is plugged in."""
        if _FAULT == "none":
            return []
        return [
            {"Model": "imx708", "Location": 2, "Id": "/base/soc/i2c0mux/i2c@1/imx708@1a", "Num": 0},
            {"Model": "ov5647", "Location": 2, "Id": "/base/soc/i2c0mux/i2c@0/ov5647@36", "Num": 1},
        ]

    def __init__(self, camera_num=0, verbose_console=None, tuning=None, allocator=None) -> None:
        if _FAULT == "busy":
            raise RuntimeError("Failed to acquire camera: Device or resource busy")
        known = ("FrameDurationLimits", "ExposureTime", "AnalogueGain", "ColourGains")
        self.camera_controls = dict.fromkeys(known, (0, 1, 0))
        self.sensor_resolution = (4608, 2592)
        self._config: dict = {}
        self._changes: list = []
        self._began_ns = 0
        self._given = -1

    def create_video_configuration(
        self,
        main={},  # noqa: B006
        lores=None,
        raw={},  # noqa: B006
        transform=None,
        colour_space=None,
        buffer_count=6,
        controls={},  # noqa: B006
        display="main",
        encode="main",
        queue=True,
        sensor={},  # noqa: B006
        use_case="video",
    ) -> dict:
        """For streams."""
        unknown = set(controls) - set(self.camera_controls)
        if unknown:
            raise RuntimeError(f"Control {unknown} is not advertised by libcamera")
        return {"main": main, "controls": controls}

    def create_still_configuration(
        self,
        main={},  # noqa: B006
        lores=None,
        raw={},  # noqa: B006
        transform=None,
        colour_space=None,
        buffer_count=1,
        controls={},  # noqa: B006
        display=None,
        encode=None,
        queue=True,
        sensor={},  # noqa: B006
        use_case="still",
    ) -> dict:
        """For stills."""
        return {"main": main, "controls": controls}

    def configure(self, camera_config=None) -> None:
        """Take a configuration over; libcamera may adjust it."""
        self._config = {**camera_config, "main": dict(camera_config["main"])}
        if _FAULT == "adjust":
            self._config["main"]["size"] = (640, 360)

    def camera_configuration(self) -> dict:
        """What was configured in the end."""
        return self._config

    def start(self, config=None, show_preview=False) -> None:
        """Start the stream."""
        self._began_ns = time.monotonic_ns()
        self._interval_ns = self._config["controls"]["FrameDurationLimits"][0] * 1000
        self._changes = [(-1, dict(self._config["controls"]))]

    def set_controls(self, controls) -> None:
        """Takes effect some frames later."""
        self._changes.append((self._newest() + DELAY_FRAMES, dict(controls)))

    def in_force(self, number: int) -> dict:
        """Values of a frame: those that were set, else what an automatic does, which wanders."""
        wander = 1.0 + 0.2 * np.sin(number / 3.0)
        values = {
            "ExposureTime": int(9000 * wander),
            "AnalogueGain": float(2.0 * wander),
            "ColourGains": (float(1.8 * wander), 1.5),
            "ColourTemperature": int(5000 * wander),
            "FrameDuration": self._interval_ns // 1000,
        }
        for since, controls in self._changes:
            if number >= since:
                values.update({k: v for k, v in controls.items() if k in values})
        values["ExposureTime"] = values["ExposureTime"] // 17 * 17  # whole lines
        return values

    def capture_request(self, wait=None, signal_function=None, flush=None) -> CompletedRequest:
        """The newest frame that was not given yet."""
        if _FAULT == "hang" and self._given >= 2:
            time.sleep(1000)
        if _FAULT == "silent" and self._given >= 2:
            time.sleep(wait)
            raise FutureTimeoutError
        number = max(self._newest(), self._given + 1)
        if flush is not None:
            while self._exposed_ns(number) - 1000 * self.in_force(number)["ExposureTime"] < flush:
                number += 1
        self._wait_for(number)
        self._given = number
        size = self._config["main"]["size"]
        return CompletedRequest(self, number, self._exposed_ns(number), size)

    def switch_mode_and_capture_request(
        self, camera_config, wait=None, signal_function=None, delay=0
    ) -> CompletedRequest:
        """A frame of another configuration; the stream goes on from nought."""
        self.start()
        self._wait_for(1)
        size = camera_config["main"]["size"]
        request = CompletedRequest(self, 1, self._exposed_ns(1), size)
        self.start()
        self._given = -1
        return request

    def close(self) -> None:
        """Let the camera go."""

    def _newest(self) -> int:
        return (time.monotonic_ns() - self._began_ns - READOUT_NS) // self._interval_ns - 1

    def _exposed_ns(self, number: int) -> int:
        return self._began_ns + (number + 1) * self._interval_ns

    def _wait_for(self, number: int) -> None:
        time.sleep(max(0, self._exposed_ns(number) + READOUT_NS - time.monotonic_ns()) / 1e9)
