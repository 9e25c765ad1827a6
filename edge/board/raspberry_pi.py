"""What only a Raspberry Pi has: its firmware's word on voltage and heat.

Bits: Raspberry Pi documentation, ``vcgencmd get_throttled``. The kernel gives the number as a file
of the firmware's device, whose name differs from board to board; where there is none, the firmware
is asked through its mailbox, as ``vcgencmd`` does: the property interface of the Raspberry Pi
firmware's documentation, tag 0x00030046 (get throttled).
"""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path

from edge.board.files import read_int

_CAUSES = ("under-voltage", "clock capped", "throttled", "soft temperature limit")
_SINCE_START = 16
"""The same four bits, this far up, say that it has happened since the start."""

_FILES = "sys/devices/platform/soc*/soc*:firmware/get_throttled"
_MAILBOX = "dev/vcio"
_GET_THROTTLED, _RESPONSE_OK = 0x00030046, 0x80000000


def throttling(root: Path) -> tuple[tuple[str, ...] | None, dict[str, int]]:
    """Why it is held back now, and what has held it back since it started."""
    files = sorted(root.glob(_FILES))
    bits = read_int(files[0], base=16) if files else None
    if bits is None:
        bits = _asked(root / _MAILBOX)
    if bits is None:
        return None, {}
    now = tuple(cause for n, cause in enumerate(_CAUSES) if bits >> n & 1)
    return now, {cause: bits >> (_SINCE_START + n) & 1 for n, cause in enumerate(_CAUSES)}


def _asked(mailbox: Path) -> int | None:
    """The firmware's own answer; ``None`` where it gives none."""
    # Size of the message, request, tag, room for the value, its length, the value, end.
    message = bytearray(struct.pack("=7I", 28, 0, _GET_THROTTLED, 4, 0, 0, 0))
    try:
        descriptor = os.open(mailbox, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.ioctl(descriptor, _property_request(), message)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    _, code, _, _, _, bits, _ = struct.unpack("=7I", message)
    return int(bits) if code == _RESPONSE_OK else None


def _property_request() -> int:
    """``IOCTL_MBOX_PROPERTY``: ``_IOWR(100, 0, char *)`` by Linux's ``asm-generic/ioctl.h``."""
    return 3 << 30 | struct.calcsize("P") << 16 | 100 << 8
