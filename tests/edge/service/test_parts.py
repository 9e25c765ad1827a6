"""The parts of the service, each by itself and on real sockets and files."""

from __future__ import annotations

import json
import socket
import threading
import time
from contextlib import suppress

import pytest

from edge import recovery as recovery_module
from edge.liveness import Deadline, first_overdue
from edge.recovery import DAEMON_REQUEST, REBOOT_REQUEST, Recovery, RecoveryPlan
from edge.service import heart as heart_module
from edge.service.changes import signature
from edge.service.heart import Heart
from edge.service.last_end import FAILURE, RESULT, RUNNING, TOLD, LastEnd
from edge.service.manager import Manager
from edge.service.remembered import remember, remembered, screens_told
from edge.service.starts import FREE_STARTS, LONGEST_WAIT_S, count_start, uncount_start


@pytest.fixture
def listener(tmp_path):
    """A service manager's socket, and its environment."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(tmp_path / "notify"))
        ear.settimeout(0.05)
        yield ear, {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000"}


def heard(ear: socket.socket, for_s: float = 0.3) -> list[str]:
    words, end_s = [], time.monotonic() + for_s
    while time.monotonic() < end_s:
        with suppress(TimeoutError):
            words.append(ear.recv(4096).decode())
    return words


# --- the manager ----------------------------------------------------------------------------------


def test_what_a_manager_hears(listener):
    ear, environment = listener
    manager = Manager(environment)
    assert manager.watchdog_s == 0.4 and manager.is_there
    manager.ready()
    manager.status("one\n line")
    manager.status("one line")  # the same again is not said
    manager.extend(1.5)
    manager.feed()
    manager.stopping()
    assert heard(ear) == [
        "READY=1",
        "STATUS=one line",
        "EXTEND_TIMEOUT_USEC=1500000",
        "WATCHDOG=1",
        "STOPPING=1",
    ]


def test_an_abstract_name():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind("\0dermedge-test-manager")
        ear.settimeout(1.0)
        Manager({"NOTIFY_SOCKET": "@dermedge-test-manager"}).ready()
        assert ear.recv(100) == b"READY=1"


def test_without_a_manager_nothing_is_said(tmp_path):
    Manager({}).ready()
    Manager({"NOTIFY_SOCKET": str(tmp_path / "gone")}).feed()
    assert Manager({"WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}).watchdog_s is None


# --- the heart ------------------------------------------------------------------------------------


def test_a_thread_past_its_time_stops_the_feeding_until_it_comes_back(listener, capfd):
    ear, environment = listener
    noted: list[str] = []
    taken_back: list[bool] = []
    deadline = Deadline("analysis")
    with Heart(Manager(environment), noted.append, lambda: taken_back.append(True)) as heart:
        heart.watch([deadline], lambda: "all well")
        time.sleep(0.3)
        assert {"WATCHDOG=1", "STATUS=all well"} <= set(heard(ear))
        deadline.begin("one frame", 0.05)
        heard(ear)
        assert heard(ear) == []
        assert not taken_back
        deadline.rest()
        time.sleep(0.2)
        assert "WATCHDOG=1" in heard(ear)
    assert taken_back == [True]
    (words,) = noted
    assert words.startswith("it hung: analysis: one frame for")
    said = capfd.readouterr().err
    assert "test_a_thread_past_its_time" in said and "heart.py" in said  # stacks of all threads


def test_a_step_of_the_start_has_its_own_time(listener):
    ear, environment = listener
    with Heart(Manager(environment), lambda _: None) as heart:
        with heart.step("loading", 5.0):
            time.sleep(0.25)
        assert {"EXTEND_TIMEOUT_USEC=5000000", "STATUS=loading", "WATCHDOG=1"} <= set(heard(ear))
        with heart.step("loading", 0.01):
            heard(ear)
            assert "WATCHDOG=1" not in heard(ear)


def test_the_main_thread_is_held_to_a_time_between_two_steps(listener, monkeypatch):
    ear, environment = listener
    monkeypatch.setattr(heart_module, "NEXT_WITHIN_S", 0.3)
    with Heart(Manager(environment), lambda _: None) as heart:
        with heart.step("loading", 5.0):
            pass
        assert "WATCHDOG=1" in heard(ear, 0.2)
        time.sleep(0.4)
        heard(ear)
        assert "WATCHDOG=1" not in heard(ear)  # it has not come to its next step
        heart.rest()
        time.sleep(0.2)
        assert "WATCHDOG=1" in heard(ear)


def test_a_look_that_fails_is_told_once_and_the_watchdog_is_fed(listener, caplog):
    ear, environment = listener

    def look() -> None:
        raise OSError(5, "Input/output error")

    with Heart(Manager(environment), lambda _: None) as heart:
        heart.watch([], lambda: "all well", look)
        time.sleep(0.6)
        assert heard(ear).count("WATCHDOG=1") > 2
    assert caplog.text.count("Input/output error") == 2  # in the line, and in its traceback


def test_each_beat_is_heard_without_a_watchdog(monkeypatch):
    monkeypatch.setattr(heart_module, "BEAT_S", 0.02)
    beats = threading.Event()
    with Heart(Manager({}), lambda _: None) as heart:
        heart.watch([], None, beats.set)
        assert beats.wait(5.0)


def test_the_first_that_is_late_is_told():
    late, early = Deadline("late"), Deadline("early")
    late.begin("x", 0.0)
    early.begin("y", 100.0)
    time.sleep(0.01)
    words = first_overdue([early, late])
    assert words is not None and words.startswith("late: x")


# --- how it ended ---------------------------------------------------------------------------------


def test_an_end_in_order_is_nothing_to_tell(tmp_path):
    last = LastEnd(tmp_path / "state")
    assert last.begin() is None
    last.ended()
    assert LastEnd(tmp_path / "state").begin() is None


def test_a_killed_run_is_told_and_kept_for_the_doctor(tmp_path):
    LastEnd(tmp_path).begin()
    failure = LastEnd(tmp_path).begin()
    assert failure is not None and failure.words == "it was killed, or ran out of memory"
    assert json.loads((tmp_path / TOLD).read_text())["words"] == failure.words


@pytest.mark.parametrize(
    ("noted", "words"),
    [
        ("watchdog dumped ABRT", "it hung, and the watchdog ended it (dumped ABRT)"),
        ("oom-kill killed KILL", "it ran out of memory (killed KILL)"),
        ("signal killed KILL", "it was killed, or crashed (killed KILL)"),
        ("core-dump dumped SEGV", "it crashed (dumped SEGV)"),
        ("success exited 0", "it was killed, or ran out of memory"),  # of an end before that
        ("", "it was killed, or ran out of memory"),
    ],
)
def test_the_manager_knows_how_it_was_killed(tmp_path, noted, words):
    state, runtime = tmp_path / "state", tmp_path / "run"
    runtime.mkdir()
    LastEnd(state, runtime).begin()
    (runtime / RESULT).write_text(noted + "\n")
    failure = LastEnd(state, runtime).begin()
    assert failure is not None and failure.words == words
    assert not (runtime / RESULT).exists()


def test_what_hung_and_went_on_is_no_failure(tmp_path):
    last = LastEnd(tmp_path)
    last.begin()
    last.failed("it hung: analysis")
    last.goes_on()
    (tmp_path / RUNNING).write_text('{"boot_id": "another"}')
    failure = LastEnd(tmp_path).begin()
    assert failure is not None and "power was cut" in failure.words


def test_another_boot_means_the_power_was_cut(tmp_path):
    LastEnd(tmp_path).begin()
    (tmp_path / RUNNING).write_text('{"boot_id": "another"}')
    failure = LastEnd(tmp_path).begin()
    assert failure is not None and "power was cut" in failure.words


def test_a_noted_failure_is_told_once(tmp_path):
    first = LastEnd(tmp_path)
    first.begin()
    first.failed("it hung: analysis")
    failure = LastEnd(tmp_path).begin()
    assert failure is not None and failure.words == "it hung: analysis"
    assert failure.wall is not None and not (tmp_path / FAILURE).exists()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"words": 1, "other": 2}'])
def test_a_note_that_cannot_be_read_is_no_reason_to_stop(tmp_path, content):
    (tmp_path / FAILURE).write_text(content)
    failure = LastEnd(tmp_path).begin()
    assert failure is not None and "cannot be read" in failure.words


def test_a_disk_that_cannot_be_written_is_told_once(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    last = LastEnd(tmp_path / "file")
    last.begin()
    last.failed("x")
    last.ended()
    assert caplog.text.count("will not be remembered") == 1


# --- starts, changes, screens ---------------------------------------------------------------------


def test_start_after_start_waits_longer(tmp_path):
    waits = [count_start(tmp_path)[1] for _ in range(FREE_STARTS + 8)]
    assert waits[: FREE_STARTS + 3] == [0.0] * FREE_STARTS + [2.0, 4.0, 8.0]
    assert waits[-1] == LONGEST_WAIT_S


def test_a_start_that_ended_because_somebody_asked_does_not_count(tmp_path):
    for _ in range(20):
        assert count_start(tmp_path) == (1, 0.0)
        uncount_start(tmp_path)
    uncount_start(tmp_path)
    assert count_start(tmp_path) == (1, 0.0)


def test_old_starts_and_broken_counters_do_not_count(tmp_path):
    (tmp_path / "starts.json").write_text(json.dumps({"monotonic_s": [-1e9] * 50 + [1e18]}))
    assert count_start(tmp_path) == (1, 0.0)
    (tmp_path / "starts.json").write_text("{")
    assert count_start(tmp_path) == (1, 0.0)


def test_a_change_below_is_seen(tmp_path):
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "a").write_text("1")
    before = signature([tmp_path / "pack", tmp_path / "missing"])
    assert signature([tmp_path / "pack", tmp_path / "missing"]) == before
    (tmp_path / "pack" / "a").write_text("12")
    changed = signature([tmp_path / "pack", tmp_path / "missing"])
    (tmp_path / "missing").write_text("")
    assert before != changed != signature([tmp_path / "pack", tmp_path / "missing"])


def test_screens_of_a_refused_configuration(tmp_path):
    config = tmp_path / "c.toml"
    remember(tmp_path, ["screen:"])
    config.write_text('[source]\nuri = "nonsense:"\n[output]\nsinks = ["web:"]\n')
    assert screens_told(config, tmp_path) == ["web:"]
    config.write_text("[output\n")
    assert screens_told(config, tmp_path) == remembered(tmp_path) == ["screen:"]
    (tmp_path / "screens.json").write_text('"x"')
    assert screens_told(None, tmp_path) == []


# --- the recovery ladder --------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(recovery_module.time, "monotonic", lambda: now[0])
    return now


def test_tries_get_rarer_and_are_counted(clock):
    recovery = Recovery(RecoveryPlan())
    recovery.lost("it was unplugged")
    pauses = [recovery.next_try() for _ in range(20)]
    assert pauses[:10] == [0.5] * 10 and pauses[10:14] == [1.0, 2.0, 4.0, 5.0]
    clock[0] += 12.5
    recovery.failed("no camera")
    assert recovery.notices()[0].text == "Camera away for 12 s: no camera"
    recovery.back()
    assert recovery.last_s == 12.5 and not recovery.is_away and recovery.notices() == []
    assert recovery.counts == {"lost": 1, "reopen": 20, "daemon": 0, "reboot": 0, "recovered": 1}


def test_the_daemon_then_the_machine(clock, tmp_path):
    ears, state = tmp_path / "run", tmp_path / "state"
    ears.mkdir()
    plan = RecoveryPlan(ears, has_daemon=True, reboot_after_s=600.0, state=state)
    recovery = Recovery(plan)
    recovery.lost("no answer for 4 s")
    recovery.next_try()
    assert list(ears.iterdir()) == []
    clock[0] += 21.0
    recovery.next_try()
    recovery.next_try()
    assert [path.name for path in ears.iterdir()] == [DAEMON_REQUEST]
    assert recovery.counts["daemon"] == 1
    assert "camera's program is started again" in recovery.notices()[1].text
    clock[0] += 16.0
    assert len(recovery.notices()) == 1
    clock[0] += 284.0
    assert "restart the device" in recovery.notices()[1].text
    clock[0] += 250.0
    assert "The device restarts in 29 s" in recovery.notices()[1].text
    clock[0] += 50.0
    recovery.next_try()
    recovery.next_try()
    assert recovery.counts["reboot"] == 1 and (ears / REBOOT_REQUEST).exists()
    assert "was asked to restart" in " ".join(notice.text for notice in recovery.notices())

    # After the restart: still no camera, and no second one.
    (ears / REBOOT_REQUEST).unlink()
    recovery = Recovery(plan)
    recovery.lost("no camera")
    clock[0] += 5000.0
    recovery.next_try()
    assert recovery.counts["reboot"] == 0 and not (ears / REBOOT_REQUEST).exists()
    recovery.back()  # a picture: each outage may have its own, also without a restart between
    assert list(state.iterdir()) == []
    for outage in (1, 2):
        recovery.lost("no camera")
        clock[0] += 100.0
        assert "restart" not in " ".join(notice.text for notice in recovery.notices())
        clock[0] += 501.0
        recovery.next_try()
        assert recovery.counts["reboot"] == outage and (ears / REBOOT_REQUEST).exists()
        recovery.back()  # nobody has answered, and nobody shall who comes later
        assert list(ears.iterdir()) == [] and list(state.iterdir()) == []


def test_a_restart_that_cannot_be_remembered_is_not_asked_for(clock, tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    plan = RecoveryPlan(tmp_path, reboot_after_s=10.0, state=tmp_path / "file/state")
    recovery = Recovery(plan)
    recovery.lost("x")
    clock[0] += 20.0
    recovery.next_try()
    assert recovery.counts["reboot"] == 0 and not (tmp_path / REBOOT_REQUEST).exists()
    assert "could not be remembered" in caplog.text


def test_without_rights_nobody_is_asked(clock, tmp_path, caplog):
    recovery = Recovery(RecoveryPlan(tmp_path / "missing", has_daemon=True))
    recovery.lost("x")
    clock[0] += 30.0
    recovery.next_try()
    assert recovery.counts["daemon"] == 0 and "nobody can be asked" in caplog.text
    usb = Recovery(RecoveryPlan(tmp_path))
    usb.lost("x")
    clock[0] += 1e5
    usb.next_try()
    assert list(tmp_path.iterdir()) == []
