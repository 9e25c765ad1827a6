"""One open V4L2 node: its ioctls, and the memory-mapped buffers of its stream."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.sources import v4l2_abi as abi

_NS_PER_S = 1_000_000_000


class Device:
    """An open node such as ``/dev/video0``. All methods raise ``OSError`` as the kernel says.

    Only the single-planar capture interface is used, which is that of USB cameras.

    Args:
        node: Path of the node.

    Raises:
        OSError: It cannot be opened.
    """

    def __init__(self, node: str) -> None:
        self.node = node
        self._fd = os.open(node, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def fileno(self) -> int:
        """The descriptor; -1 once closed."""
        return self._fd

    def close(self) -> None:
        """Close the node; calling it twice is harmless."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def call(self, request: int, argument: ctypes.Structure | ctypes.c_int) -> None:
        """One ioctl, which may change ``argument``; interrupted calls are repeated."""
        while True:
            try:
                fcntl.ioctl(self._fd, request, argument, True)
                return
            except InterruptedError:
                continue

    def capability(self) -> abi.Capability:
        """Who the driver is and what the node does (VIDIOC_QUERYCAP)."""
        capability = abi.Capability()
        self.call(abi.VIDIOC_QUERYCAP, capability)
        return capability

    def pixel_formats(self) -> Iterator[int]:
        """FourCC numbers of the formats on offer (VIDIOC_ENUM_FMT)."""
        description = abi.FormatDescription(type=abi.V4L2_BUF_TYPE_VIDEO_CAPTURE)
        while self._enumerate(abi.VIDIOC_ENUM_FMT, description):
            yield int(description.pixelformat)
            description.index += 1

    def frame_sizes(self, pixel_format: int) -> Iterator[abi.FrameSize]:
        """Sizes of a format (VIDIOC_ENUM_FRAMESIZES); only the first entry may be a range."""
        size = abi.FrameSize(pixel_format=pixel_format)
        while self._enumerate(abi.VIDIOC_ENUM_FRAMESIZES, size):
            yield size
            size.index += 1

    def frame_intervals(
        self, pixel_format: int, size_wh: tuple[int, int]
    ) -> Iterator[abi.FrameInterval]:
        """Intervals of a size (VIDIOC_ENUM_FRAMEINTERVALS); only the first may be a range."""
        interval = abi.FrameInterval(pixel_format=pixel_format, width=size_wh[0], height=size_wh[1])
        while self._enumerate(abi.VIDIOC_ENUM_FRAMEINTERVALS, interval):
            yield interval
            interval.index += 1

    def format(self) -> abi.PixelFormat:
        """The format that is set (VIDIOC_G_FMT)."""
        return self._format(abi.VIDIOC_G_FMT, abi.PixelFormat())

    def set_format(self, pixel_format: int, size_wh: tuple[int, int]) -> abi.PixelFormat:
        """Ask for a format (VIDIOC_S_FMT) and return what was really set."""
        wanted = abi.PixelFormat(
            width=size_wh[0],
            height=size_wh[1],
            pixelformat=pixel_format,
            field=abi.V4L2_FIELD_NONE,
            priv=abi.V4L2_PIX_FMT_PRIV_MAGIC,
        )
        return self._format(abi.VIDIOC_S_FMT, wanted)

    def _format(self, request: int, pix: abi.PixelFormat) -> abi.PixelFormat:
        form = abi.Format(type=abi.V4L2_BUF_TYPE_VIDEO_CAPTURE)
        form.fmt.pix = pix
        self.call(request, form)
        return abi.PixelFormat.from_buffer_copy(form.fmt.pix)

    def set_interval(self, interval_ns: int) -> int | None:
        """Ask for a time per frame (VIDIOC_S_PARM).

        Returns:
            The one that the driver set, in nanoseconds, or ``None`` where it does not say.
        """
        wanted = abi.StreamParameters(type=abi.V4L2_BUF_TYPE_VIDEO_CAPTURE)
        # In units of 100 ns, those of UVC, which fit 32 bits.
        wanted.parm.capture.timeperframe = abi.Fraction(round(interval_ns / 100), 10_000_000)
        try:
            self.call(abi.VIDIOC_S_PARM, wanted)
        except OSError as error:
            if error.errno in (errno.ENOTTY, errno.EINVAL):
                return None
            raise
        capture = wanted.parm.capture
        if not capture.capability & abi.V4L2_CAP_TIMEPERFRAME:
            return None
        return nanoseconds(capture.timeperframe)

    def _enumerate(self, request: int, argument: ctypes.Structure) -> bool:
        try:
            self.call(request, argument)
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOTTY):  # the end, or no such enumeration
                return False
            raise
        return True


def is_gone(error: OSError) -> bool:
    """Whether the kernel says that there is no such device any more."""
    return error.errno in (errno.ENODEV, errno.ENXIO, errno.ESHUTDOWN)


def nanoseconds(fraction: abi.Fraction) -> int | None:
    """A fraction of seconds in nanoseconds; ``None`` for 0 and for a division by 0."""
    above, below = int(fraction.numerator), int(fraction.denominator)
    return round(_NS_PER_S * above / below) if above and below else None


@dataclass(frozen=True)
class FilledBuffer:
    """A buffer that the driver has filled and that is ours until it is given back.

    Attributes:
        index: Its number.
        bytes_used: Bytes of payload.
        flags: V4L2_BUF_FLAG_*.
        timestamp_ns: The driver's time stamp, on the clock that ``flags`` names.
        sequence: The driver's count of frames, unsigned 32 bits.
    """

    index: int
    bytes_used: int
    flags: int
    timestamp_ns: int
    sequence: int


class Stream:
    """A running stream into memory-mapped buffers.

    Args:
        device: With its format set.
        buffer_count: Buffers to ask for, 2 to 4; the driver may insist on more.

    Raises:
        OSError: As the kernel says; then nothing is left running.
    """

    def __init__(self, device: Device, buffer_count: int) -> None:
        self._device = device
        self._maps: list[mmap.mmap] = []
        try:
            for index in range(self._request(buffer_count)):
                self._map(index)
                self.give_back(index)
            device.call(abi.VIDIOC_STREAMON, ctypes.c_int(abi.V4L2_BUF_TYPE_VIDEO_CAPTURE))
        except OSError:
            self.stop()
            raise

    @property
    def buffer_count(self) -> int:
        """Buffers that the driver fills in turn."""
        return len(self._maps)

    def dequeue(self) -> FilledBuffer | None:
        """The oldest filled buffer, or ``None`` where none is ready. Never waits."""
        buffer = _buffer(0)
        try:
            self._device.call(abi.VIDIOC_DQBUF, buffer)
        except BlockingIOError:
            return None
        stamp = buffer.timestamp
        return FilledBuffer(
            index=buffer.index,
            bytes_used=buffer.bytesused,
            flags=buffer.flags,
            timestamp_ns=stamp.tv_sec * _NS_PER_S + stamp.tv_usec * 1000,
            sequence=buffer.sequence,
        )

    def payload(self, buffer: FilledBuffer) -> NDArray[np.uint8]:
        """The bytes of a filled buffer, not copied: valid until it is given back."""
        memory = np.frombuffer(self._maps[buffer.index], np.uint8)
        return memory[: buffer.bytes_used]

    def give_back(self, index: int) -> None:
        """Let the driver fill a buffer again."""
        self._device.call(abi.VIDIOC_QBUF, _buffer(index))

    def stop(self) -> None:
        """End the stream and free its buffers, as far as a device that may be gone allows."""
        for request, argument in (
            (abi.VIDIOC_STREAMOFF, ctypes.c_int(abi.V4L2_BUF_TYPE_VIDEO_CAPTURE)),
            (abi.VIDIOC_REQBUFS, _buffers(0)),
        ):
            if request == abi.VIDIOC_REQBUFS:
                while self._maps:
                    with suppress(BufferError):  # somebody still looks: freed when they let go
                        self._maps.pop().close()
            with suppress(OSError):  # gone already; closing the node frees the rest
                self._device.call(request, argument)

    def _request(self, count: int) -> int:
        request = _buffers(count)
        self._device.call(abi.VIDIOC_REQBUFS, request)
        if request.count < 2:
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        return int(request.count)

    def _map(self, index: int) -> None:
        buffer = _buffer(index)
        self._device.call(abi.VIDIOC_QUERYBUF, buffer)
        # Writable, because videobuf2 of some drivers refuses mappings that are not.
        self._maps.append(
            mmap.mmap(
                self._device.fileno(),
                buffer.length,
                flags=mmap.MAP_SHARED,
                prot=mmap.PROT_READ | mmap.PROT_WRITE,
                offset=buffer.m.offset,
            )
        )


def _buffer(index: int) -> abi.Buffer:
    return abi.Buffer(
        index=index, type=abi.V4L2_BUF_TYPE_VIDEO_CAPTURE, memory=abi.V4L2_MEMORY_MMAP
    )


def _buffers(count: int) -> abi.RequestBuffers:
    return abi.RequestBuffers(
        count=count, type=abi.V4L2_BUF_TYPE_VIDEO_CAPTURE, memory=abi.V4L2_MEMORY_MMAP
    )
