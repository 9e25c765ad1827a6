"""A USB camera in software, for guests: uvcvideo and the USB core cannot tell it from a real one.

It answers as a UVC 1.0 device through raw_gadget on dummy_hcd (modprobe both first): MJPG and YUYV
over a bulk endpoint, exposure, gain and white balance with automatics, a serial number. It forgets
its settings when a stream begins, and a picture is as grey as it was exposed for long. The time
of exposure is drawn into each picture, 32 black or white squares along its top: milliseconds of
CLOCK_MONOTONIC, so that what the program claims can be compared with what was done.

Usage: ``uvc_camera.py VID:PID SERIAL``; it obeys lines on stdin: ``error`` (next frame flagged as
damaged), ``torn`` (half of the next JPEG), ``silent`` and ``go``. Killing it pulls the plug.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
import threading
import time

import cv2
import numpy as np

SQUARE = 16
BITS = 32
PAYLOAD_BYTES = 49_152  # about what dummy_hcd moves per tick of its timer
SIZES = {1: [(160, 120), (320, 240)], 2: [(640, 480), (1280, 960)]}  # YUYV, MJPG by format index
INTERVAL = 666_666  # in 100 ns: 15 frames/s

_libc = ctypes.CDLL(None, use_errno=True)


def _iow(number: int, size: int) -> int:
    return 1 << 30 | size << 16 | ord("U") << 8 | number


def _iowr(number: int, size: int) -> int:
    return 3 << 30 | size << 16 | ord("U") << 8 | number


RAW_INIT = _iow(0, 257)
RAW_RUN = ord("U") << 8 | 1
RAW_EVENT_FETCH = 2 << 30 | 8 << 16 | ord("U") << 8 | 2
RAW_EP0_WRITE = _iow(3, 8)
RAW_EP0_READ = _iowr(4, 8)
RAW_EP_ENABLE = _iow(5, 9)
RAW_EP_WRITE = _iow(7, 8)
RAW_CONFIGURE = ord("U") << 8 | 9
RAW_VBUS_DRAW = _iow(10, 4)
RAW_EP0_STALL = ord("U") << 8 | 12

GET_CUR, GET_MIN, GET_MAX, GET_RES, GET_LEN, GET_INFO, GET_DEF, SET_CUR = (
    0x81,
    0x82,
    0x83,
    0x84,
    0x85,
    0x86,
    0x87,
    0x01,
)


class Control:
    """A UVC control: its answers, and what it is now."""

    def __init__(self, form: str, low: int, high: int, step: int, default: int) -> None:
        self.form = form
        self.answers = {GET_MIN: low, GET_MAX: high, GET_RES: step, GET_DEF: default}
        self.now = default

    def reply(self, request: int) -> bytes:
        if request == GET_LEN:
            return struct.pack("<H", struct.calcsize(self.form))
        if request == GET_INFO:
            return b"\x03"
        value = self.now if request == GET_CUR else self.answers[request]
        return struct.pack(self.form, value)


AUTO_EXPOSURE, EXPOSURE = (1, 2), (1, 4)  # camera terminal
BRIGHTNESS, GAIN, POWER_LINE, WB_KELVIN, WB_AUTO = (2, 2), (2, 4), (2, 5), (2, 10), (2, 11)
CONTROLS = {
    AUTO_EXPOSURE: Control("<B", 0, 0, 1 | 8, 8),  # GET_RES: the modes that there are
    EXPOSURE: Control("<I", 1, 5000, 1, 300),
    BRIGHTNESS: Control("<h", -64, 64, 1, 0),
    GAIN: Control("<H", 0, 100, 1, 20),
    POWER_LINE: Control("<B", 0, 2, 1, 1),
    WB_KELVIN: Control("<H", 2800, 6500, 10, 4600),
    WB_AUTO: Control("<B", 0, 1, 1, 1),
}


def descriptors(vid: int, pid: int) -> tuple[bytes, bytes]:
    device = struct.pack(
        "<BBHBBBBHHHBBBB", 18, 1, 0x0200, 0xEF, 2, 1, 64, vid, pid, 0x0100, 1, 2, 3, 1
    )
    units = (
        struct.pack("<BBBBHBBHHHBBH", 18, 0x24, 2, 1, 0x0201, 0, 0, 0, 0, 0, 3, 0b1010, 0)
        + struct.pack(
            "<BBBBBHBHB", 11, 0x24, 5, 2, 1, 0, 2, 1 << 12 | 1 << 10 | 1 << 9 | 1 << 6 | 1, 0
        )
        + struct.pack("<BBBBHBBB", 9, 0x24, 3, 3, 0x0101, 0, 2, 0)
    )
    header = struct.pack("<BBBHHIBB", 13, 0x24, 1, 0x0100, 13 + len(units), 48_000_000, 1, 1)
    yuy2 = b"YUY2\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"
    colour = struct.pack("<BBBBBB", 6, 0x24, 0x0D, 1, 1, 4)
    formats = (
        struct.pack("<BBBBB16sBBBBBB", 27, 0x24, 4, 1, len(SIZES[1]), yuy2, 16, 1, 0, 0, 0, 0)
        + b"".join(_frame(5, i, wh) for i, wh in enumerate(SIZES[1], 1))
        + colour
        + struct.pack("<BBBBBBBBBBB", 11, 0x24, 6, 2, len(SIZES[2]), 1, 1, 0, 0, 0, 0)
        + b"".join(_frame(7, i, wh) for i, wh in enumerate(SIZES[2], 1))
        + colour
    )
    input_header = struct.pack(
        "<BBBBHBBBBBBBBB", 15, 0x24, 1, 2, 15 + len(formats), 0x81, 0, 3, 0, 0, 0, 1, 0, 0
    )
    body = (
        struct.pack("<BBBBBBBB", 8, 11, 0, 2, 0x0E, 3, 0, 0)
        + struct.pack("<BBBBBBBBB", 9, 4, 0, 0, 0, 0x0E, 1, 0, 0)
        + header
        + units
        + struct.pack("<BBBBBBBBB", 9, 4, 1, 0, 1, 0x0E, 2, 0, 0)
        + input_header
        + formats
        + ENDPOINT
    )
    return device, struct.pack("<BBHBBBBB", 9, 2, 9 + len(body), 2, 1, 0, 0x80, 250) + body


ENDPOINT = struct.pack("<BBBBHB", 7, 5, 0x81, 2, 512, 0)


def _frame(kind: int, index: int, size_wh: tuple[int, int]) -> bytes:
    width, height = size_wh
    return struct.pack(
        "<BBBBBHHIIIIBI", 30, 0x24, kind, index, 0, width, height, 1, 1 << 27,
        2 * width * height, INTERVAL, 1, INTERVAL,
    )  # fmt: skip


class Camera:
    """The device: answers control requests on one thread, sends frames on another."""

    def __init__(self, vid: int, pid: int, serial: str) -> None:
        self.device, self.configuration = descriptors(vid, pid)
        self.strings = {1: "dermedge tests", 2: "Software Camera", 3: serial}
        self.format, self.frame = 2, 1
        self.generation = 0  # raised by each commit: a new stream begins
        self.streaming = threading.Event()
        self.faults: set[str] = set()
        self.endpoint = -1
        self.fd = os.open("/dev/raw-gadget", os.O_RDWR)
        self._call(RAW_INIT, struct.pack("<128s128sB", b"dummy_udc", b"dummy_udc.0", 3))
        self._call(RAW_RUN, None)

    def _call(self, request: int, data: bytes | int | None) -> tuple[int, bytes]:
        """One ioctl without the interpreter's lock; an integer is passed by value."""
        if data is None or isinstance(data, int):
            result = _libc.ioctl(self.fd, ctypes.c_ulong(request), ctypes.c_ulong(data or 0))
            buffer = b""
        else:
            memory = ctypes.create_string_buffer(data, len(data))
            result = _libc.ioctl(self.fd, ctypes.c_ulong(request), memory)
            buffer = memory.raw
        if result < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return result, buffer

    def _io(self, request: int, endpoint: int, data: bytes) -> bytes:
        head = struct.pack("<HHI", endpoint, 0, len(data))
        length, buffer = self._call(request, head + data)
        return buffer[8 : 8 + length]

    def serve(self) -> None:
        """Answer control requests until the program is killed."""
        while True:
            _, event = self._call(RAW_EVENT_FETCH, struct.pack("<II8s", 0, 8, b""))
            kind, _, setup = struct.unpack("<II8s", event)
            if kind == 2:
                try:
                    self._control(*struct.unpack("<BBHHH", setup))
                except OSError as error:  # the host gave up on it
                    print("control request:", error, flush=True)

    def _control(self, kind: int, request: int, value: int, index: int, length: int) -> None:
        reply = self._reply(kind, request, value, index)
        if reply is None:
            self._call(RAW_EP0_STALL, None)
        elif kind & 0x80:
            self._io(RAW_EP0_WRITE, 0, reply[:length])
        else:
            data = self._io(RAW_EP0_READ, 0, bytes(length))
            if kind == 0x21 and request == SET_CUR:
                self._set(value >> 8, index, data)

    def _reply(self, kind: int, request: int, value: int, index: int) -> bytes | None:
        if kind == 0x80 and request == 6:
            return self._descriptor(value >> 8, value & 255)
        if (kind, request) == (0x00, 9):
            if self.endpoint < 0:
                self.endpoint, _ = self._call(RAW_EP_ENABLE, ENDPOINT + b"\0\0")
                self._call(RAW_VBUS_DRAW, 250)
                self._call(RAW_CONFIGURE, None)
                threading.Thread(target=self._send, daemon=True).start()
            return b""
        if kind in (0x01, 0x02, 0x21):
            return b""
        if kind == 0xA1 and index & 255 == 1:  # streaming interface: probe and commit
            return self._probe(request)
        control = CONTROLS.get((index >> 8, value >> 8))
        if kind == 0xA1 and control is not None:
            self._work_automatics()
            return control.reply(request)
        return None

    def _descriptor(self, kind: int, number: int) -> bytes | None:
        if kind == 1:
            return self.device
        if kind == 2:
            return self.configuration
        if kind == 3 and number == 0:
            return b"\x04\x03\x09\x04"
        if kind == 3 and number in self.strings:
            text = self.strings[number].encode("utf-16-le")
            return struct.pack("<BB", 2 + len(text), 3) + text
        return None

    def _probe(self, request: int) -> bytes:
        if request == GET_LEN:
            return struct.pack("<H", 26)
        if request == GET_INFO:
            return b"\x03"
        width, height = SIZES[self.format][self.frame - 1]
        return struct.pack(
            "<HBBIHHHHHII", 1, self.format, self.frame, INTERVAL, 0, 0, 0, 0, 0,
            2 * width * height, PAYLOAD_BYTES,
        )  # fmt: skip

    def _set(self, selector: int, index: int, data: bytes) -> None:
        if index & 255 == 1:
            self.format = min(max(data[2], 1), 2)
            self.frame = min(max(data[3], 1), 2)
            if selector == 2:  # commit: the stream begins
                for control in CONTROLS.values():
                    control.now = control.answers[GET_DEF]  # as some cameras do
                self.generation += 1
                self.streaming.set()
            return
        control = CONTROLS.get((index >> 8, selector))
        if control is not None:
            (control.now,) = struct.unpack(control.form, data[: struct.calcsize(control.form)])

    def _work_automatics(self) -> None:
        """While they are on, exposure and white balance never rest."""
        wave = int(time.monotonic() * 10) % 50
        if CONTROLS[AUTO_EXPOSURE].now == 8:
            CONTROLS[EXPOSURE].now = 200 + wave
        if CONTROLS[WB_AUTO].now:
            CONTROLS[WB_KELVIN].now = 4000 + 10 * wave

    def _send(self) -> None:
        """Expose, then transmit, at the frame rate; the bus may make it slower."""
        frame_bit = 0
        while True:
            self.streaming.wait()
            generation = self.generation
            began_s = time.monotonic()
            time.sleep(CONTROLS[EXPOSURE].now * 1e-4)
            data = self._picture(round(began_s * 1000))
            if time.monotonic() - began_s > 2 * INTERVAL * 1e-7:
                continue  # no camera compresses so slowly: this machine was busy
            faults, self.faults = self.faults, self.faults & {"silent"}
            if "silent" in faults:
                continue
            if "torn" in faults:
                data = data[: len(data) // 2]
            frame_bit ^= 1
            step = PAYLOAD_BYTES - 2
            for start in range(0, len(data), step):
                last = start + step >= len(data)
                info = 0x80 | frame_bit | 2 * last | (0x40 if "error" in faults else 0)
                try:
                    self._io(
                        RAW_EP_WRITE,
                        self.endpoint,
                        struct.pack("<BB", 2, info) + data[start : start + step],
                    )
                except OSError as error:
                    print("transfer:", error, flush=True)
                    time.sleep(0.05)
                if generation != self.generation:
                    break
            time.sleep(max(0.0, began_s + INTERVAL * 1e-7 - time.monotonic()))

    def _picture(self, began_ms: int) -> bytes:
        width, height = SIZES[self.format][self.frame - 1]
        square = min(SQUARE, width // BITS)
        grey = np.full((height, width), 96, np.uint8)
        grey[square:] = min(255, CONTROLS[EXPOSURE].now // 4)  # longer is brighter
        for bit in range(BITS):
            grey[:square, bit * square : (bit + 1) * square] = 255 * (began_ms >> bit & 1)
        if self.format == 1:
            yuyv = np.full((height, width, 2), 128, np.uint8)
            yuyv[..., 0] = 16 + grey.astype(np.float32) * (219 / 255)
            return yuyv.tobytes()
        bgr = cv2.merge((grey, grey, grey))
        return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()


def drawn_ms(pixels: np.ndarray) -> int:
    """The time of exposure that a picture shows: milliseconds modulo 2**32."""
    square = min(SQUARE, pixels.shape[1] // BITS)
    middles = pixels[square // 2, square // 2 : BITS * square : square, 1]
    return sum(int(level > 127) << bit for bit, level in enumerate(middles))


def main() -> None:
    vid, _, pid = sys.argv[1].partition(":")
    camera = Camera(int(vid, 16), int(pid, 16), sys.argv[2])
    threading.Thread(target=camera.serve, daemon=True).start()
    for line in sys.stdin:
        word = line.strip()
        if word == "go":
            camera.faults.discard("silent")
        elif word:
            camera.faults.add(word)
    time.sleep(3600)


if __name__ == "__main__":
    main()
