"""A machine with the whole service on it: camera, display, page, recording, cases, telemetry."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.vm.build import Pieces
from tests.vm.conftest import CODE, PYTHON, put_code
from tests.vm.machine import ext4_disk
from tests.vm.test_live_picture import WISH
from tests.vm.uml import UmlMachine

PAGE = "http://127.0.0.1:8080"
CONFIG = "/etc/dermedge/dermedge.toml"
CONFIGURED = """[source]
uri = "v4l2:"
[model]
threads = 1
[output]
sinks = ["screen:", "web:", "record:/var/lib/dermedge/recordings"]
[cases]
folder = "/var/lib/dermedge/cases"
reserve_mb = 16
[record]
reserve_mb = 16
[recovery]
requests = "/run/dermedge"
[telemetry]
listen = "127.0.0.1:9155"
folder = "/var/lib/dermedge/telemetry"
"""
PLACE = f"""{PYTHON} - <<'END'
from pathlib import Path
from edge.appliance.files import Choices, place
from edge.appliance.layout import Layout
place(Layout(Path("/")), Path("/opt/dermedge/share/dermedge/systemd"), Choices("pc", False, ()))
END"""


class Device:
    """A machine with the service on it."""

    def __init__(self, machine: UmlMachine) -> None:
        self.machine = machine
        self.check, self.run, self.wait_for = machine.check, machine.run, machine.wait_for

    def install(self, wheel: Path) -> None:
        """The version in use is the environment that the image has; the installer itself is tested
        in a container."""
        put_code(self.machine, wheel)
        self.check(f"ln -sfn /opt/dermedge /opt/dermedge/current\n{PLACE}")
        self.check("systemd-sysusers && systemd-tmpfiles --create dermedge.conf")
        self.check(f"mkdir -p /etc/dermedge && cat > {CONFIG} <<'END'\n{CONFIGURED}END")
        unit = (
            "[Unit]\\nBefore=dermedge.service\\n[Service]\\nEnvironment=NODE=0\\n"
            "EnvironmentFile=-/run/feed.env\\n"
            "ExecStartPre=/bin/sh -c 'exec modprobe v4l2loopback devices=1 video_nr=\\$NODE "
            "exclusive_caps=1'\\n"
            "ExecStartPre=/sbin/modprobe vkms\\n"
            f"ExecStartPre=/bin/sh -c 'echo live > {WISH}'\\n"
            f"ExecStart=/bin/sh -c 'exec {PYTHON} {CODE}/tests/vm/guest_feed.py 7 {WISH} "
            "/dev/video\\$NODE 640x480@15'\\n"
            "[Install]\\nWantedBy=multi-user.target\\n"
        )
        self.check(
            f'printf "{unit}" > /etc/systemd/system/feed.service && systemctl daemon-reload && '
            "systemctl enable -q feed dermedge.target dermedge.service && "
            "systemctl start feed dermedge.target && sync"
        )

    def unplug(self) -> None:
        """No camera any more."""
        self.check("systemctl stop feed")
        self.wait_for("modprobe -r v4l2loopback", within_s=30)

    def plug(self, node: int = 0) -> None:
        """A camera with this number; returns when it gives pictures."""
        self.check(f"echo NODE={node} > /run/feed.env && systemctl start feed")
        self.wait_for(f"v4l2-ctl -d /dev/video{node} --list-formats | grep -q YUYV", within_s=60)

    def live(self, within_s: float = 180.0) -> float:
        """Seconds until the page says that the picture is live."""
        return self.wait_for(f"curl -sf -m 2 {PAGE}/healthz", within_s=within_s)

    def not_live(self, within_s: float = 30.0) -> float:
        return self.wait_for(f"! curl -sf -m 2 {PAGE}/healthz", within_s=within_s)

    def said(self) -> str:
        """What the person sees besides the picture."""
        return self.check(f"curl -s '{PAGE}/live?after=-1' | head -c 3000 | tr -cd '[:print:]'")

    def press(self) -> None:
        self.check(f"curl -sf -X POST -H 'X-Dermedge: 1' {PAGE}/wish/shutter")

    def pid(self) -> str:
        return self.check("systemctl show -P MainPID dermedge.service").strip()

    def cursor(self) -> str:
        """Where the journal stands now, for :meth:`log` and :meth:`wait_for_log`."""
        said = self.check("journalctl -n 1 --show-cursor --no-pager -o cat")
        return said.rpartition("-- cursor: ")[2].strip()

    def log(self, since: str = "") -> str:
        """What the service, and the manager about it, have said in this boot, or since then."""
        after = f"--after-cursor='{since}'" if since else "-b"
        return self.check(f"journalctl -u dermedge {after} --no-pager -o cat")

    def wait_for_log(self, pattern: str, since: str, *, within_s: float) -> float:
        """Seconds until the log has a line like this that was not there at ``since``."""
        return self.wait_for(
            f"journalctl -u dermedge --after-cursor='{since}' -o cat | grep -q \"{pattern}\"",
            within_s=within_s,
        )


@contextmanager
def whole_service(pieces: Pieces, wheel: Path, folder: Path) -> Iterator[Device]:
    """The device, live; what it records lies on a disk of its own."""
    if not pieces.uml_kernel.exists():
        pytest.skip(f"no {pieces.uml_kernel}: make test-vm builds it")
    with ext4_disk(folder, "state", 3000) as disk:
        with UmlMachine(pieces, memory_mib=2500, disks=[disk]) as machine:
            machine.boot()
            device = Device(machine)
            device.check(
                f"echo '{machine.disk(0)} /var/lib/dermedge ext4 defaults,nofail 0 2' >> "
                "/etc/fstab && mkdir -p /var/lib/dermedge && mount /var/lib/dermedge"
            )
            device.install(wheel)
            device.live()
            yield device
