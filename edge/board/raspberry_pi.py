"""What only a Raspberry Pi has: its firmware's word on voltage and heat.

Bits: Raspberry Pi documentation, ``vcgencmd get_throttled``. The firmware is asked through its
mailbox, as ``vcgencmd`` does: the property interface of the Raspberry Pi firmware's documentation,
tag 0x00030046 (get throttled). The kernel's file of that name is not read: the kernel calls it
deprecated, with a trace in its log, and newer ones have none.
"""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path

_CAUSES = ("under-voltage", "clock capped", "throttled", "soft temperature limit")
_SEEN = 16
"""The same four bits, this far up, say that it has happened since somebody cleared them. The
kernel's monitor of the supply (raspberrypi-hwmon) does that whenever it looks."""

_MAILBOX = "dev/vcio"
_GET_THROTTLED, _RESPONSE_OK = 0x00030046, 0x80000000


def throttling(root: Path) -> tuple[tuple[str, ...] | None, dict[str, bool]]:
    """Why it is held back now, and for each cause whether that was so of late."""
    bits = _asked(root / _MAILBOX)
    if bits is None:
        return None, {}
    now = tuple(cause for n, cause in enumerate(_CAUSES) if bits >> n & 1)
    seen = bits | bits >> _SEEN
    return now, {cause: bool(seen >> n & 1) for n, cause in enumerate(_CAUSES)}


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
