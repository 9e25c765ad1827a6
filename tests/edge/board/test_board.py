"""The board's files, as its vendor documents them, and those of this very machine."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from edge.board import raspberry_pi
from edge.board.state import read_board


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_this_machine_says_what_its_kernel_says():
    state = read_board()
    said = Path("/proc/meminfo").read_text().split()
    assert state.memory_total_bytes == int(said[1]) * 1024
    assert 0 < state.memory_available_bytes < state.memory_total_bytes
    assert json.loads(json.dumps(state.to_json_dict()))["kind"] == state.kind


def test_an_orin(tmp_path):
    ina = "sys/class/hwmon/hwmon1"
    state = read_board(
        tree(
            tmp_path,
            {
                "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
                "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
                "sys/class/thermal/thermal_zone0/temp": "51375\n",
                "sys/class/thermal/thermal_zone1/type": "gpu-thermal\n",
                "sys/class/thermal/cooling_device0/type": "pwm-fan\n",
                "sys/class/thermal/cooling_device0/cur_state": "3\n",
                "sys/class/thermal/cooling_device1/type": "gpu-throttle-alert\n",
                "sys/class/thermal/cooling_device1/cur_state": "1\n",
                "sys/class/thermal/cooling_device2/type": "hot-surface-alert\n",
                "sys/class/thermal/cooling_device2/cur_state": "1\n",
                "sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq": "1510400\n",
                "sys/class/devfreq/17000000.gpu/cur_freq": "624750000\n",
                f"{ina}/name": "ina3221\n",
                f"{ina}/in1_label": "VDD_IN\n",
                f"{ina}/in1_input": "5000\n",
                f"{ina}/curr1_input": "1480\n",
                "sys/class/hwmon/hwmon2/name": "soctherm_oc\n",
                "sys/class/hwmon/hwmon2/oc1_event_cnt": "0\n",
                "sys/class/hwmon/hwmon2/oc3_event_cnt": "7\n",
                "var/lib/nvpmodel/status": "pmode:0001 fmode:quiet",
                "etc/nvpmodel.conf": "< POWER_MODEL ID=0 NAME=15W >\n< POWER_MODEL ID=1 NAME=7W >",
            },
        )
    )
    assert state.kind == "jetson" and state.model == "NVIDIA Jetson Orin Nano Developer Kit"
    assert state.temperatures_c == {"cpu-thermal": 51.375}  # the GPU is off: no number, not 0
    assert state.power_w == {"VDD_IN": pytest.approx(7.4)}
    assert state.clocks_hz == {"cpu0": 1_510_400_000, "gpu": 624_750_000}
    assert state.power_mode == "7W" and state.events == {"oc1": 0, "oc3": 7}
    assert state.throttled == ("gpu-throttle-alert",)


@pytest.mark.parametrize(
    ("bits", "now", "of_late"),
    [
        (0, (), set()),
        (0x50005, ("under-voltage", "throttled"), {"under-voltage", "throttled"}),
        (0x00004, ("throttled",), {"throttled"}),  # what was before has been cleared by another
        (0x80000, (), {"soft temperature limit"}),
    ],
)
def test_a_raspberry_pi(tmp_path, monkeypatch, bits, now, of_late):
    asked = answer_with(monkeypatch, bits)
    state = read_board(
        tree(
            tmp_path,
            {
                "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
                "dev/vcio": "",
                # Deprecated: the kernel traces who reads it.
                "sys/devices/platform/soc/soc:firmware/get_throttled": "f000f\n",
            },
        )
    )
    assert state.kind == "raspberry pi" and state.throttled == now and state.events == {}
    assert {cause for cause, was in state.of_late.items() if was} == of_late
    assert len(state.of_late) == 4
    # _IOWR('d', 0, char *): both directions, the size of a pointer, 100, 0.
    ((request, message),) = asked
    assert request == 0xC0086400 and message == (28, 0, 0x00030046, 4, 0, 0, 0)


def answer_with(monkeypatch, bits: int, code: int = 0x80000000) -> list[tuple[int, tuple]]:
    """A firmware that says this; what it was asked."""
    asked: list[tuple[int, tuple]] = []

    def firmware(_: int, request: int, message: bytearray) -> None:
        asked.append((request, struct.unpack("=7I", message)))
        message[4:8] = struct.pack("=I", code)
        message[20:24] = struct.pack("=I", bits)

    monkeypatch.setattr(raspberry_pi.fcntl, "ioctl", firmware)
    return asked


def test_a_firmware_that_does_not_know_the_question(tmp_path, monkeypatch):
    answer_with(monkeypatch, 0x4, code=0x80000001)
    root = tree(tmp_path, {"proc/device-tree/model": "Raspberry Pi 5\0", "dev/vcio": ""})
    assert read_board(root).throttled is None and read_board(root).of_late == {}


def test_a_raspberry_pi_that_nobody_can_ask(tmp_path):
    state = read_board(tree(tmp_path, {"proc/device-tree/model": "Raspberry Pi 5\0"}))
    assert state.kind == "raspberry pi" and state.throttled is None and state.events == {}
    # A file that takes no such request.
    state = read_board(tree(tmp_path, {"dev/vcio": ""}))
    assert state.throttled is None


def test_an_empty_system_knows_nothing_and_says_so(tmp_path):
    state = read_board(tmp_path)
    assert state.model is None and state.throttled is None and state.memory_total_bytes is None
    assert dict(state.temperatures_c) == dict(state.power_w) == {}
