"""The device's own screen from boot on, photographed."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from packs_for_tests import write_pack
from tests.vm.conftest import PYTHON, pictures, put_code

pytestmark = pytest.mark.vm

CONFIG = "/etc/dermedge/dermedge.toml"
# A network that even a machine without fast floating point computes.
CONFIGURED = """[source]
uri = "synthetic:7?size=320x240&fps=2"
[model]
pack = "/var/lib/dermedge/pack"
threads = 1
[output]
sinks = ["screen:"]
"""


def place(machine, *, kiosk: bool) -> None:
    machine.check(
        f"{PYTHON} - <<'END'\n"
        "from pathlib import Path\n"
        "from edge.appliance.files import Choices, place\n"
        "from edge.appliance.layout import Layout\n"
        "place(Layout(Path('/')), Path('/opt/dermedge/share/dermedge/systemd'), "
        f"Choices('pc', {kiosk}, ()))\n"
        "END"
    )


def photograph(machine, name: str) -> np.ndarray:
    path = pictures() / f"{name}.png"
    machine.photograph(path)
    return cv2.imread(str(path))


def photograph_when(
    machine, name: str, is_it: Callable[[np.ndarray], bool], within_s: float = 300.0
) -> np.ndarray:
    """The first picture of the screen that is the one waited for, or the last one."""
    until_s = time.monotonic() + within_s
    while True:
        picture = photograph(machine, name)
        if is_it(picture) or time.monotonic() > until_s:
            return picture
        machine.run("sleep 5")


def coloured_share(picture: np.ndarray) -> float:
    """Share of pixels that are neither grey nor dark: a console has none."""
    spread = picture.max(axis=2).astype(int) - picture.min(axis=2)
    return float((spread > 25).mean())


def test_kiosk(qemu, wheel, row, tmp_path: Path):
    """tty1 is the camera loop's from boot on, says what is wrong, and goes back to the login."""
    machine = qemu(memory_mib=2000)
    put_code(machine, wheel)
    pack = write_pack(tmp_path / "pack")
    machine.copy_in(pack, "/var/lib/dermedge/pack")
    machine.check("ln -sfn /opt/dermedge /opt/dermedge/current")
    place(machine, kiosk=True)
    machine.check("systemd-sysusers && systemd-tmpfiles --create dermedge.conf")
    machine.check(f"mkdir -p /etc/dermedge && cat > {CONFIG} <<'END'\n{CONFIGURED}END")
    machine.check(
        "systemctl daemon-reload && systemctl enable -q dermedge.target dermedge.service && sync"
    )
    login = photograph(machine, "kiosk-before")
    machine.power_off()
    row.figures.append(f"up after {machine.boot():.0f} s")
    machine.wait_for(
        "journalctl -u dermedge -b -o cat | grep -q 'screen .*display\\|view: '", within_s=400
    )
    machine.wait_for("test $(systemctl show -P ActiveState dermedge) = active", within_s=60)
    picture = photograph_when(machine, "kiosk", lambda seen: coloured_share(seen) > 0.2)
    assert coloured_share(picture) > 0.2, coloured_share(picture)
    assert machine.check("systemctl show -P ActiveState getty@tty1").strip() == "inactive"
    # Its list of devices was made when no camera was there; one that comes now is on it.
    assert machine.run("test -e /dev/video0").code != 0
    machine.check("modprobe vivid n_devs=1 && udevadm settle", limit_s=200)
    enter = "echo $$ > /sys/fs/cgroup/system.slice/dermedge.service/cgroup.procs"
    machine.check(f"sh -c '{enter} && exec 3</dev/video0'")
    assert machine.run(f"sh -c '{enter} && exec 3</dev/kmsg'").code != 0
    # What is wrong stands on the screen, too.
    machine.check(f"echo 'nonsense = 1' >> {CONFIG} && systemctl restart dermedge", limit_s=200)
    machine.wait_for("systemctl show -P StatusText dermedge | grep -q 'not running'", within_s=200)
    wrong = photograph_when(
        machine,
        "kiosk-not-running",
        lambda seen: 0.0 < coloured_share(seen) < 0.2 and seen.std() > 5,
    )
    assert 0.0 < coloured_share(wrong) < 0.2 and wrong.std() > 5
    # And back.
    place(machine, kiosk=False)
    machine.check("systemctl daemon-reload && systemctl stop dermedge", limit_s=120)
    machine.check("systemctl start getty@tty1 && sleep 10")
    back = photograph(machine, "kiosk-after")
    assert coloured_share(login) < 0.02 and coloured_share(back) < 0.02
    assert back.std() > 1.0  # a prompt, not nothing
