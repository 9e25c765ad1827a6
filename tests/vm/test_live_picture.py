"""The whole camera loop on a real V4L2 device: window, page, guards, shutter, recording, export."""

from __future__ import annotations

import json
import re

import pytest

from tests.vm.conftest import CODE, PYTHON, pictures, put_code

pytestmark = pytest.mark.vm

DERMEDGE = "/opt/dermedge/bin/dermedge"
PAGE = "http://127.0.0.1:8080"
WISH = "/run/feed"
X = "DISPLAY=:9 XDG_RUNTIME_DIR=/run HOME=/root"


def begin_camera(machine) -> None:
    """The phantom stream on /dev/video0, and a virtual desktop."""
    machine.check("modprobe v4l2loopback devices=1 video_nr=0 exclusive_caps=1 && udevadm settle")
    machine.check(f"echo live > {WISH}")
    machine.check(
        f"systemd-run --quiet --unit=feed {PYTHON} {CODE}/tests/vm/guest_feed.py 7 {WISH}"
    )
    machine.wait_for("v4l2-ctl -d /dev/video0 --list-formats | grep -q YUYV", within_s=60)
    machine.check("systemd-run --quiet --unit=x Xvfb :9 -screen 0 1920x1080x24")
    machine.wait_for(f"{X} xdpyinfo")
    machine.check(f"systemd-run --quiet --unit=wm env {X} openbox")


def photograph(machine, name: str) -> None:
    window = f'"$({X} xdotool search --name dermedge | tail -1)"'
    machine.check(f"{X} import -window {window} /root/{name}.png")
    machine.copy_out(f"/root/{name}.png", pictures() / f"{name}.png")


def result(machine) -> dict:
    return json.loads(machine.check(f"curl -sf {PAGE}/result.json"))


def letters(machine) -> dict[int, str]:
    """Track and letter of each region of an answer that was not there before."""
    machine.check("sleep 1")
    regions = result(machine)["regions"]
    assert all(region["track_id"] is not None for region in regions), regions
    return {region["track_id"]: region["letter"] for region in regions}


def say(machine, word: str, health: str, within_s: float = 15.0) -> float:
    """Make the camera do something, and wait until the page's health says it."""
    machine.check(f"echo {word} > {WISH}")
    return machine.wait_for(f"curl -s {PAGE}/healthz | grep -qi '{health}'", within_s=within_s)


def test_live_picture(uml, wheel, row):
    """v4l2: to window and page; guards; a press; recording; export; SIGTERM."""
    machine = uml(memory_mib=2500)
    put_code(machine, wheel)
    begin_camera(machine)
    machine.check(
        f"systemd-run --quiet --unit=loop --property=KillMode=mixed env {X} {DERMEDGE} run "
        "--source v4l2: --view paired --sink window --sink web: --sink jsonl:/root/run.jsonl "
        "--sink 'record:/root/recordings' --cases /root/cases"
    )
    first_s = machine.wait_for(f"curl -sf {PAGE}/healthz", within_s=120)
    row.figures.append(f"live {first_s:.0f} s after the start")
    # Letters are there, and stay with what they name.
    machine.wait_for(f"curl -sf {PAGE}/result.json | grep -q '\"track_id\": *[0-9]'", within_s=120)
    seen = [letters(machine) for _ in range(10)]
    stayed = set.intersection(*(set(each.items()) for each in seen))
    named: dict[int, set[str]] = {}
    for each in seen:
        for track, letter in each.items():
            named.setdefault(track, set()).add(letter)
    assert stayed and all(letter for _, letter in stayed), seen
    assert all(len(its_letters) == 1 for its_letters in named.values()), seen
    row.figures.append(f"{len(stayed)} lesions keep their letters in 10 answers")
    photograph(machine, "live")

    for word, health in (("freeze", "same picture"), ("black", "black"), ("stop", "no new|camera")):
        pattern = health.replace("|", "\\|")
        row.figures.append(f"{word}: {say(machine, word, pattern):.1f} s")
        assert result(machine)["regions"] is None
        photograph(machine, f"camera-{word}")
        say(machine, "live", "^ok", within_s=30)

    machine.check(f"{X} xdotool key --window $({X} xdotool search --name dermedge | tail -1) space")
    machine.wait_for("ls /root/cases/*/case.json", within_s=30)
    photograph(machine, "frozen")
    machine.check("systemctl stop loop", limit_s=60)
    said = machine.check("journalctl -u loop -o cat; systemctl show loop -p Result")
    assert "Result=success" in said and "Traceback" not in said, said

    case = json.loads(machine.check("cat /root/cases/*/case.json"))
    later_ms = (case["exposure_began_ns"] - case["press"]["pressed_ns"]) / 1e6
    assert later_ms > 0, case
    assert case["device"]["board"]["memory_available_bytes"] > 0
    assert "frame age" in case["device"]["figures"]
    row.figures.append(f"exposed {later_ms:.0f} ms after the press")
    machine.check(
        f"{DERMEDGE} export --to /root/stick --cases /root/cases --recordings /root/recordings "
        "--logs /root/run.jsonl",
        limit_s=300,
    )
    verified = machine.check(f"{DERMEDGE} export --verify /root/stick")
    row.figures.append(re.sub(r"\s+", " ", verified.strip().splitlines()[-1]))
