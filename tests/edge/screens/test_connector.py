"""Displays are found as the kernel lists them: a folder for each, as on real devices."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.errors import InputError
from edge.screens.connector import find_connector, is_connected


@pytest.fixture
def kernel(tmp_path: Path):
    drm, framebuffers = tmp_path / "drm", tmp_path / "graphics"
    for number, driver in enumerate(("vc4", "nvidia-drm")):
        (tmp_path / "drivers" / driver).mkdir(parents=True)
        (drm / f"card{number}" / "device").mkdir(parents=True)
        (drm / f"card{number}" / "device" / "driver").symlink_to(tmp_path / "drivers" / driver)
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
        return find_connector(wanted, drm, framebuffers)

    return plug, framebuffer, find, drm


def test_the_first_connected_display_in_its_best_mode(kernel):
    plug, framebuffer, find, drm = kernel
    plug("card0-HDMI-A-1", "disconnected")
    plug("card0-DSI-1", "connected", "800x480\n640x480\n", "33")
    plug("card1-HDMI-A-2", "connected", "1920x1080\n1280x720\n")
    framebuffer("fb0", "1024,600")
    found = find()
    assert (found.name, found.size_wh, found.driver) == ("card0-DSI-1", (800, 480), "vc4")
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
    assert (found.name, found.size_wh, found.driver) == (
        "card1-HDMI-A-2",
        (1920, 1080),
        "nvidia-drm",
    )
    assert found.connector_id is None


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
    with pytest.raises(InputError, match="card0-DSI-1 connected, card0-HDMI-A-1 disconnected"):
        find()
    with pytest.raises(InputError, match="a display HDMI-A-9 that is plugged in"):
        find("HDMI-A-9")
