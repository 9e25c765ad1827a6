"""Which display hangs on this machine, and how large it is, as the kernel says."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from edge.errors import InputError

DRM, FRAMEBUFFERS = Path("/sys/class/drm"), Path("/sys/class/graphics")

_MODE = re.compile(r"(\d+)x(\d+)")
_CONNECTOR = re.compile(r"card\d+-.+")


@dataclass(frozen=True)
class Connector:
    """A display that is plugged in.

    Attributes:
        name: As the kernel calls it: ``card0-HDMI-A-1``, or ``fb0`` of a framebuffer.
        driver: Of the card, e.g. ``vc4`` or ``nvidia-drm``; ``None`` where the kernel does not say.
        size_wh: Of the mode that the display likes best, in pixels.
        connector_id: Number of the connector for the kernel's interface, where it tells.
    """

    name: str
    driver: str | None
    size_wh: tuple[int, int]
    connector_id: int | None = None

    @property
    def is_framebuffer(self) -> bool:
        """True where there is no more than memory to write pixels into."""
        return self.name.startswith("fb")


def find_connector(
    wanted: str = "", drm: Path = DRM, framebuffers: Path = FRAMEBUFFERS
) -> Connector:
    """The display to use: the one that is wanted, else the first that is connected.

    Args:
        wanted: A name such as ``HDMI-A-1``, ``card1-DSI-1`` or ``fb0``; empty takes the first one
            of a card, else the first framebuffer.
        drm: Where the kernel lists cards.
        framebuffers: Where it lists framebuffers.

    Raises:
        InputError: None is connected; it may be plugged in later.
    """
    seen = []
    for folder in sorted(drm.glob("card*-*")):
        if not _CONNECTOR.fullmatch(folder.name):
            continue
        status = _read(folder / "status") or "unknown"
        seen.append(f"{folder.name} {status}")
        mode = _MODE.match(_read(folder / "modes") or "")
        if status == "connected" and mode and _is_wanted(folder.name, wanted):
            card = drm / folder.name.partition("-")[0]
            number = _read(folder / "connector_id")
            return Connector(
                folder.name,
                _driver(card),
                (int(mode[1]), int(mode[2])),
                int(number) if number else None,
            )
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
    """Whether a display is still plugged in; a framebuffer always is."""
    return connector.is_framebuffer or _read(drm / connector.name / "status") == "connected"


def _is_wanted(name: str, wanted: str) -> bool:
    return not wanted or name == wanted or name.partition("-")[2] == wanted


def _driver(card: Path) -> str | None:
    link = card / "device" / "driver"
    return link.resolve().name if link.exists() else None


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return None
