"""The scripts that need a kernel of their own, each in a fresh guest."""

from __future__ import annotations

import re

import pytest

from tests.vm.conftest import CODE, PYTHON, put_code

pytestmark = pytest.mark.vm


def _script(machine, row, name: str, *arguments: str) -> None:
    said = machine.run(f"{PYTHON} {CODE}/tests/vm/{name} {' '.join(arguments)}", limit_s=600)
    assert said.code == 0, said.text
    passed = len(re.findall(r"^ok\b|\bok$", said.text, re.MULTILINE))
    assert passed, said.text
    row.figures.append(f"{passed} checks")


def test_vivid(uml, wheel, row):
    """v4l2: on the kernel's test driver: flagged and lost buffers, errors, a disconnect."""
    machine = uml()
    put_code(machine, wheel)
    _script(machine, row, "guest_v4l2_vivid.py")


def test_loopback(uml, wheel, row):
    """v4l2: on v4l2loopback: MJPG whole, padded and torn, a writer that stops."""
    machine = uml()
    put_code(machine, wheel)
    _script(machine, row, "guest_v4l2_loopback.py")


def test_usb_camera(uml, wheel, row):
    """v4l2: on uvcvideo with a USB camera of software: identity, replug, clocks, colour lock."""
    machine = uml()
    put_code(machine, wheel)
    _script(machine, row, "guest_v4l2_uvc.py")


def test_buttons(uml, wheel, row):
    """A camera's button through uinput and evdev, a line of gpio-sim."""
    machine = uml()
    put_code(machine, wheel)
    _script(machine, row, "guest_inputs.py", "evdev", "gpio")
