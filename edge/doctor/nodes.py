"""Device nodes: whether this account may open them, and what lets it in where it may not."""

from __future__ import annotations

import errno
import grp
import os
import pwd
from collections.abc import Iterator, Sequence
from pathlib import Path

from edge.config import Config
from edge.doctor.line import Line
from edge.errors import InputError
from edge.inputs import evdev
from edge.inputs.uri import parse_input
from edge.pages import page
from edge.sinks.uri import parse_sink
from edge.uri import Uri

DEV = Path("/dev")
SERVICE_ACCOUNT = "dermedge"

_NAMED_AT_MOST = 3
"""A desk's computer has twenty input devices."""

_INSTALL = "sudo dermedge service install, with the wheels it came from,"


def examine(config: Config, dev: Path = DEV) -> Iterator[Line]:
    """Nodes of the display and of the buttons that are configured.

    Args:
        config: Names them.
        dev: Where nodes are.
    """
    for sink in config.output.sinks:
        if (uri := parse_sink(sink)).kind == "screen":
            yield from _display(uri, dev)
    # What keeps two buttons away is told once.
    yield from dict.fromkeys(line for text in config.controls.inputs for line in _input(text, dev))


def look(name: str, nodes: Sequence[Path], group: str, flags: int = os.O_RDWR) -> Iterator[Line]:
    """One line for each cause that keeps nodes closed, or one that they open.

    Args:
        name: Of the lines.
        nodes: They are there.
        group: Whose members may open them.
        flags: They are opened with.
    """
    closed: dict[int, list[Path]] = {}
    for node in nodes:
        if number := _refusal(node, flags):
            closed.setdefault(number, []).append(node)
    for number, refused in closed.items():
        yield Line(name, "problem", cause(number, refused), way_in(number, group))
    if not closed:
        yield Line(name, "ok", _listed(nodes))


def cause(number: int, nodes: Sequence[Path]) -> str:
    """Why nodes do not open, in words; ``number`` is the errno."""
    if number == errno.EPERM and is_inside_unit():
        return f"the unit's DeviceAllow keeps out {_listed(nodes)}"
    if number in (errno.EACCES, errno.EPERM):
        return f"no permission for {_listed(nodes)}"
    return f"{_listed(nodes)}: {os.strerror(number)}"


def way_in(number: int, group: str) -> str:
    """What to type or do so that a node opens; ``number`` is the errno that it gave."""
    if number == errno.EPERM:  # a list of devices refuses so; the node's own rights give EACCES
        if is_inside_unit():
            return (
                "sudo systemctl restart dermedge reads the list of devices anew; if that does not "
                f"help, add a DeviceAllow: {page('service.md')}"
            )
        return "a container or a sandbox keeps it out: let it have the device"
    if number == errno.EACCES:
        return _into(group)
    if number == errno.EBUSY:
        return "end what else uses it"
    return "see what the kernel says of it: sudo dmesg"


def account() -> str:
    """Name of the account that this process has; its number where it has no name."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def is_inside_unit() -> bool:
    """Whether systemd started this process."""
    return bool(os.environ.get("INVOCATION_ID"))


def _into(group: str) -> str:
    """How this account comes into a group."""
    name = account()
    if name == SERVICE_ACCOUNT:  # its groups are the installation's affair
        return f"{_INSTALL} puts this account into the group {group}"
    if not _is_group(group):  # Debian has no gpio; the installation makes it, with a rule of udev
        return f"{_INSTALL} makes the group {group} and gives it the device"
    return f"sudo usermod -aG {group} {name}, then log in again"


def _is_group(name: str) -> bool:
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True


def _refusal(node: Path, flags: int) -> int:
    """The errno with which a node does not open; 0 where it does, or is only in use."""
    try:
        os.close(os.open(node, flags | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError as error:
        return 0 if error.errno == errno.EBUSY else error.errno or errno.EIO
    return 0


def _display(uri: Uri, dev: Path) -> Iterator[Line]:
    is_framebuffer = uri.place.startswith("fb")
    nodes = [] if is_framebuffer else sorted(dev.glob("dri/card*"))
    if nodes := nodes or sorted(dev.glob("fb[0-9]*")):
        yield from look("graphics", nodes, "video")
        return
    words = f"no {dev}/fb*" if is_framebuffer else f"no {dev}/dri/card* and no {dev}/fb*"
    # No problem: a display may come later, and the picture goes to other sinks meanwhile.
    yield Line("graphics", "note", words, "load the display's driver, or use the sink web:")


def _input(text: str, dev: Path) -> Iterator[Line]:
    uri = parse_input(text)
    yield from _evdev(text, uri, dev / "input") if uri.kind == "evdev" else _gpio(uri, dev)


def _evdev(text: str, uri: Uri, root: Path) -> Iterator[Line]:
    wanted = evdev.Wanted(uri.place, uri.options.get("key", evdev.KEYS["KEY_CAMERA"]))
    try:
        descriptors = evdev.open_devices(wanted, root)
    except (InputError, OSError) as error:  # OSError: it went away while it was asked
        yield from _no_evdev(f"no device for {text} ({getattr(error, 'got', error)})", root)
        return
    for descriptor in descriptors:
        os.close(descriptor)
    yield Line("input", "ok", f"{text} is there")


def _no_evdev(words: str, root: Path) -> Iterator[Line]:
    """Why there is no such device: it may be one of those that do not open."""
    nodes = sorted(root.glob("event*"))
    closed = [line for line in look("input", nodes, "input", os.O_RDONLY) if line.state != "ok"]
    step = "plug it in, or name another device or key"
    yield from closed or [Line("input", "problem", words, step)]


def _gpio(uri: Uri, dev: Path) -> Iterator[Line]:
    chip = uri.place.rpartition("/")[0]
    chips = sorted(dev.glob("gpiochip*"))
    # A chip that is named by its label may be any of them.
    nodes = [node for node in chips if node.name == chip or not chip.startswith("gpiochip")]
    if nodes:
        yield from look("GPIO", nodes, "gpio")
        return
    there = ", ".join(node.name for node in chips) or "none"
    words = f"no chip {chip} in {dev}; there: {there}"
    yield Line("GPIO", "problem", words, "name one of these, or load the driver of the chip")


def _listed(nodes: Sequence[Path]) -> str:
    words = ", ".join(map(str, nodes[:_NAMED_AT_MOST]))
    more = len(nodes) - _NAMED_AT_MOST
    return f"{words} and {more} more" if more > 0 else words
