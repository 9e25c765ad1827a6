"""A stand-in for GStreamer's element ``nvarguscamerasrc``, around ``videotestsrc``.

Properties by the names, kinds and defaults of gstnvarguscamerasrc.cpp in NVIDIA's public sources of
L4T 35.4.1 and of what ``gst-inspect-1.0 nvarguscamerasrc`` prints on JetPack 6; ``wbmode`` is an
enumeration there, and ranges are strings. Each buffer carries the count and the time of its frame
as theirs do: two 64-bit numbers under the quark ``GstBufferMetaData``.
"""

from __future__ import annotations

import ctypes
import time

import gi

gi.require_version("Gst", "1.0")
from gi.repository import GObject, Gst  # noqa: E402

Gst.init(None)

SENSOR_DELAY_NS = 40_000_000
"""So long before it leaves the element a frame was exposed."""

_PATTERN = type(Gst.ElementFactory.make("videotestsrc").get_property("pattern"))
_READ_WRITE = GObject.ParamFlags.READWRITE


class NvArgusCameraSrc(Gst.Bin):
    """Gives test pictures; takes every property and does nothing with it."""

    __gstmetadata__ = ("NvArgusCameraSrc", "Video/Capture", "stand-in", "tests")
    __gproperties__ = {
        "sensor-id": (int, "Sensor ID", "", 0, 255, 0, _READ_WRITE),
        "sensor-mode": (int, "Sensor Mode", "", -1, 255, -1, _READ_WRITE),
        "wbmode": (_PATTERN, "white balance mode", "", _PATTERN(1), _READ_WRITE),
        "exposuretimerange": (str, "Exposure Time Range", "", None, _READ_WRITE),
        "gainrange": (str, "Gain Range", "", None, _READ_WRITE),
        "ispdigitalgainrange": (str, "ISP Digital Gain Range", "", None, _READ_WRITE),
        "aelock": (bool, "AE Lock", "", False, _READ_WRITE),
        "awblock": (bool, "AWB Lock", "", False, _READ_WRITE),
    }
    with_times = True

    def __init__(self) -> None:
        super().__init__()
        self._values = {"sensor-id": 0, "sensor-mode": -1, "wbmode": _PATTERN(1)}
        self._native = ctypes.CDLL("libgstreamer-1.0.so.0")
        self._native.gst_mini_object_set_qdata.argtypes = [
            ctypes.c_void_p,
            ctypes.c_uint32,
            ctypes.c_void_p,
            ctypes.c_void_p,
        ]
        self._mark = self._native.g_quark_from_string(b"GstBufferMetaData")
        self._told = [(ctypes.c_int64 * 2)() for _ in range(64)]
        self._count = 0
        inner = Gst.ElementFactory.make("videotestsrc")
        inner.set_property("is-live", True)
        inner.set_property("pattern", "red")
        self.add(inner)
        pad = inner.get_static_pad("src")
        pad.add_probe(Gst.PadProbeType.BUFFER, self._tell)
        self.add_pad(Gst.GhostPad.new("src", pad))

    def do_get_property(self, prop: GObject.ParamSpec) -> object:
        """What was set, or the default."""
        return self._values.get(prop.name, prop.default_value)

    def do_set_property(self, prop: GObject.ParamSpec, value: object) -> None:
        """Keep it."""
        self._values[prop.name] = value

    def _tell(self, _: Gst.Pad, info: Gst.PadProbeInfo) -> Gst.PadProbeReturn:
        if self.with_times:
            told = self._told[self._count % len(self._told)]
            told[0], told[1] = self._count, time.monotonic_ns() - SENSOR_DELAY_NS
            address = ctypes.addressof(told)
            self._native.gst_mini_object_set_qdata(
                hash(info.get_buffer()), self._mark, address, None
            )
        self._count += 1
        return Gst.PadProbeReturn.OK


def register() -> None:
    """Make the element known to this process."""
    GObject.type_register(NvArgusCameraSrc)
    Gst.Element.register(None, "nvarguscamerasrc", Gst.Rank.NONE, NvArgusCameraSrc)
