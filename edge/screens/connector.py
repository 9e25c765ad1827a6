"""Which display hangs on this machine, and how large it is, as the kernel says."""

from __future__ import annotations

import ctypes
import fcntl
import os
import re
from dataclasses import dataclass
from pathlib import Path

from edge.errors import InputError

DRM, FRAMEBUFFERS = Path("/sys/class/drm"), Path("/sys/class/graphics")
CARDS = Path("/dev/dri")

DRM_IOCTL_VERSION = 0xC0406400
"""``DRM_IOCTL_VERSION`` of ``drm/drm.h`` where pointers have 64 bits."""

_MODE = re.compile(r"(\d+)x(\d+)")
_CONNECTOR = re.compile(r"card\d+-(?!Writeback).+")


@dataclass(frozen=True)
class Connector:
    """A display that is plugged in.

    Attributes:
        name: As the kernel calls it: ``card0-HDMI-A-1``, or ``fb0`` of a framebuffer.
        driver: Of the card, e.g. ``vc4`` or ``nvidia-drm``; ``None`` where it does not tell.
        size_wh: Of the mode that the display likes best, in pixels; ``None`` where nobody has asked
            the display yet.
        connector_id: Number of the connector for the kernel's interface, where it tells.
    """

    name: str
    driver: str | None
    size_wh: tuple[int, int] | None
    connector_id: int | None = None

    @property
    def is_framebuffer(self) -> bool:
        """True where there is no more than memory to write pixels into."""
        return self.name.startswith("fb")


def find_connector(
    wanted: str = "", drm: Path = DRM, framebuffers: Path = FRAMEBUFFERS, cards: Path = CARDS
) -> Connector:
    """The display to use: the one that is wanted, else the first that is connected.

    Args:
        wanted: A name such as ``HDMI-A-1``, ``card1-DSI-1`` or ``fb0``; empty takes the first one
            of a card, else the first framebuffer.
        drm: Where the kernel lists cards.
        framebuffers: Where it lists framebuffers.
        cards: Where the cards' device files are.

    Raises:
        InputError: None is connected; it may be plugged in later.
    """
    seen, unsure = [], None
    for folder in sorted(drm.glob("card*-*")):
        if not _CONNECTOR.fullmatch(folder.name):
            continue
        status = _read(folder / "status") or "unknown"
        seen.append(f"{folder.name} {status}")
        mode = _MODE.match(_read(folder / "modes") or "")
        if status == "disconnected" or not _is_wanted(folder.name, wanted):
            continue
        number = _read(folder / "connector_id")
        found = Connector(
            folder.name,
            driver_of(cards / folder.name.partition("-")[0]),
            (int(mode[1]), int(mode[2])) if mode else None,
            int(number) if number else None,
        )
        if status == "connected" and mode:
            return found
        unsure = unsure or found  # nobody has asked it yet, or it cannot be asked
    if unsure is not None:
        return unsure
    for folder in sorted(framebuffers.glob("fb[0-9]*")):
        seen.append(folder.name)
        size = (_read(folder / "virtual_size") or "").split(",")
        if len(size) == 2 and _is_wanted(folder.name, wanted):
            return Connector(folder.name, _read(folder / "name"), (int(size[0]), int(size[1])))
    raise InputError(
        f"a display{f' {wanted}' if wanted else ''} that is plugged in",
        got=", ".join(seen) or "no graphics card and no framebuffer",
        next_step="plug one in, or use --sink web:",
    )


def is_connected(connector: Connector, drm: Path = DRM) -> bool:
    """Whether a display is still plugged in, for all the kernel knows; a framebuffer always is."""
    status = None if connector.is_framebuffer else _read(drm / connector.name / "status")
    return connector.is_framebuffer or status in ("connected", "unknown")


def _is_wanted(name: str, wanted: str) -> bool:
    return not wanted or name == wanted or name.partition("-")[2] == wanted


class _Version(ctypes.Structure):
    """``struct drm_version`` of ``drm/drm.h``."""

    _fields_ = [
        ("numbers", ctypes.c_int * 3),
        ("name_len", ctypes.c_size_t),
        ("name", ctypes.c_void_p),
        ("date_len", ctypes.c_size_t),
        ("date", ctypes.c_void_p),
        ("desc_len", ctypes.c_size_t),
        ("desc", ctypes.c_void_p),
    ]


def driver_of(node: Path) -> str | None:
    """What the driver of a card calls itself towards programs, which sysfs does not tell.

    Returns:
        E.g. ``vc4``, where sysfs says ``vc4-drm``; ``None`` where the card cannot be opened.
    """
    name = ctypes.create_string_buffer(64)
    version = _Version(name_len=len(name), name=ctypes.addressof(name))
    try:
        descriptor = os.open(node, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.ioctl(descriptor, DRM_IOCTL_VERSION, version)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return name.raw[: version.name_len].decode("ascii", "replace")


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return None
