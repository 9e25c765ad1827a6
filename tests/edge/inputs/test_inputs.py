"""Presses become commands with the kernel's instants; a real kernel's devices are in tests/vm."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from edge.controls import Controls
from edge.errors import InputError, RequestError
from edge.inputs import button as button_module
from edge.inputs import evdev, gpio
from edge.inputs.button import Button
from edge.inputs.uri import buttons_from_uris, parse_input
from edge.stop import Stop

PATIENCE_S = 10.0
HEADERS = Path("/usr/include/linux")


def event(code: int, value: int, at_us: int = 1_500_000, kind: int = evdev.EV_KEY) -> bytes:
    return evdev.INPUT_EVENT.pack(at_us // 1_000_000, at_us % 1_000_000, kind, code, value)


def test_only_the_key_going_down_is_a_press():
    data = (
        event(212, 1, 1_000_000)
        + event(0, 0, 1_000_000, kind=0)  # SYN
        + event(212, 2, 1_200_000)  # held
        + event(212, 0, 1_300_000)
        + event(28, 1, 1_400_000)
        + event(212, 1, 2_000_001)
    )
    assert list(evdev.presses(data, 212)) == [1_000_000_000, 2_000_001_000]


C_OF_INPUT = r"""
#include <linux/input.h>
#include <stdio.h>
#include <stddef.h>
int main(void) {
    printf("%zu %zu %lx %lx %lx %lx %lx %d %d\n", sizeof(struct input_event),
           offsetof(struct input_event, value), (unsigned long)EVIOCSCLOCKID,
           (unsigned long)EVIOCGNAME(256), (unsigned long)EVIOCGPHYS(256),
           (unsigned long)EVIOCGUNIQ(256), (unsigned long)EVIOCGBIT(EV_KEY, 96), EV_KEY, KEY_MAX);
"""

C_OF_GPIO = r"""
#include <linux/gpio.h>
#include <stdio.h>
#include <stddef.h>
int main(void) {
    printf("%lx %lx %zu %zu %zu %zu %zu %zu %zu\n", (unsigned long)GPIO_V2_GET_LINE_IOCTL,
           (unsigned long)GPIO_GET_CHIPINFO_IOCTL, sizeof(struct gpio_v2_line_request),
           offsetof(struct gpio_v2_line_request, config), offsetof(struct gpio_v2_line_request, fd),
           sizeof(struct gpio_v2_line_config), offsetof(struct gpio_v2_line_config, attrs),
           sizeof(struct gpio_v2_line_event), sizeof(struct gpiochip_info));
    printf("%llu %llu %llu %llu %llu %llu %d\n", (unsigned long long)GPIO_V2_LINE_FLAG_INPUT,
           (unsigned long long)GPIO_V2_LINE_FLAG_EDGE_RISING,
           (unsigned long long)GPIO_V2_LINE_FLAG_EDGE_FALLING,
           (unsigned long long)GPIO_V2_LINE_FLAG_BIAS_PULL_UP,
           (unsigned long long)GPIO_V2_LINE_FLAG_BIAS_PULL_DOWN,
           (unsigned long long)GPIO_V2_LINE_FLAG_BIAS_DISABLED, GPIO_V2_LINE_ATTR_ID_DEBOUNCE);
    return 0;
}
"""


def compiled(source: str, folder: Path) -> list[list[str]]:
    compiler = shutil.which("gcc")
    if compiler is None or not (HEADERS / "gpio.h").exists():
        pytest.skip("needs gcc and the kernel's headers: apt-get install gcc linux-libc-dev")
    (folder / "a.c").write_text(source)
    subprocess.run([compiler, folder / "a.c", "-o", folder / "a"], check=True)
    said = subprocess.run([folder / "a"], capture_output=True, text=True, check=True).stdout
    return [line.split() for line in said.splitlines()]


def test_input_events_are_those_of_the_kernels_header(tmp_path: Path):
    names = "\n".join(f'    printf("%d ", {name});' for name in evdev.KEYS)
    first, keys = compiled(C_OF_INPUT + names + "\n    return 0;\n}\n", tmp_path)
    assert first == [
        str(evdev.INPUT_EVENT.size),
        "20",
        f"{evdev.EVIOCSCLOCKID:x}",
        *(f"{evdev.text_request(number):x}" for number in (6, 7, 8)),
        f"{evdev.key_bits_request():x}",
        str(evdev.EV_KEY),
        "767",
    ]
    assert [int(key) for key in keys] == list(evdev.KEYS.values())


def test_gpio_structures_are_those_of_the_kernels_header(tmp_path: Path):
    sizes, flags = compiled(C_OF_GPIO, tmp_path)
    assert sizes == [
        f"{gpio.GPIO_V2_GET_LINE_IOCTL:x}",
        f"{gpio.GPIO_GET_CHIPINFO_IOCTL:x}",
        str(ctypes.sizeof(gpio.LineRequest)),
        str(gpio.LineRequest.config.offset),
        str(gpio.LineRequest.fd.offset),
        str(ctypes.sizeof(gpio.LineConfig)),
        str(gpio.LineConfig.attrs.offset),
        str(ctypes.sizeof(gpio.LineEvent)),
        str(ctypes.sizeof(gpio.ChipInfo)),
    ]
    assert [int(flag) for flag in flags] == [
        gpio.LINE_FLAG_INPUT,
        gpio.LINE_FLAG_EDGE["rising"],
        gpio.LINE_FLAG_EDGE["falling"],
        gpio.LINE_FLAG_BIAS["pull-up"],
        gpio.LINE_FLAG_BIAS["pull-down"],
        gpio.LINE_FLAG_BIAS["none"],
        gpio.LINE_ATTR_ID_DEBOUNCE,
    ]


# --- the thread ---------------------------------------------------------------------------------


def wait_for(condition) -> bool:
    end_s = time.monotonic() + PATIENCE_S
    while not condition() and time.monotonic() < end_s:
        time.sleep(0.01)
    return bool(condition())


def test_presses_that_bounce_are_one_and_carry_their_instant():
    near, far = os.pipe()
    controls, wanted = Controls(), evdev.Wanted("test", 212)
    button = Button(
        "evdev:test",
        lambda: [near],
        lambda fd: evdev.read_presses(fd, wanted),
        "shutter",
        controls,
        Stop(),
    )
    with button:
        os.write(far, event(212, 1, 1_000_000) + event(212, 1, 1_050_000))
        os.write(far, event(212, 1, 1_600_000))
        assert wait_for(lambda: len(controls._commands) == 2)
    first, second = controls.next(), controls.next()
    assert first is not None and second is not None
    assert (first.wish, first.origin, first.pressed_ns) == ("shutter", "evdev:test", 10**9)
    assert second.pressed_ns == 1_600_000_000
    os.close(far)


def test_a_button_that_is_away_is_found_when_it_comes_back(monkeypatch, caplog):
    monkeypatch.setattr(button_module, "RETRY_S", 0.05)
    controls, wanted, far = Controls(), evdev.Wanted("test", 212), []

    def open_all() -> list[int]:
        if len(far) == 0:
            far.append(-1)
            raise InputError("a button", got="none", next_step="plug it in")
        near, end = os.pipe()
        far.append(end)
        return [near]

    with Button("evdev:test", open_all, lambda fd: evdev.read_presses(fd, wanted), "card",
                controls, Stop()):  # fmt: skip
        assert wait_for(lambda: len(far) == 2)
        os.close(far[1])  # unplugged
        assert wait_for(lambda: len(far) == 3)
        os.write(far[2], event(212, 1))
        assert wait_for(lambda: controls.changed.is_set())
    command = controls.next()
    assert command is not None and command.wish == "card"
    assert "plug it in; it is looked for again" in caplog.text
    os.close(far[2])


def test_a_camera_that_is_plugged_in_again_is_heard_beside_a_keyboard(monkeypatch):
    """Its key is on the keyboard too: that one being there is no reason not to look."""
    monkeypatch.setattr(button_module, "RETRY_S", 0.05)
    ends: dict[str, int] = {}
    there = ["keyboard", "camera"]

    def open_all() -> list[int]:
        opened = []
        for name in there:
            near, ends[name] = os.pipe()
            opened.append(near)
        return opened

    controls, wanted = Controls(), evdev.Wanted("", 212)
    with Button("evdev:key 212", open_all, lambda fd: evdev.read_presses(fd, wanted), "shutter",
                controls, Stop(), what_is_there=lambda: list(there)):  # fmt: skip
        assert wait_for(lambda: len(ends) == 2)
        there.remove("camera")
        os.close(ends.pop("camera"))  # unplugged
        assert wait_for(lambda: "keyboard" in ends)
        ends.clear()
        there.append("camera")
        assert wait_for(lambda: len(ends) == 2)
        os.write(ends["camera"], event(212, 1))
        assert wait_for(lambda: controls.changed.is_set())
    assert controls.next() is not None


def test_what_is_there_changes_with_devices_and_with_who_may_open_them(tmp_path):
    nothing = evdev.what_is_there(tmp_path)
    (tmp_path / "event3").touch(mode=0o600)
    closed = evdev.what_is_there(tmp_path)
    (tmp_path / "event3").chmod(0o660)
    opened = evdev.what_is_there(tmp_path)
    assert nothing != closed != opened == evdev.what_is_there(tmp_path)


def test_the_thread_ends_with_the_run():
    near, far = os.pipe()
    stop = Stop()
    button = Button("x", lambda: [near], lambda fd: [], "shutter", Controls(), stop)
    with button:
        stop.request("the user")
        button._thread.join(2.0)
        assert not button._thread.is_alive()
    os.close(far)


# --- names --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("keyboard:", "an input of the kind evdev:"),
        ("evdev:x?key=KEY_NOPE", "must be one of KEY_ENTER"),
        ("evdev:x?key=0", "must be one of KEY_ENTER"),
        ("evdev:x?wish=coffee", "must be shutter or freeze or release or card"),
        ("gpio:17", "gpio:CHIP/LINE"),
        ("gpio:gpiochip0/x", "gpio:CHIP/LINE"),
        ("gpio:gpiochip0/1?bias=up", "bias"),
    ],
)
def test_wrong_names_are_one_line(text: str, words: str):
    with pytest.raises(RequestError, match=words):
        parse_input(text)


def test_names_say_what_is_wanted():
    made = buttons_from_uris(
        ["evdev:", "evdev:usb-1/button?key=28&wish=card", "gpio:gpiochip0/17?edge=rising"],
        Controls(),
        Stop(),
    )
    assert [b._origin for b in made] == ["evdev:key 212", "evdev:usb-1/button", "gpio:gpiochip0/17"]
    assert [b._wish for b in made] == ["shutter", "card", "shutter"]


def test_what_is_not_there_is_told_with_what_is(tmp_path: Path):
    with pytest.raises(InputError, match=r"an input device with the key 212; got none in"):
        evdev.open_devices(evdev.Wanted("", 212), tmp_path)
    with pytest.raises(InputError, match="a GPIO chip gpiochip0; got none in"):
        gpio.open_line(gpio.Wanted("gpiochip0", 1), tmp_path)
    (tmp_path / "event0").write_text("")
    (tmp_path / "gpiochip3").write_text("")
    with pytest.raises(InputError, match="event0: without a name"):
        evdev.open_devices(evdev.Wanted("", 212), tmp_path)
    with pytest.raises(InputError, match="gpiochip3: Inappropriate ioctl"):
        gpio.open_line(gpio.Wanted("gpiochip0", 1), tmp_path)
