"""Installed, upgraded, rolled back and removed on a plain Debian, by the documented commands."""

from __future__ import annotations

import json
import re
import shutil
import time
import zipfile
from pathlib import Path

import pytest

from edge.appliance.files import BOARDS
from tests.vm.build import CHECKOUT, Pieces
from tests.vm.machine import SHARE
from tests.vm.nspawn import NspawnMachine
from tests.vm.report import figures

pytestmark = pytest.mark.nspawn

CONFIG = "/etc/dermedge/dermedge.toml"
PHANTOM = """[source]
uri = "synthetic:7?size=320x240&fps=5"
[model]
threads = 1
[output]
sinks = ["web:127.0.0.1:8080"]
[cases]
folder = "/var/lib/dermedge/cases"
[recovery]
requests = "/run/dermedge"
"""


DROP_INS = """
from pathlib import Path
from edge.appliance.files import Choices, place
from edge.appliance.layout import Layout
place(Layout(Path("/")), Path("/opt/dermedge/current/share/dermedge/systemd"),
      Choices("{board}", "{board}" != "pc", ()))
"""


def bundle(pieces: Pieces, wheel: Path, folder: Path, *, mark: str = "") -> Path:
    """What ``make bundle`` makes; ``mark`` makes another version of it."""
    wheels = folder / "wheels"
    shutil.copytree(pieces.wheels, wheels)
    shutil.copy2(CHECKOUT / "constraints.txt", wheels)
    shutil.copy2(CHECKOUT / "systemd/install", folder)
    target = wheels / wheel.name
    shutil.copy2(wheel, target)
    if mark:  # another version, with a unit of its own
        data = f"{'-'.join(wheel.name.split('-')[:2])}.data/data/share/dermedge/systemd"
        with zipfile.ZipFile(target, "a") as content:
            content.writestr(f"edge/{mark}.py", f'"""{mark}."""\n')
            content.writestr(f"{data}/dermedge-{mark}.target", "[Unit]\nDescription=another\n")
    return folder


@pytest.fixture
def installed(container, pieces: Pieces, wheel: Path, tmp_path: Path, row) -> NspawnMachine:
    """A machine with dermedge on it, fed by the phantom camera."""
    machine = container()
    machine.check("getent group > /root/groups")
    shutil.copytree(bundle(pieces, wheel, tmp_path / "one"), machine.share / "one")
    machine.check(f"mkdir -p /etc/dermedge && cat > {CONFIG} <<'END'\n{PHANTOM}END")
    said = machine.check(f"{SHARE}/one/install", limit_s=300)
    row.figures.append(_took(said))
    return machine


def _took(said: str) -> str:
    return "installed" if "dermedge.service: active" in said else said


def _live(machine: NspawnMachine, within_s: float = 60.0) -> float:
    """Seconds until the page says that the picture is live."""
    asks = (
        "import urllib.request as u; "
        "print(u.urlopen('http://127.0.0.1:8080/healthz', timeout=3).read())"
    )
    return machine.wait_for(f'python3 -c "{asks}"', within_s=within_s)


def _version(machine: NspawnMachine) -> str:
    return machine.check("readlink /opt/dermedge/current").strip()


def test_installed_upgraded_rolled_back_removed(installed, pieces, wheel, tmp_path, row):
    """One command each; configuration, cases and engines stay; at the end nothing is left."""
    machine = installed
    row.figures.append(f"live {_live(machine):.1f} s after the installation's end")
    listed = machine.check("systemctl --failed --no-legend")
    assert listed.strip() == "", listed
    first = _version(machine)
    before = machine.check(f"ls -l --time-style=full-iso {CONFIG} /etc/systemd/system/dermedge*")

    # Once more: nothing changes.
    said = machine.check(f"{SHARE}/one/install", limit_s=300)
    assert "there already" in said and "written" not in said
    assert _version(machine) == first
    assert before == machine.check(
        f"ls -l --time-style=full-iso {CONFIG} /etc/systemd/system/dermedge*"
    )

    # What the user has: a case, a recording, an engine, a configuration of their own.
    machine.check(
        "cd /var/lib/dermedge && mkdir -p engines/net cases/K7M2 recordings/000001 mypack && "
        "echo e > engines/net/x.engine && echo c > cases/K7M2/case.json && "
        "echo r > recordings/000001/segment.json && chown -R dermedge: ."
    )
    kept = (
        "cd /var/lib/dermedge && cat engines/net/x.engine cases/*/* recordings/*/*; cat " + CONFIG
    )
    had = machine.check(kept)

    # Upgrade.
    two = bundle(pieces, wheel, tmp_path / "two", mark="second")
    shutil.copytree(two, machine.share / "two")
    said = machine.check(f"dermedge service install --wheels {SHARE}/two/wheels", limit_s=300)
    second = _version(machine)
    assert second != first and machine.check("readlink /opt/dermedge/previous").strip() == first
    _live(machine)
    assert machine.check(kept) == had
    unit = "systemctl cat dermedge-second.target"  # which the version before does not know
    assert machine.run(unit).code == 0

    # A configuration as an editor leaves it that writes a new file.
    machine.check(f"chown root:root {CONFIG} && chmod 600 {CONFIG}")
    assert f"for the service to read: {CONFIG}" in machine.check(
        f"dermedge service install --wheels {SHARE}/two", limit_s=300
    )
    assert machine.check(f"stat -c %U:%G:%a {CONFIG}").strip() == "root:dermedge:640"
    _live(machine)

    # Back, forth.
    began = machine.check("dermedge service rollback")
    assert _version(machine) == first and f"back to: {Path(first).name}" in began
    _live(machine)
    assert machine.run(unit).code != 0
    machine.check("dermedge service rollback")
    assert _version(machine) == second and machine.run(unit).code == 0
    assert machine.check(kept) == had

    # A configuration that the new version does not accept changes nothing.
    machine.check(f"cp -p {CONFIG} /tmp/c && echo 'nonsense = 1' >> {CONFIG}")
    said = machine.run(f"{SHARE}/one/install", limit_s=300)
    assert said.code == 3 and "nonsense" in said.text and "Traceback" not in said.text
    assert _version(machine) == second
    machine.check(f"mv /tmp/c {CONFIG}")

    # A machine that starts anew.
    machine.power_off()
    row.figures.append(f"machine up after {machine.boot():.1f} s")
    row.figures.append(f"live {_live(machine):.1f} s after that")

    # Taken off: what was recorded is left, and said.
    said = machine.check("dermedge service uninstall")
    assert "left, because it is yours" in said and "the configuration was changed" in said
    assert machine.run("ls -d /root/.cache /etc/sysusers.d").text.count("No such file") == 2
    left = machine.check("find / -xdev -name '*dermedge*' -not -path '/proc/*' -not -path '/mnt/*'")
    journal = [line for line in left.split() if not line.startswith("/var/log/journal")]
    assert journal == ["/var/lib/dermedge", "/var/lib/dermedge/dermedge.toml"], left
    assert machine.check("ls -A /var/lib/dermedge").split() == [
        "cases",
        "dermedge.toml",
        "mypack",
        "recordings",
    ]
    assert (
        machine.check("stat -c %U:%G /var/lib/dermedge/cases/K7M2/case.json").strip() == "root:root"
    )
    assert machine.run("getent passwd dermedge; getent group dermedge").text == ""
    assert machine.check("getent group | diff /root/groups -") == ""

    assert machine.run("systemctl cat dermedge.service").code != 0
    assert machine.check("systemctl --failed --no-legend").strip() == ""

    # And put on again: it goes on with what was left.
    said = machine.check(f"{SHARE}/one/install", limit_s=300)
    assert "NOTE: /var/lib/dermedge/dermedge.toml is the configuration of before" in said
    owners = "stat -c %U /var/lib/dermedge/cases/K7M2/case.json /var/lib/dermedge/mypack"
    assert machine.check(owners).split() == ["dermedge", "root"]


def test_units_are_clean(installed, row):
    """systemd-analyze verify says nothing, and the sandbox is as tight as stated."""
    machine = installed
    said = machine.run(
        "systemd-analyze verify /etc/systemd/system/dermedge*.service "
        "/etc/systemd/system/dermedge*.path /etc/systemd/system/dermedge.target"
    )
    assert said.code == 0 and said.text.strip() == "", said.text
    for board in BOARDS:  # and with the drop-ins of each board, and of the kiosk
        machine.check(
            f"/opt/dermedge/current/bin/python - <<'END'\n{DROP_INS.format(board=board)}END\n"
            "systemctl daemon-reload"
        )
        said = machine.run("systemd-analyze verify /etc/systemd/system/dermedge*.service")
        assert said.code == 0 and said.text.strip() == "", said.text
    for unit in ("dermedge.service", "dermedge-convert.service"):
        said = machine.run(f"systemd-analyze security --no-pager {unit}")
        found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said.text)
        assert found, said.text
        row.figures.append(f"{unit}: exposure {found[1]}")
        assert float(found[1]) <= 2.5, said.text
    # What the sandbox does, not only what it is called.
    pid = machine.check("systemctl show -P MainPID dermedge.service").strip()
    status = machine.check(f"cat /proc/{pid}/status")
    assert "NoNewPrivs:\t1" in status and "CapEff:\t0000000000000000" in status
    assert "Seccomp:\t2" in status


def test_ends_that_nobody_asked_for(installed, row):
    """Killed, stopped, broken configuration: it comes back, and says what happened."""
    machine = installed
    _live(machine)
    spent = []
    for _ in range(3):
        machine.check("rm -f /run/dermedge/starts.json")
        pid = machine.check("systemctl show -P MainPID dermedge.service").strip()
        machine.check("systemctl kill -s KILL dermedge.service")
        began_s = time.monotonic()
        machine.wait_for(f"test $(systemctl show -P MainPID dermedge.service) != {pid}")
        _live(machine)
        spent.append(time.monotonic() - began_s)
    row.figures.append(f"kill -9: {figures(spent)}")
    page = machine.check(
        "curl -s 'http://127.0.0.1:8080/live?after=-1' | head -c 2000 | strings || "
        'python3 -c "import urllib.request as u; '
        "print(u.urlopen('http://127.0.0.1:8080/live?after=-1').read(2000))\""
    )
    assert "Started again: it was killed, or crashed (killed KILL)" in page
    built = "journalctl -b -u dermedge-convert -o cat | grep -c 'nothing to build'"
    spent = []
    for _ in range(3):
        machine.check("rm -f /run/dermedge/starts.json")
        machine.check(
            f"sed -i 's/synthetic:7/nothing:7/' {CONFIG} && systemctl restart dermedge.service"
        )
        state = machine.check("systemctl is-active dermedge.service").strip()
        words = machine.check("systemctl show -P StatusText dermedge.service")
        assert state == "active" and "not running" in words and "nothing" in words
        # What looks at the broken one reads it again at its end; nobody sees a change in its exit.
        machine.wait_for("test $(systemctl show -P ActiveState dermedge-convert) != activating")
        before = int(machine.check(built))
        machine.check(f"sed -i 's/nothing:7/synthetic:7/' {CONFIG}")
        spent.append(_live(machine))
        # A configuration may name another pack: what it needs is looked at anew.
        machine.wait_for(f"test $({built}) -gt {before}", within_s=60)
    row.figures.append(f"configuration mended: {figures(spent)}")


def test_requests_are_answered_by_units_with_more_rights(installed, row):
    """Files ask for a restart of the camera daemon, or of the machine; each is answered once."""
    machine = installed
    machine.check(
        "printf '[Service]\\nExecStart=/bin/sleep infinity\\n' "
        "> /etc/systemd/system/nvargus-daemon.service && systemctl daemon-reload && "
        "systemctl start nvargus-daemon && systemctl start dermedge-restart-camera-daemon.path"
    )
    before = machine.check("systemctl show -P MainPID nvargus-daemon").strip()
    machine.check(
        "setpriv --reuid dermedge --regid dermedge --clear-groups "
        "touch /run/dermedge/restart-camera-daemon"
    )
    machine.wait_for(f"test $(systemctl show -P MainPID nvargus-daemon) != {before}", within_s=20)
    machine.wait_for("test ! -e /run/dermedge/restart-camera-daemon", within_s=10)
    # One that has failed is started, and a request that is a folder does not stay.
    machine.check("systemctl kill -s KILL nvargus-daemon")
    machine.wait_for("systemctl is-failed -q nvargus-daemon", within_s=10)
    machine.check(
        "setpriv --reuid dermedge --regid dermedge --clear-groups "
        "mkdir -p /run/dermedge/restart-camera-daemon/more"
    )
    machine.wait_for("systemctl is-active -q nvargus-daemon", within_s=20)
    machine.wait_for("test ! -e /run/dermedge/restart-camera-daemon", within_s=10)
    assert json.loads(machine.check("cat /opt/dermedge/choices.json"))["board"] == "pc"
    # A restart of the machine: nobody answers until the unit is enabled.
    reboot = "setpriv --reuid dermedge --regid dermedge --clear-groups touch /run/dermedge/reboot"
    machine.check(f"{reboot} && sleep 3 && rm /run/dermedge/reboot")
    machine.check("systemctl enable -q --now dermedge-reboot.path")
    machine.check(reboot)
    row.figures.append(f"the container ended with {machine.ended_by_itself()}: a restart")
    machine.boot()
    _live(machine)
    assert machine.run("test -e /run/dermedge/reboot").code != 0


def test_the_doctor_looks_from_inside_the_unit(installed, row):
    """dermedge doctor --service: the account, rights and environment of the service."""
    machine = installed
    said = machine.run("dermedge doctor --service --json")
    lines = {line["name"]: line for line in json.loads(said.text)["lines"]}
    assert said.code == 0, said.text
    assert lines["account"]["found"] == "dermedge inside a service's sandbox"
    assert lines["config"]["found"] == CONFIG
    assert lines["engines"]["found"].startswith("/var/lib/dermedge/engines")
    assert lines["cache"]["found"].startswith("/var/cache/dermedge")
    assert lines["cases"]["state"] == "ok"
    machine.check(f"sed -i 's:/var/lib/dermedge/cases:/srv/cases:' {CONFIG}")
    said = machine.run("dermedge doctor --service")
    assert said.code == 2 and "/srv/cases cannot be written" in said.text
    machine.check("test -e /run/dermedge/starts.json")  # it takes nothing of the service away
    machine.check(
        "dermedge run --check-config --config "
        "/opt/dermedge/current/share/dermedge/systemd/dermedge.toml"
    )
