"""Cameras are found by what they are, on folders laid out as sysfs is."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge.errors import InputError
from edge.sources import v4l2_abi as abi
from edge.sources.v4l2_identity import Host, find_camera, holders_of, list_cameras

CAPTURE = abi.V4L2_CAP_VIDEO_CAPTURE | abi.V4L2_CAP_STREAMING
METADATA = 0x00800000 | abi.V4L2_CAP_STREAMING


class Machine:
    """A sysfs, a /dev and what each node answers to VIDIOC_QUERYCAP."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.answers: dict[str, abi.Capability | OSError] = {}
        (root / "class/video4linux").mkdir(parents=True)
        (root / "dev").mkdir()
        self.host = Host(
            sysfs=root, dev=root / "dev", proc=root / "proc", capability=self._capability
        )

    def _capability(self, node: str) -> abi.Capability:
        answer = self.answers[node]
        if isinstance(answer, OSError):
            raise answer
        return answer

    def node(
        self,
        name: str,
        parent: str | None,
        caps: int = CAPTURE,
        bus: str = "",
        card: str = "Skin Camera",
        driver: str = "uvcvideo",
    ) -> str:
        """A node below a device of sysfs, and its path in /dev."""
        folder = self.root / "devices" / (parent or "virtual") / "video4linux" / name
        folder.mkdir(parents=True)
        if parent is not None:
            (folder / "device").symlink_to(self.root / "devices" / parent)
        (self.root / "class/video4linux" / name).symlink_to(folder)
        node = str(self.root / "dev" / name)
        Path(node).touch()
        self.answers[node] = abi.Capability(
            driver=driver.encode(),
            card=card.encode(),
            bus_info=bus.encode(),
            capabilities=0x80000000 | CAPTURE | METADATA,
            device_caps=caps,
        )
        return node

    def usb(self, port: str, vid: str, pid: str, serial: str | None = None) -> str:
        """A USB device with one interface, whose path below ``devices`` is returned."""
        device = self.root / "devices/usb1" / port
        (device / f"{port}:1.0").mkdir(parents=True, exist_ok=True)
        (device / "idVendor").write_text(f"{vid}\n")
        (device / "idProduct").write_text(f"{pid}\n")
        if serial is not None:
            (device / "serial").write_text(f"{serial}\n")
        return f"usb1/{port}/{port}:1.0"

    def unplug(self, name: str) -> None:
        (self.root / "class/video4linux" / name).unlink()
        (self.root / "dev" / name).unlink()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_the_only_camera_needs_no_name_and_its_metadata_node_is_none(machine: Machine):
    usb = machine.usb("1-1", "0ac8", "0345")
    machine.node("video0", usb)
    machine.node("video1", usb, caps=METADATA)
    camera, name = find_camera("", machine.host)
    assert (camera.node[-7:], name) == ("/video0", "usb-0ac8:0345")


@pytest.mark.parametrize(
    "place",
    ["usb-0ac8:0345", "usb-0ac8:0345:SN_0_1", "usb-0000:00:14.0-1", "usb-0ac8:0345@1-1"],
)
def test_a_usb_camera_has_several_names_and_one_identity(machine: Machine, place: str):
    # What means something in a URI is not taken over from a serial number.
    usb = machine.usb("1-1", "0AC8", "0345", "SN?0&1")
    machine.node("video0", usb, bus="usb-0000:00:14.0-1")
    machine.node("video1", machine.usb("1-2", "046d", "0825"), bus="usb-0000:00:14.0-2")
    camera, name = find_camera(place, machine.host)
    assert name == camera.identity == "usb-0ac8:0345:SN_0_1"


def test_a_camera_that_comes_back_under_another_number_is_found(machine: Machine):
    usb = machine.usb("1-1", "0ac8", "0345")
    machine.node("video0", usb)
    _, name = find_camera("", machine.host)
    machine.unplug("video0")
    machine.node("video0", machine.usb("1-2", "046d", "0825"))
    machine.node("video1", usb)
    camera, again = find_camera(name, machine.host)
    assert camera.node.endswith("/video1")
    assert again == name


def _image_processor(machine: Machine) -> None:
    """As on a Raspberry Pi up to 4: nodes that give back what others put in."""
    for number in (20, 21, 22):
        bus = "platform:bcm2835-isp"
        machine.node(f"video{number}", None, bus=bus, card="bcm2835-isp", driver="bcm2835-isp")


def test_an_image_processor_is_no_camera(machine: Machine):
    _image_processor(machine)
    with pytest.raises(InputError, match="video20, .*capture nothing that this source can read"):
        find_camera("", machine.host)
    with pytest.raises(InputError, match="a node that gives no pictures of its own"):
        find_camera(str(machine.root / "dev/video20"), machine.host)
    machine.node("video0", machine.usb("1-1", "0ac8", "0345"))
    assert find_camera("", machine.host)[1] == "usb-0ac8:0345"


def test_the_node_of_a_camera_port_beside_the_only_usb_camera_is_asked_for_by_name(
    machine: Machine,
):
    port = "platform:tegra-capture-vi:2"
    machine.node("video0", None, bus=port, card="vi-output, imx219 9-0010", driver="tegra-video")
    assert find_camera("", machine.host)[1] == port
    machine.node("video1", machine.usb("1-1", "0ac8", "0345"))
    assert find_camera("", machine.host)[1] == "usb-0ac8:0345"
    assert find_camera(port, machine.host)[1] == port


def test_two_alike_are_told_apart_by_their_port(machine: Machine):
    for number, port in enumerate(("1-1", "1-1.2")):
        machine.node(f"video{number}", machine.usb(port, "0ac8", "0345"))
    with pytest.raises(InputError, match=r"one camera called usb-0ac8:0345; got 2: ") as error:
        find_camera("usb-0ac8:0345", machine.host)
    for part in ("v4l2:usb-0ac8:0345@1-1:1.0 (", "v4l2:usb-0ac8:0345@1-1.2:1.0 (", "/video1"):
        assert part in error.value.got
    camera, name = find_camera("usb-0ac8:0345@1-1", machine.host)
    assert camera.node.endswith("/video0")
    assert name == "usb-0ac8:0345@1-1:1.0"


def test_several_cameras_and_no_name_are_refused_with_a_list(machine: Machine):
    machine.node("video0", machine.usb("1-1", "0ac8", "0345"))
    machine.node("video10", None, bus="platform:vivid-000", card="vivid")
    machine.node("video2", machine.usb("1-2", "046d", "0825"), card="C270")
    with pytest.raises(InputError, match="expected one camera; got 3: ") as error:
        find_camera("", machine.host)
    listed = error.value.got
    assert listed.index("usb-0ac8:0345") < listed.index("usb-046d:0825") < listed.index("vivid-000")


def test_without_usb_the_identity_is_the_bus(machine: Machine):
    machine.node("video0", "platform/vivid.0", bus="platform:vivid-000")
    camera, name = find_camera("platform:vivid-000", machine.host)
    assert (camera.usb_id, name) == (None, "platform:vivid-000")


def test_paths_and_links_to_them(machine: Machine):
    node = machine.node("video0", machine.usb("1-1", "0ac8", "0345"))
    machine.node("video1", machine.usb("1-2", "046d", "0825"))
    link = machine.root / "dev/by-id-camera"
    link.symlink_to(node)
    for place in (node, str(link)):
        assert find_camera(place, machine.host)[1] == "usb-0ac8:0345"


def test_what_is_no_capture_device_says_so(machine: Machine):
    usb = machine.usb("1-1", "0ac8", "0345")
    machine.node("video0", usb)
    metadata = machine.node("video1", usb, caps=METADATA)
    planar = machine.node("video2", None, caps=abi.V4L2_CAP_VIDEO_CAPTURE_MPLANE)
    with pytest.raises(InputError, match=r"gives no pictures .*use one of: v4l2:usb-0ac8:0345"):
        find_camera(metadata, machine.host)
    with pytest.raises(InputError, match="multi-planar interface only"):
        find_camera(planar, machine.host)


def test_no_camera_at_all(machine: Machine):
    with pytest.raises(InputError, match="expected a camera; got no camera; plug it in"):
        find_camera("", machine.host)
    with pytest.raises(InputError, match="a camera at v4l2:usb-0ac8:0345; got no camera"):
        find_camera("usb-0ac8:0345", machine.host)
    with pytest.raises(InputError, match="a camera at v4l2:/dev/nothing; got no camera"):
        find_camera("/dev/nothing", machine.host)
    (machine.root / "class/video4linux").rmdir()  # no driver loaded
    assert list_cameras(machine.host).cameras == []


@pytest.mark.parametrize("place", ["", "usb-0ac8:0345", "NODE"])
def test_no_permission_names_the_group(machine: Machine, place: str):
    node = machine.node("video0", machine.usb("1-1", "0ac8", "0345"))
    machine.answers[node] = PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    with pytest.raises(InputError, match="permission to use the camera .*group video"):
        find_camera(node if place == "NODE" else place, machine.host)


def test_a_node_that_vanishes_between_listing_and_asking_is_no_crash(machine: Machine):
    node = machine.node("video0", machine.usb("1-1", "0ac8", "0345"))
    machine.node("video1", machine.usb("1-2", "046d", "0825"))
    machine.answers[node] = OSError(errno.ENODEV, os.strerror(errno.ENODEV))
    assert find_camera("", machine.host)[1] == "usb-046d:0825"


def test_names_that_are_no_text_stay_on_one_line(machine: Machine):
    node = machine.node("video0", machine.usb("1-1", "0ac8", "0345"))
    machine.answers[node].card = b"Cam\xff\n\x1b[31m"
    assert str(find_camera("", machine.host)[0]) == f"Cam???[31m at {node}".replace(
        "???", "\ufffd??"
    )


def test_whoever_has_a_node_open_is_named(tmp_path: Path):
    node = tmp_path / "video0"
    node.touch()
    code = "import sys; f = open(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(node)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        child.stdout.readline()
        found = holders_of(str(node))
        child.stdin.close()
    assert [words.partition(" ")[2] for words in found] == [f"(process {child.pid})"]
