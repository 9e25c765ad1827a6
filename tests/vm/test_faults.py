"""Faults done to the whole service for real: what the user sees, how long it takes, what is lost.

One User-Mode Linux with dermedge.service, the released pack, a camera on v4l2loopback, a display on
vkms, recording and cases; each test leaves it as it found it.
"""

from __future__ import annotations

import json
import os
import random
import re
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.vm.conftest import CODE, PYTHON, cuts
from tests.vm.machine import NoAnswerError
from tests.vm.report import figures
from tests.vm.service_device import CONFIG, PAGE, Device, whole_service
from tests.vm.uml import UmlMachine

pytestmark = pytest.mark.vm

SEED = 5
CLOSED = re.compile(r"\d{6,9}|[A-Z0-9]{3}-[A-Z0-9]{3}")
"""Names of recorded segments and of cases that were brought to their end."""

ABSENT_S = float(os.environ.get("DERMEDGE_VM_ABSENT_S") or 1800.0)


@pytest.fixture(scope="module")
def shared(pieces, wheel, tmp_path_factory) -> Iterator[Device]:
    with whole_service(pieces, wheel, tmp_path_factory.mktemp("disk")) as device:
        yield device


@pytest.fixture
def device(shared: Device, row) -> Device:
    """The device, live, before each fault."""
    row.where = "uml"
    if not shared.machine.is_running:
        shared.machine.boot()
    try:
        shared.run("systemctl reset-failed; rm -f /run/dermedge/starts.json")
    except NoAnswerError:  # it stands still: this test has failed, those behind it shall not
        shared.machine.cut()
        raise
    shared.live()
    return shared


def test_boot(device, row):
    """Power on to the first live picture with results."""
    spent = []
    for _ in range(3):
        device.machine.power_off()
        up_s = device.machine.boot()
        spent.append(up_s + device.live())
    row.figures.append(figures(spent))
    assert json.loads(device.check(f"curl -sf {PAGE}/result.json"))["status"] in (
        "ok",
        "nothing_found",
    )


def test_killed(device, row):
    """kill -9: started again, says so, loses nothing that was closed."""
    spent = []
    for _ in range(5):
        device.run("rm -f /run/dermedge/starts.json")
        device.check("systemctl kill -s KILL dermedge.service")
        spent.append(device.not_live() + device.live())
    row.figures.append(figures(spent))
    assert "Started again: it was killed, or crashed (killed KILL)" in device.said()


def test_stopped_by_a_signal(device, row):
    """SIGSTOP: the watchdog fires, stacks are in the journal, the next start tells."""
    spent = []
    for _ in range(3):
        device.run("rm -f /run/dermedge/starts.json")
        pid, since = device.pid(), device.cursor()
        device.check("systemctl kill -s STOP dermedge.service")
        began_s = time.monotonic()
        device.wait_for(f"test $(systemctl show -P MainPID dermedge.service) != {pid}", within_s=90)
        device.live()
        spent.append(time.monotonic() - began_s)
        log = device.log(since)
        assert "Watchdog timeout" in log and "most recent call first" in log
        assert "Started again: it hung, and the watchdog ended it" in device.said()
    row.figures.append(f"live again: {figures(spent)}")


def test_camera_unplugged_and_back_on_another_node(device, row):
    """The camera goes and comes back as /dev/video3: the same process, a live picture."""
    pid, spent = device.pid(), []
    for node in (3, 0):
        device.unplug()
        device.not_live()
        assert '"dead": "' in device.said()
        device.plug(node)
        spent.append(device.live())
    assert device.pid() == pid
    row.figures.append(f"live after it is back: {figures(spent)}")


def test_camera_absent_for_long(device, row):
    """No camera for half an hour, then plugged in: the same process, a live picture."""
    pid = device.pid()
    device.unplug()
    device.not_live()
    time.sleep(ABSENT_S)
    words = device.said()
    assert "Camera away for" in words, words
    if ABSENT_S > 320:
        assert "restart the device" in words
    device.plug()
    row.figures.append(f"away for {ABSENT_S:.0f} s, live {device.live():.1f} s after its plug")
    assert device.pid() == pid


def test_display_gone_and_back(device, row):
    """The display is unplugged and plugged in: the analysis goes on, the picture comes back."""
    status = "/sys/class/drm/card0-Virtual-1/status"
    pid, gone, back = device.pid(), [], []
    for _ in range(3):
        since = device.cursor()
        device.check(f"echo off > {status}")
        gone.append(device.wait_for_log("screen screen: .*tried again", since, within_s=60))
        device.live(within_s=5)
        since = device.cursor()
        device.check(f"echo on > {status}")
        back.append(device.wait_for_log("screen screen: open again", since, within_s=120))
        device.live()
    row.figures.append(f"noticed: {figures(gone)}; back after its plug: {figures(back)}")
    assert device.pid() == pid


def test_disk_full(device, row):
    """The disk is filled: analysis and picture go on, words say what is not written; then it is."""
    pid, spent = device.pid(), []
    for _ in range(3):
        device.check(
            "fallocate -l $(($(df --output=avail -B1 /var/lib/dermedge | tail -1) - 65536)) "
            "/var/lib/dermedge/full; sync"
        )
        device.wait_for(
            f"curl -s '{PAGE}/live?after=-1' | head -c 3000 | grep -aq 'NOT WRITTEN'", within_s=120
        )
        device.press()
        device.wait_for(
            f"curl -s '{PAGE}/live?after=-1' | head -c 3000 | grep -aq 'NOT SAVED'", within_s=60
        )
        device.press()
        since = device.cursor()
        device.check("rm /var/lib/dermedge/full")
        spent.append(device.wait_for_log("sink record .*: writes again", since, within_s=90))
        # The telemetry's health speaks of outputs, too.
        device.wait_for("curl -sf -m 2 http://127.0.0.1:9155/healthz", within_s=30)
    row.figures.append(f"written again after there was room: {figures(spent)}")
    assert device.pid() == pid
    broken = device.check(f"{PYTHON} {CODE}/tests/vm/guest_state.py /var/lib/dermedge")
    row.figures.append(broken.strip())


def test_memory_limit(device, row):
    """The kernel's memory killer takes it: started again, later each time, and says so."""
    # Far below what it needs: near that, the guest would read its libraries again and again.
    since, spent = device.cursor(), []
    device.check("systemctl set-property --runtime dermedge.service MemoryMax=80M")
    # Three starts cost nothing; the fourth and the fifth wait.
    device.wait_for_log("start 5 within ten minutes: waits 4 s", since, within_s=300)
    log = device.log(since)
    assert log.count("Failed with result 'oom-kill'") >= 4, log
    assert "start 4 within ten minutes: waits 2 s" in log
    assert "the run before did not end in order: it ran out of memory (killed KILL)" in log
    device.check("systemctl set-property --runtime dermedge.service MemoryMax=infinity")
    spent.append(device.live())
    assert "Started again: it ran out of memory" in device.said()
    for _ in range(2):
        device.run("rm -f /run/dermedge/starts.json")
        since = device.cursor()
        device.check("systemctl set-property --runtime dermedge.service MemoryMax=80M")
        device.wait_for_log("Failed with result 'oom-kill'", since, within_s=120)
        device.check("systemctl set-property --runtime dermedge.service MemoryMax=infinity")
        spent.append(device.live())
    row.figures.append(f"live after there was memory again: {figures(spent)}")


def test_wall_clock_jumps(device, row):
    """1970 and back: nothing stops, nothing is restarted, ages stay true."""
    pid = device.pid()
    now = device.check("date +%s").strip()
    for at in ("1000000", now):
        device.check(f"date -s @{at}")
        time.sleep(3.0)
        device.live(within_s=5)
        health = json.loads(
            device.check(f"curl -s '{PAGE}/live?after=-1' | head -c 9000 | "
                         f"{PYTHON} -c 'import sys, json, struct; b = sys.stdin.buffer.read(); "
                         "n, = struct.unpack(\"<I\", b[:4]); print(b[4:4 + n].decode())'")
        )["health"]  # fmt: skip
        assert float(health["frame age"].split()[0]) < 2000.0, health
    assert device.pid() == pid
    row.figures.append("no restart")


def test_pack_broken_between_two_starts(device, row):
    """A damaged model: the reason is shown; mended, it runs again by itself."""
    device.check(
        "cp -r /opt/dermedge/lib/python3*/site-packages/models/packs/reference "
        "/var/lib/dermedge/pack && "
        f"cp {CONFIG} /tmp/c && sed -i '/model/a pack = \"/var/lib/dermedge/pack\"' {CONFIG}"
        " && cd /var/lib/dermedge/pack && onnx=$(find . -name '*.onnx' | head -1) && "
        "cp $onnx /tmp/onnx && printf x | dd of=$onnx bs=1 seek=5000 conv=notrunc status=none && "
        "systemctl restart dermedge"
    )
    onnx = "$(find . -name '*.onnx' | head -1)"
    spent = []
    for turn in range(3):
        if turn:
            device.check(
                f"cd /var/lib/dermedge/pack && onnx={onnx} && printf x | "
                "dd of=$onnx bs=1 seek=5000 conv=notrunc status=none && systemctl restart dermedge"
            )
        device.wait_for(
            "systemctl show -P StatusText dermedge | grep -q 'not running'", within_s=60
        )
        device.wait_for(f"curl -s '{PAGE}/live?after=-1' | head -c 3000 | grep -aq sha256")
        device.check(f"cd /var/lib/dermedge/pack && cp /tmp/onnx {onnx}")
        spent.append(device.live())
    row.figures.append(f"live after it was mended: {figures(spent)}")
    device.check(
        f"cp /tmp/c {CONFIG} && systemctl restart dermedge && rm -r /var/lib/dermedge/pack"
    )
    device.live()


def _boot(machine: UmlMachine) -> tuple[float, int]:
    """Boot; a guest's kernel that stands still on a busy host meets one more cut of its power.

    Returns:
        Seconds of the boot that came to its end, and how many did not.
    """
    for again in range(3):
        with suppress(NoAnswerError):
            return machine.boot(), again
    return machine.boot(), 3


# In series, so that what one of them found stays found where another is interrupted.
@pytest.mark.parametrize("series", range(max(1, round(cuts(8) / 25))))
def test_power_cuts_of_the_whole_service(device, row, series):
    """Cuts at random moments while it records and cases are saved: what was closed is there."""
    chance, number, spent = random.Random(SEED + series), min(25, cuts(8)), []
    device.check(
        "systemctl stop dermedge && rm -rf /var/lib/dermedge/cases/* "
        "/var/lib/dermedge/recordings/* /root/looked && systemctl start dermedge"
    )
    device.live()
    closed: set[str] = set()
    known: set[str] = set()
    stood_still = 0
    look = f"{PYTHON} {CODE}/tests/vm/guest_state.py /var/lib/dermedge"
    state = "/var/lib/dermedge/cases /var/lib/dermedge/recordings"
    for _ in range(number):
        said = device.run(
            f"while :; do curl -s -o /dev/null -X POST -H 'X-Dermedge: 1' {PAGE}/wish/shutter; "
            f"ls {state} 2>/dev/null; echo listed; sleep 1.5; done",
            cut_after_s=chance.uniform(5.0, 15.0),
        )
        # What was seen in one listing and was there in the next has come to the disk between them.
        for listing in said.text.split("listed\n")[:-2]:
            closed |= {name for name in listing.split() if CLOSED.fullmatch(name)}
        up_s, again = _boot(device.machine)
        stood_still += again
        spent.append(up_s + device.live())
        # Minutes, where the cut has taken the list of what was looked at before.
        said = device.run(f"{look} /root/looked && sync /root/looked", limit_s=900)
        assert said.code == 0, said.text
        found = json.loads(said.text.splitlines()[-1])
        assert not found["broken"] and not found["left"], found
        assert closed | known <= set(found["names"]), (closed | known) - set(found["names"])
        known = set(found["names"])
    # And once more all of them.
    said = device.run(look, limit_s=900)
    assert said.code == 0 and json.loads(said.text.splitlines()[-1])["broken"] == [], said.text
    assert len(closed) > number, closed
    row.figures.append(
        f"{number} cuts, {len(closed)} cases and segments seen closed before one, none lost or "
        "broken"
    )
    row.figures.append(f"power on to live: {figures(spent)}")
    if stood_still:
        row.figures.append(f"{stood_still} boots of User-Mode Linux stood still and were cut, too")
    assert stood_still <= number // 10


@pytest.mark.parametrize("state", ["on a disk of its own", "on it"], ids=["own-disk", "on-it"])
def test_read_only_root(device, row, state):
    """A root file system that cannot be written: the picture is live all the same."""
    spent = []
    on_it = "sed -i 's:^\\(.* /var/lib/dermedge \\):#\\1:' /etc/fstab && sync"
    if state == "on it":  # what it records lies on the root file system
        device.check(on_it)
        device.machine.power_off()
        device.machine.boot()  # once as it was installed: it makes its folders
        device.live()
    device.machine.power_off()
    device.machine.read_only_root = True
    try:
        for _ in range(3):
            spent.append(device.machine.boot() + device.live())
            assert device.run("touch /root/x").code != 0
            if state == "on it":
                assert "NOT WRITTEN" in device.said()
                device.press()
                device.wait_for(
                    f"curl -s '{PAGE}/live?after=-1' | head -c 3000 | grep -aq 'NOT SAVED'"
                )
            device.machine.cut()
        row.figures.append(f"state {state}: power on to live {figures(spent)}")
    finally:
        device.machine.cut()
        device.machine.read_only_root = False
        device.machine.boot()
        device.check("sed -i 's:^#\\(.* /var/lib/dermedge \\):\\1:' /etc/fstab && sync")
    device.machine.power_off()
    device.machine.boot()
    device.live()
