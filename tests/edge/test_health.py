"""Figures of the loop: medians, rates, the health line and the exit code."""

from __future__ import annotations

import dataclasses
import math

import pytest
from shots_for_tests import frame, result

from edge import health as health_module
from edge.errors import InputError
from edge.health import Health, Samples, Tally
from edge.mailbox import IdGaps
from edge.result import DISCLAIMER, UNVALIDATED, Stage


def test_median_and_p95_are_of_the_newest_values_but_the_maximum_is_of_all():
    samples = Samples(keep=100)
    for value in (1000.0, *map(float, range(1, 101))):
        samples.add(value)
    assert samples.median == 50.5
    assert samples.p95 == pytest.approx(95.05)
    assert (samples.maximum, samples.count) == (1000.0, 101)


def test_nothing_measured_is_not_zero():
    assert math.isnan(Samples().median) and math.isnan(Samples().p95)
    assert math.isnan(Tally().per_second)


def test_n_analyses_make_n_minus_1_intervals():
    tally = Tally()
    for now_s in (10.0, 10.5, 11.0):
        tally.add(result(frame()), now_s)
    assert tally.per_second == pytest.approx(2.0)


def test_what_a_run_contained():
    health = Health()
    for regions, age_ms in ((0, 900.0), (1, 40.0), (3, 40.0)):
        health.analyzed(result(frame(), regions))
        health.took(Stage.DRAW, 2.0)
        health.took(Stage.PRESENT, 1.0)
        health.replaced(age_ms + 33.0)
        health.presented(age_ms)
    total = health.total
    assert (total.regions, total.most_regions) == (4, 3)
    assert total.statuses == {"ok": 2, "nothing_found": 1}
    assert total.classes == {"NEV": 3, "uncertain": 1}
    assert {stage: s.count for stage, s in total.stages.items()} == {
        Stage.SEGMENT: 3,
        Stage.TOTAL: 3,
        Stage.DRAW: 3,
        Stage.PRESENT: 3,
    }
    assert (total.age_ms.count, total.age_ms.maximum) == (2, 40.0)
    assert health.newest_loop_ms() == {Stage.DRAW: 2.0, Stage.PRESENT: 1.0}
    summary = health.summary("test:0", IdGaps(), IdGaps(), "the user")
    assert "median 40 ms, p95 40 ms, max 40 ms (and 900 ms for the first frame)" in summary


@pytest.mark.parametrize("validated", [True, False])
def test_the_summary_names_no_class_without_saying_what_it_is_worth(validated: bool):
    health = Health()
    answer = result(frame(), 2)
    if not validated:
        answer = dataclasses.replace(answer, reasons=(UNVALIDATED,))
    health.analyzed(answer)
    health.analyzed(result(frame(), 0))
    lines = health.summary("test:0", IdGaps(), IdGaps(), "the user").splitlines()
    (classes,) = [line for line in lines if line.startswith("Classes")]
    assert "NEV 1" in classes
    assert classes.endswith("(classes are unvalidated)") == (not validated)
    assert lines[-1] == DISCLAIMER


def test_the_line_is_of_the_time_since_the_last_one(monkeypatch: pytest.MonkeyPatch):
    now_s = [100.0]
    monkeypatch.setattr(health_module.time, "monotonic", lambda: now_s[0])
    health, put, taken = Health(line_every_s=10.0), IdGaps(), IdGaps()

    def work(count: int, age_ms: float) -> None:
        for _ in range(count):
            now_s[0] += 0.5
            taken.add(taken.seen * 3)
            health.analyzed(result(frame()))
            health.presented(age_ms)

    now_s[0] += 60.0  # loading takes long and is no time of the loop
    assert health.line_when_due(put, taken) is None
    work(10, 80.0)
    assert health.line_when_due(put, taken) is None
    work(11, 80.0)
    first = health.line_when_due(put, taken)
    assert first is not None
    assert "2.0 analyses/s" in first and "frame age 80 ms" in first
    assert "21 analyzed, 40 dropped" in first
    work(21, 30.0)
    second = health.line_when_due(put, taken)
    assert second is not None and "frame age 30 ms (p95 30, max 30)" in second


def test_the_highest_exit_code_wins_and_problems_are_counted():
    health = Health()
    full = InputError("to write x", got="No space left", next_step="free some")
    health.failed("sink a", full)
    health.failed("sink a", full)
    health.failed("sink b", ZeroDivisionError("oh"))
    health.failed("sink c", full)
    assert health.worst_exit_code == 5
    summary = health.summary("test:0", IdGaps(), IdGaps(), "the user")
    assert "sink a: expected to write x; got No space left; free some (2 times)" in summary
    assert "sink b: oh" in summary


def test_a_thousand_different_problems_do_not_fill_the_memory():
    health = Health()
    for number in range(1000):
        health.note("source", f"frame {number}")
    assert health.summary("test:0", IdGaps(), IdGaps(), "x").count("Problem") == 5
