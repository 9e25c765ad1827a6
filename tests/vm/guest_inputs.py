"""Buttons on a real kernel: uinput and gpio-sim; run as root inside a guest with both modules."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # as copied into the guest

from edge.controls import Command, Controls
from edge.inputs.uri import buttons_from_uris
from edge.stop import Stop

UI_SET_EVBIT, UI_SET_KEYBIT = 0x40045564, 0x40045565
UI_DEV_CREATE, UI_DEV_DESTROY, UI_DEV_SETUP = 0x5501, 0x5502, 0x405C5503
SIM = Path("/sys/kernel/config/gpio-sim/dermedge")


class VirtualKey:
    """An input device with one key, as a USB camera's button is one."""

    def __init__(self, name: str, key: int) -> None:
        self.key = key
        self.device = os.open("/dev/uinput", os.O_WRONLY)
        fcntl.ioctl(self.device, UI_SET_EVBIT, 1)
        fcntl.ioctl(self.device, UI_SET_KEYBIT, key)
        setup = struct.pack("HHHH80sI", 3, 0x0AC8, 0x0345, 1, name.encode(), 0)
        fcntl.ioctl(self.device, UI_DEV_SETUP, setup)
        fcntl.ioctl(self.device, UI_DEV_CREATE)
        time.sleep(1.0)

    def set(self, value: int) -> None:
        event = struct.pack("qqHHi", 0, 0, 1, self.key, value)
        os.write(self.device, event + struct.pack("qqHHi", 0, 0, 0, 0, 0))

    def press(self, held_s: float = 0.05) -> None:
        self.set(1)
        time.sleep(held_s)
        self.set(0)

    def remove(self) -> None:
        fcntl.ioctl(self.device, UI_DEV_DESTROY)
        os.close(self.device)


def next_command(controls: Controls, within_s: float = 5.0) -> Command | None:
    end_s = time.monotonic() + within_s
    while (command := controls.next()) is None and time.monotonic() < end_s:
        time.sleep(0.01)
    return command


def check_evdev() -> None:
    subprocess.run(["modprobe", "uinput"], check=True)
    key = VirtualKey("USB Camera: button", 212)
    controls = Controls()
    (button,) = buttons_from_uris(["evdev:USB Camera: button"], controls, Stop())
    with button:
        time.sleep(1.0)
        before_ns = time.monotonic_ns()
        key.press(held_s=1.0)  # held: one press
        command = next_command(controls)
        assert command is not None and command.wish == "shutter"
        assert before_ns <= command.pressed_ns <= before_ns + 300_000_000, command
        assert next_command(controls, 1.0) is None
        key.remove()
        time.sleep(1.0)
        key = VirtualKey("USB Camera: button", 212)
        time.sleep(3.0)
        key.press()
        assert next_command(controls) is not None, "it did not come back"
    key.remove()
    print("evdev ok", flush=True)


def check_gpio() -> None:
    subprocess.run(["modprobe", "gpio-sim"], check=True)
    subprocess.run(["mount", "-t", "configfs", "none", "/sys/kernel/config"], capture_output=True)
    (SIM / "bank0").mkdir(parents=True)
    (SIM / "bank0" / "num_lines").write_text("8")
    (SIM / "bank0" / "label").write_text("dermedge-sim")
    (SIM / "live").write_text("1")
    device = (SIM / "dev_name").read_text().strip()
    chip = (SIM / "bank0" / "chip_name").read_text().strip()
    pull = Path(f"/sys/devices/platform/{device}/{chip}/sim_gpio3/pull")
    pull.write_text("pull-up")
    for name in ("dermedge-sim", chip):
        controls = Controls()
        uri = f"gpio:{name}/3?debounce_ms=20"
        (button,) = buttons_from_uris([uri], controls, Stop())
        with button:
            time.sleep(1.0)
            before_ns = time.monotonic_ns()
            pull.write_text("pull-down")
            command = next_command(controls)
            assert command is not None and command.origin == f"gpio:{name}/3"
            assert before_ns <= command.pressed_ns <= before_ns + 500_000_000, command
            pull.write_text("pull-up")
            assert next_command(controls, 0.7) is None, "letting go is no press"
    print("gpio ok", flush=True)


if __name__ == "__main__":
    for kind in sys.argv[1:] or ("evdev", "gpio"):  # one kernel rarely has both modules
        {"evdev": check_evdev, "gpio": check_gpio}[kind]()
