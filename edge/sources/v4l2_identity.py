"""Which camera is which: identities that stay when /dev/videoN does not.

A USB camera is named by its ids, ``usb-VID:PID[:SERIAL]``, as sysfs has them; any other by what its
driver calls its bus (``platform:vivid-000``). Two that have the same name are told apart by their
port, ``usb-VID:PID@1-1.2:1.0``. Everything is looked up anew each time.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from edge.errors import InputError
from edge.sources import v4l2_abi as abi
from edge.sources.v4l2_device import Device

SERIAL_CHARS_MAX = 64

IMAGE_PROCESSORS = frozenset({"bcm2835-isp"})
"""Drivers whose nodes call themselves cameras and give back what others put in: every Raspberry Pi
up to 4 has four such nodes, whatever is plugged in."""


@dataclass(frozen=True)
class Camera:
    """One node that captures video.

    Attributes:
        node: ``/dev/video0``; the next time it may be another.
        card: The driver's name of the camera.
        driver: E.g. ``uvcvideo``.
        bus_info: The driver's name of the place, may be empty.
        usb_id: ``VID:PID`` in lower-case hexadecimal, or ``None`` where it is no USB camera.
        serial: Serial number of the USB device, or ``None``.
        port: USB port and interface as the kernel writes them, ``1-1.2:1.0``, or ``None``.
    """

    node: str
    card: str
    driver: str
    bus_info: str
    usb_id: str | None = None
    serial: str | None = None
    port: str | None = None

    @property
    def identity(self) -> str:
        """The stable name, without the port."""
        if self.usb_id is None:
            return self.bus_info or self.node
        return f"usb-{self.usb_id}" + (f":{self.serial}" if self.serial else "")

    def is_at(self, place: str) -> bool:
        """Whether a user means this camera by ``place``, which is not a path."""
        name, at, port = place.partition("@")
        if at and (self.port is None or not _begins(self.port, port)):
            return False
        names = {self.identity, self.bus_info}
        if self.usb_id is not None:
            names.add(f"usb-{self.usb_id}")
        return bool(name) and name in names

    def __str__(self) -> str:
        return f"{self.card} at {self.node}"


def _begins(port: str, given: str) -> bool:
    """``1-1.2:1.0`` begins with ``1-1.2`` and with itself, not with ``1-1``."""
    return port == given or port.startswith(f"{given}:")


@dataclass(frozen=True)
class Host:
    """Where cameras are looked for; the defaults are this machine.

    Attributes:
        sysfs: Mount point of sysfs.
        dev: Folder of the device nodes.
        proc: Mount point of proc.
        capability: Asks a node what it is; raises ``OSError``.
    """

    sysfs: Path = Path("/sys")
    dev: Path = Path("/dev")
    proc: Path = Path("/proc")
    capability: Callable[[str], abi.Capability] = lambda node: _ask(node)


def _ask(node: str) -> abi.Capability:
    device = Device(node)
    try:
        return device.capability()
    finally:
        device.close()


@dataclass
class Listing:
    """What was found.

    Attributes:
        cameras: By number of their nodes.
        refused: For every node that could not be asked, its path and why.
        others: Nodes that capture no video: metadata, outputs, radio, image processors.
        multiplanar: Nodes that capture only through the multi-planar interface.
    """

    cameras: list[Camera]
    refused: dict[str, OSError]
    others: list[str]
    multiplanar: list[str]

    def name(self, camera: Camera) -> str:
        """The shortest name that means this camera alone, as it may be written in a URI."""
        same = [other for other in self.cameras if other.identity == camera.identity]
        if len(same) == 1:
            return camera.identity
        with_port = f"{camera.identity}@{camera.port}"
        same_port = [other for other in same if other.port == camera.port]
        return with_port if camera.port and len(same_port) == 1 else camera.node

    def __str__(self) -> str:
        if not self.cameras:
            return "no camera"
        return ", ".join(f"v4l2:{self.name(camera)} ({camera})" for camera in self.cameras)


def list_cameras(host: Host) -> Listing:
    """Ask every video node of this machine what it is."""
    listing = Listing([], {}, [], [])
    for name in _node_names(host.sysfs / "class/video4linux"):
        node = str(host.dev / name)
        try:
            capability = host.capability(node)
        except OSError as error:
            listing.refused[node] = error
            continue
        does = capability.capabilities
        if does & abi.V4L2_CAP_DEVICE_CAPS:
            does = capability.device_caps
        if _words(capability.driver) in IMAGE_PROCESSORS:
            listing.others.append(node)
        elif does & abi.V4L2_CAP_VIDEO_CAPTURE and does & abi.V4L2_CAP_STREAMING:
            listing.cameras.append(_camera(host, name, node, capability))
        elif does & abi.V4L2_CAP_VIDEO_CAPTURE_MPLANE:
            listing.multiplanar.append(node)
        else:
            listing.others.append(node)
    return listing


def _node_names(folder: Path) -> list[str]:
    try:
        names = os.listdir(folder)
    except OSError:
        return []  # no camera driver is loaded
    numbered = [(int(match[1]), name) for name in names if (match := _NODE.fullmatch(name))]
    return [name for _, name in sorted(numbered)]


_NODE = re.compile(r"video(\d+)")


def _camera(host: Host, name: str, node: str, capability: abi.Capability) -> Camera:
    # .../usb1/1-1/1-1.2/1-1.2:1.0/video4linux/video0: the interface, and above it the USB device.
    interface = Path(os.path.realpath(host.sysfs / "class/video4linux" / name / "device"))
    usb = interface.parent
    vendor, product = _attribute(usb / "idVendor"), _attribute(usb / "idProduct")
    is_usb = vendor is not None and product is not None
    return Camera(
        node=node,
        card=_words(capability.card),
        driver=_words(capability.driver),
        bus_info=_words(capability.bus_info),
        usb_id=f"{vendor}:{product}".lower() if is_usb else None,
        serial=_serial(_attribute(usb / "serial")) if is_usb else None,
        port=interface.name if is_usb else None,
    )


def _attribute(path: Path) -> str | None:
    try:
        return path.read_bytes().decode("utf-8", "replace").strip() or None
    except OSError:
        return None


def _words(text: bytes) -> str:
    return "".join(c if c.isprintable() else "?" for c in text.decode("utf-8", "replace")).strip()


def _serial(text: str | None) -> str | None:
    """A serial number as part of a URI: what would mean something there becomes ``_``."""
    return re.sub(r"[^A-Za-z0-9#+.:=_-]", "_", text)[:SERIAL_CHARS_MAX] if text else None


def find_camera(place: str, host: Host) -> tuple[Camera, str]:
    """The camera that a user means.

    Args:
        place: An identity, a bus path, the path of a node or of a link to one. Nothing: the only
            USB camera, or the only other one where there is none; a board's camera port often has
            a node of its own beside it.
        host: Where to look.

    Returns:
        The camera, and the name that means it alone.

    Raises:
        InputError: There is none, there are several, or this user may not open it.
    """
    listing = list_cameras(host)
    if place.startswith("/"):
        found = _at_path(place, listing, host)
    elif place:
        found = [camera for camera in listing.cameras if camera.is_at(place)]
    else:
        found = [camera for camera in listing.cameras if camera.usb_id] or listing.cameras
    if len(found) == 1:
        return found[0], listing.name(found[0])
    if found:
        raise InputError(
            "one camera" + (f" called {place}" if place else ""),
            got=f"{len(found if place else listing.cameras)}: {listing}",
            next_step="name one of them as the source",
        )
    if listing.refused and not listing.cameras:
        node, error = next(iter(listing.refused.items()))
        raise cannot_open(node, error, host)
    raise InputError(
        f"a camera at v4l2:{place}" if place else "a camera",
        got=_none_in_words(listing),
        next_step="plug it in, or name another source",
    )


def _at_path(place: str, listing: Listing, host: Host) -> list[Camera]:
    node = os.path.realpath(place)
    if node in listing.others:
        raise InputError(
            f"a video capture device at {place}",
            got="a node that gives no pictures of its own (metadata, output, image processor)",
            next_step=f"use one of: {listing}",
        )
    if node in listing.multiplanar:
        raise InputError(
            f"a camera at {place} with the single-planar interface, as USB cameras have it",
            got="one with the multi-planar interface only",
            next_step="use the source that is made for this board's camera port",
        )
    if node in listing.refused:
        raise cannot_open(node, listing.refused[node], host)
    return [camera for camera in listing.cameras if camera.node == node]


def _none_in_words(listing: Listing) -> str:
    parts = [str(listing)]
    if listing.others or listing.multiplanar:
        nodes = ", ".join(listing.others + listing.multiplanar)
        parts.append(f"{nodes} capture nothing that this source can read")
    parts += [f"{node}: {error.strerror}" for node, error in listing.refused.items()]
    return "; ".join(parts)


def cannot_open(node: str, error: OSError, host: Host) -> InputError:
    """The error for a node that the kernel does not let us have, in words."""
    if error.errno in (errno.EACCES, errno.EPERM):
        # A node's own rights give EACCES; a list of devices, of a unit or a container, EPERM.
        step = "add this user to the group video and log in again"
        if error.errno == errno.EPERM:
            step = "systemctl restart dermedge reads the unit's list of devices anew"
        return InputError(
            f"permission to use the camera {node}", got=error.strerror or str(error), next_step=step
        )
    if error.errno == errno.EBUSY:
        holders = holders_of(node, host.proc)
        return InputError(
            f"a camera {node} that nobody else uses",
            got="it is in use" + (f" by {', '.join(holders)}" if holders else ""),
            next_step="end the other program",
        )
    return InputError(
        f"a camera that opens at {node}",
        got=error.strerror or str(error),
        next_step="unplug it and plug it in again",
    )


def holders_of(node: str, proc: Path = Path("/proc")) -> list[str]:
    """Other processes that have a node open: name and id, as far as this user may see them."""
    found = []
    for process in sorted((p for p in proc.glob("[0-9]*")), key=lambda p: int(p.name)):
        if process.name == str(os.getpid()):
            continue
        with suppress(OSError):  # another user's, or ended meanwhile
            if any(os.readlink(link) == node for link in (process / "fd").iterdir()):
                name = (process / "comm").read_text(errors="replace").strip()
                found.append(f"{name} (process {process.name})")
    return found
