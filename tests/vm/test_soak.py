"""Hours of the whole service: memory and age stay flat, nobody starts it again.

    DERMEDGE_VM_SOAK_MIN=120 DERMEDGE_VM_SOAK_TO=FOLDER pytest -m vm tests/vm/test_soak.py

Without the variables 45 minutes, and no log is kept: too short for a slow leak, not for a fast one.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks import soak
from tests.vm.conftest import CODE, PYTHON
from tests.vm.machine import NoAnswerError
from tests.vm.service_device import PAGE, Device, whole_service

pytestmark = pytest.mark.vm

MINUTES = float(os.environ.get("DERMEDGE_VM_SOAK_MIN") or 45.0)
PRESS_EVERY_S = 300.0
STILL_S = 20.0
LOOK_EVERY_S = 10.0


def test_soak(pieces, wheel, row, tmp_path):
    """Camera, models, display, page, recording and cases for long: memory and age stay flat."""
    row.where = "uml"
    with whole_service(pieces, wheel, tmp_path) as device:
        pid, log = device.pid(), tmp_path / "log"
        _use(device, 60.0 * MINUTES)
        assert device.pid() == pid
        device.machine.copy_out("/var/lib/dermedge/telemetry", log)
        (log / "journal.txt").write_text(device.log())
        device.check("systemctl stop dermedge")
        state = device.check(f"{PYTHON} {CODE}/tests/vm/guest_state.py /var/lib/dermedge")
    if (kept := os.environ.get("DERMEDGE_VM_SOAK_TO")) is not None:
        shutil.copytree(log, Path(kept), dirs_exist_ok=True)
    (life,) = soak.lives(log)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        soak.print_table(life)
        flat = soak.hold_slopes(life)
    print(said.getvalue())
    figures = json.loads(state)
    row.figures.append(
        f"{life.minutes()[-1]:.0f} minutes; "
        + "; ".join(line for line in said.getvalue().splitlines() if "an hour" in line)
        + f"; {len(figures['names'])} cases and segments kept, broken {figures['broken']}"
    )
    assert flat, said.getvalue()
    assert not figures["broken"] and not figures["left"], figures
    assert [line["health"] for line in life.lines] == ["ok"] * len(life.lines)
    # A still of 20 s fits between two lines: it worked all the time.
    assert (np.diff(life.analyses()) > 0).all(), np.diff(life.analyses())


def _use(device: Device, seconds: float) -> None:
    """What people do: look at the page, freeze a still now and then, and go on."""
    began_s = time.monotonic()
    press_s = began_s + PRESS_EVERY_S
    while (now_s := time.monotonic()) - began_s < seconds:
        if now_s >= press_s:
            press_s = now_s + PRESS_EVERY_S
            device.press()
            time.sleep(STILL_S)
            device.press()
        with contextlib.suppress(NoAnswerError):  # the lines say it, with the reason
            device.wait_for(f"curl -sf -m 5 {PAGE}/healthz", within_s=30)
        time.sleep(LOOK_EVERY_S)
