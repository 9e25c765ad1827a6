"""A button on a GPIO line, through the kernel's character device.

Structures and numbers are those of ``linux/gpio.h``, version 2 (Linux 5.10 and later).
"""

from __future__ import annotations

import ctypes
import fcntl
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edge.errors import InputError

GPIO_V2_GET_LINE_IOCTL = 0xC250B407
GPIO_GET_CHIPINFO_IOCTL = 0x8044B401
LINE_FLAG_INPUT = 1 << 2
LINE_FLAG_EDGE = {"rising": 1 << 4, "falling": 1 << 5}
LINE_FLAG_BIAS = {"pull-up": 1 << 8, "pull-down": 1 << 9, "none": 1 << 10}
LINE_ATTR_ID_DEBOUNCE = 3

Bias = Literal["pull-up", "pull-down", "none"]
Edge = Literal["rising", "falling"]

_ROOT = Path("/dev")
_CONSUMER = b"dermedge shutter"


class Attribute(ctypes.Structure):
    """``struct gpio_v2_line_config_attribute`` with its attribute inside."""

    _fields_ = [
        ("id", ctypes.c_uint32),
        ("padding", ctypes.c_uint32),
        ("value", ctypes.c_uint64),
        ("mask", ctypes.c_uint64),
    ]


class LineConfig(ctypes.Structure):
    """``struct gpio_v2_line_config``."""

    _fields_ = [
        ("flags", ctypes.c_uint64),
        ("num_attrs", ctypes.c_uint32),
        ("padding", ctypes.c_uint32 * 5),
        ("attrs", Attribute * 10),
    ]


class LineRequest(ctypes.Structure):
    """``struct gpio_v2_line_request``."""

    _fields_ = [
        ("offsets", ctypes.c_uint32 * 64),
        ("consumer", ctypes.c_char * 32),
        ("config", LineConfig),
        ("num_lines", ctypes.c_uint32),
        ("event_buffer_size", ctypes.c_uint32),
        ("padding", ctypes.c_uint32 * 5),
        ("fd", ctypes.c_int32),
    ]


class LineEvent(ctypes.Structure):
    """``struct gpio_v2_line_event``; the time is on the monotonic clock."""

    _fields_ = [
        ("timestamp_ns", ctypes.c_uint64),
        ("id", ctypes.c_uint32),
        ("offset", ctypes.c_uint32),
        ("seqno", ctypes.c_uint32),
        ("line_seqno", ctypes.c_uint32),
        ("padding", ctypes.c_uint32 * 6),
    ]


class ChipInfo(ctypes.Structure):
    """``struct gpiochip_info``."""

    _fields_ = [
        ("name", ctypes.c_char * 32),
        ("label", ctypes.c_char * 32),
        ("lines", ctypes.c_uint32),
    ]


@dataclass(frozen=True)
class Wanted:
    """Which line, and what a press does to it.

    Attributes:
        chip: Name (``gpiochip0``) or label (``tegra234-gpio``) of the chip.
        line: Number of the line on it.
        bias: Resistor that the chip is to switch on, where it can.
        edge: ``falling`` for a button to ground, ``rising`` for one to the supply.
        debounce_ms: Time for which the line must stay, by the kernel.
    """

    chip: str
    line: int
    bias: Bias = "pull-up"
    edge: Edge = "falling"
    debounce_ms: int = 30

    @property
    def origin(self) -> str:
        """What a command calls it."""
        return f"gpio:{self.chip}/{self.line}"


def open_line(wanted: Wanted, root: Path = _ROOT) -> int:
    """Ask for the line's edges.

    Args:
        wanted: Which.
        root: Where the chips' device files are.

    Raises:
        InputError: There is no such chip or line, or somebody else has it.
    """
    chip = _open_chip(wanted.chip, root)
    request = LineRequest(consumer=_CONSUMER, num_lines=1)
    request.offsets[0] = wanted.line
    request.config.flags = (
        LINE_FLAG_INPUT | LINE_FLAG_EDGE[wanted.edge] | LINE_FLAG_BIAS[wanted.bias]
    )
    if wanted.debounce_ms:
        request.config.num_attrs = 1
        request.config.attrs[0] = Attribute(
            id=LINE_ATTR_ID_DEBOUNCE, value=wanted.debounce_ms * 1000, mask=1
        )
    try:
        fcntl.ioctl(chip, GPIO_V2_GET_LINE_IOCTL, request)
    except OSError as error:
        raise InputError(
            f"line {wanted.line} of {wanted.chip}",
            got=error.strerror or str(error),
            next_step="check its number, and whether something else uses it: gpioinfo",
        ) from error
    finally:
        os.close(chip)
    os.set_blocking(request.fd, False)
    return int(request.fd)


def read_presses(descriptor: int, wanted: Wanted) -> Sequence[int]:
    """Instants of presses that wait, monotonic nanoseconds; OSError once the line is gone."""
    size = ctypes.sizeof(LineEvent)
    data = os.read(descriptor, 16 * size)
    if not data:
        raise OSError("the line has ended")
    events = (
        LineEvent.from_buffer_copy(data, start)
        for start in range(0, len(data) // size * size, size)
    )
    return tuple(int(event.timestamp_ns) for event in events)


def _open_chip(wanted: str, root: Path) -> int:
    seen = []
    for path in sorted(root.glob("gpiochip*")):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            seen.append(f"{path.name}: {error.strerror}")
            continue
        info = ChipInfo()
        try:
            fcntl.ioctl(descriptor, GPIO_GET_CHIPINFO_IOCTL, info)
        except OSError as error:
            os.close(descriptor)
            seen.append(f"{path.name}: {error.strerror}")
            continue
        label = info.label.decode("ascii", "replace")
        if wanted in (path.name, label):
            return descriptor
        os.close(descriptor)
        seen.append(f"{path.name} ({label})")
    raise InputError(
        f"a GPIO chip {wanted}",
        got="; ".join(seen) or f"none in {root}",
        next_step="name one of these, or be in the group gpio",
    )
