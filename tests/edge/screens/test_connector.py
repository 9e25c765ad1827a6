"""Displays are found as the kernel lists them: a folder for each, as on real devices."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest

from edge.errors import InputError
from edge.screens import connector
from edge.screens.connector import DRM_IOCTL_VERSION, driver_of, find_connector, is_connected


@pytest.fixture
def kernel(tmp_path: Path):
    drm, framebuffers = tmp_path / "drm", tmp_path / "graphics"
    for number in (0, 1):
        (drm / f"card{number}").mkdir(parents=True)
    (drm / "version").parent.mkdir(exist_ok=True)
    (drm / "version").write_text("drm 1.1.0 20060810\n")
    (drm / "renderD128").mkdir()

    def plug(name: str, status: str, modes: str = "", number: str = "") -> None:
        (drm / name).mkdir(exist_ok=True)
        (drm / name / "status").write_text(status + "\n")
        (drm / name / "modes").write_text(modes)
        if number:
            (drm / name / "connector_id").write_text(number + "\n")

    def framebuffer(name: str, size: str) -> None:
        (framebuffers / name).mkdir(parents=True)
        (framebuffers / name / "virtual_size").write_text(size + "\n")
        (framebuffers / name / "name").write_text("simple\n")

    def find(wanted: str = ""):
        return find_connector(wanted, drm, framebuffers, tmp_path / "dri")

    return plug, framebuffer, find, drm


def test_the_first_connected_display_in_its_best_mode(kernel):
    plug, framebuffer, find, drm = kernel
    plug("card0-HDMI-A-1", "disconnected")
    plug("card0-DSI-1", "connected", "800x480\n640x480\n", "33")
    plug("card1-HDMI-A-2", "connected", "1920x1080\n1280x720\n")
    framebuffer("fb0", "1024,600")
    found = find()
    assert (found.name, found.size_wh, found.driver) == ("card0-DSI-1", (800, 480), None)
    assert found.connector_id == 33
    assert is_connected(found, drm)
    plug("card0-DSI-1", "disconnected")
    assert not is_connected(found, drm)


@pytest.mark.parametrize("wanted", ["HDMI-A-2", "card1-HDMI-A-2"])
def test_the_one_that_is_wanted(kernel, wanted: str):
    plug, _, find, _ = kernel
    plug("card0-DSI-1", "connected", "800x480\n")
    plug("card1-HDMI-A-2", "connected", "1920x1080i\n1280x720\n")
    found = find(wanted)
    assert (found.name, found.size_wh) == ("card1-HDMI-A-2", (1920, 1080))
    assert found.connector_id is None


def test_a_panel_that_cannot_be_asked_is_taken_where_none_is_surely_connected(kernel):
    plug, _, find, drm = kernel
    plug("card0-Writeback-1", "unknown", "800x480\n")
    plug("card0-DPI-1", "unknown", "1024x600\n")
    assert find().name == "card0-DPI-1" and is_connected(find(), drm)
    plug("card1-HDMI-A-2", "connected", "1920x1080\n")
    assert find().name == "card1-HDMI-A-2"


def test_without_a_card_the_framebuffer(kernel):
    plug, framebuffer, find, drm = kernel
    plug("card0-HDMI-A-1", "disconnected")
    framebuffer("fb0", "1024,600")
    found = find()
    assert found.is_framebuffer and found.size_wh == (1024, 600)
    assert is_connected(found, drm)


def test_none_is_said_with_what_there_is(kernel):
    plug, _, find, _ = kernel
    with pytest.raises(InputError, match="no graphics card and no framebuffer"):
        find()
    plug("card0-HDMI-A-1", "disconnected")
    plug("card0-DSI-1", "connected", "")  # connected, and tells no mode: asleep
    assert find().size_wh is None
    plug("card0-DSI-1", "disconnected")
    with pytest.raises(InputError, match="card0-DSI-1 disconnected, card0-HDMI-A-1 disconnected"):
        find()
    with pytest.raises(InputError, match="a display HDMI-A-9 that is plugged in"):
        find("HDMI-A-9")


def test_the_request_is_that_of_the_kernels_header(tmp_path: Path):
    compiler = shutil.which("gcc")
    if compiler is None or not Path("/usr/include/libdrm/drm.h").exists():
        pytest.skip("needs gcc and the kernel's header: apt-get install gcc libdrm-dev")
    source = tmp_path / "request.c"
    source.write_text(
        "#include <libdrm/drm.h>\n#include <stdio.h>\n#include <stddef.h>\n"
        'int main(void) { printf("%lx %zu %zu", (unsigned long)DRM_IOCTL_VERSION, '
        "sizeof(struct drm_version), offsetof(struct drm_version, name_len)); }\n"
    )
    subprocess.run([compiler, source, "-o", tmp_path / "request"], check=True)
    said = subprocess.run([tmp_path / "request"], capture_output=True, text=True).stdout.split()
    ours = connector._Version
    assert said == [f"{DRM_IOCTL_VERSION:x}", str(ctypes.sizeof(ours)), str(ours.name_len.offset)]


def test_a_file_that_is_no_card_has_no_driver(tmp_path: Path):
    (tmp_path / "card0").write_text("")
    assert driver_of(tmp_path / "card0") is None and driver_of(tmp_path / "card1") is None
