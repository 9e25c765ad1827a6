"""Keys and buttons that Linux shows as input devices, the button of a USB camera among them.

Structures and numbers are those of ``linux/input.h`` for 64-bit systems.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from edge.errors import InputError

INPUT_EVENT = struct.Struct("qqHHi")
"""``struct input_event``: seconds, microseconds, type, code, value."""

EV_KEY = 1
PRESSED = 1
"""Value of a key that goes down; 0 is up, 2 repeats while it is held."""

CLOCK_MONOTONIC = 1
EVIOCSCLOCKID = 0x400445A0
KEY_BITS_BYTES = 96
"""``KEY_MAX`` / 8 + 1, made even."""

KEYS = {
    "KEY_ENTER": 28,
    "KEY_SPACE": 57,
    "KEY_F1": 59,
    "KEY_VOLUMEDOWN": 114,
    "KEY_VOLUMEUP": 115,
    "KEY_POWER": 116,
    "KEY_CAMERA": 212,
    "BTN_0": 256,
    "BTN_LEFT": 272,
    "BTN_TOUCH": 330,
    "KEY_CAMERA_FOCUS": 528,
}
"""Names of ``linux/input-event-codes.h``; any other key is given by its number."""

_ROOT = Path("/dev/input")
_TEXT_BYTES = 256


@dataclass(frozen=True)
class Wanted:
    """Which device, and which of its keys.

    Attributes:
        device: Its name, place (phys), serial (uniq), or path, also by a link such as those of
            /dev/input/by-id; empty for any that has the key.
        key: Code of the key.
    """

    device: str
    key: int

    @property
    def origin(self) -> str:
        """What a command calls it."""
        return f"evdev:{self.device}" if self.device else f"evdev:key {self.key}"


def open_devices(wanted: Wanted, root: Path = _ROOT) -> list[int]:
    """Open every device that is wanted; their events carry the monotonic clock.

    Args:
        wanted: Which.
        root: Where the devices are.

    Raises:
        InputError: There is none, or none that may be opened.
    """
    opened, seen = [], []
    for path in sorted(root.glob("event*"), key=lambda p: (len(p.name), p.name)):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            seen.append(f"{path.name}: {error.strerror}")
            continue
        names = (str(path), *_names(descriptor))
        is_it = not wanted.device or wanted.device in names or _is_link(wanted.device, path)
        if is_it and _has_key(descriptor, wanted.key):
            fcntl.ioctl(descriptor, EVIOCSCLOCKID, struct.pack("i", CLOCK_MONOTONIC))
            opened.append(descriptor)
        else:
            os.close(descriptor)
            seen.append(f"{path.name}: {names[1] or 'without a name'}")
    if not opened:
        raise InputError(
            f"an input device {wanted.device or ''} with the key {wanted.key}".replace("  ", " "),
            got="; ".join(seen) or f"none in {root}",
            next_step="plug it in, or be in the group input",
        )
    return opened


def what_is_there(root: Path = _ROOT) -> object:
    """Changes when a device comes or goes, or may be opened by others than before."""
    there = []
    for path in sorted(root.glob("event*")):
        with suppress(OSError):  # it has just gone
            facts = path.stat()
            there.append((path.name, facts.st_ino, facts.st_mode, facts.st_gid))
    return there


def presses(data: bytes, key: int) -> Iterator[int]:
    """Instants of the presses of a key in what was read from a device, monotonic nanoseconds."""
    for seconds, microseconds, kind, code, value in INPUT_EVENT.iter_unpack(data):
        if (kind, code, value) == (EV_KEY, key, PRESSED):
            yield seconds * 1_000_000_000 + microseconds * 1_000


def read_presses(descriptor: int, wanted: Wanted) -> Sequence[int]:
    """Instants of presses that wait; raises OSError once the device is gone."""
    data = os.read(descriptor, 64 * INPUT_EVENT.size)
    if not data:
        raise OSError("the device has ended")
    return tuple(presses(data[: len(data) // INPUT_EVENT.size * INPUT_EVENT.size], wanted.key))


def text_request(number: int) -> int:
    """``EVIOCGNAME`` (6), ``EVIOCGPHYS`` (7), ``EVIOCGUNIQ`` (8) for 256 bytes."""
    return (2 << 30) | (_TEXT_BYTES << 16) | (ord("E") << 8) | number


def key_bits_request() -> int:
    """``EVIOCGBIT(EV_KEY, 96)``."""
    return (2 << 30) | (KEY_BITS_BYTES << 16) | (ord("E") << 8) | (0x20 + EV_KEY)


def _is_link(place: str, path: Path) -> bool:
    return place.startswith("/") and os.path.realpath(place) == os.path.realpath(path)


def _names(descriptor: int) -> list[str]:
    names = []
    for number in (6, 7, 8):
        buffer = bytearray(_TEXT_BYTES)
        try:
            fcntl.ioctl(descriptor, text_request(number), buffer)
        except OSError:  # it has no such name
            buffer = bytearray(1)
        names.append(buffer.partition(b"\0")[0].decode("utf-8", "replace"))
    return names


def _has_key(descriptor: int, key: int) -> bool:
    bits = bytearray(KEY_BITS_BYTES)
    try:
        fcntl.ioctl(descriptor, key_bits_request(), bits)
    except OSError:
        return False
    return key // 8 < len(bits) and bool(bits[key // 8] >> (key % 8) & 1)
