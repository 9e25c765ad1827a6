"""What only a Raspberry Pi has: its firmware's word on voltage and heat.

Bits: Raspberry Pi documentation, ``vcgencmd get_throttled``; the kernel gives the same number in
``get_throttled`` of the firmware's device.
"""

from __future__ import annotations

from pathlib import Path

from edge.board.files import read_int

_CAUSES = ("under-voltage", "clock capped", "throttled", "soft temperature limit")
_SINCE_START = 16
"""The same four bits, this far up, say that it has happened since the start."""


def throttling(root: Path) -> tuple[tuple[str, ...] | None, dict[str, int]]:
    """Why it is held back now, and what has held it back since it started."""
    bits = read_int(root / "sys/devices/platform/soc/soc:firmware/get_throttled", base=16)
    if bits is None:
        return None, {}
    now = tuple(cause for n, cause in enumerate(_CAUSES) if bits >> n & 1)
    return now, {cause: bits >> (_SINCE_START + n) & 1 for n, cause in enumerate(_CAUSES)}
