"""The age alarm: a leak is told within its time, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.guards.age import AgeAlarm, AgeRise

START_NS = 7_000_000_000_000
TOLD_WITHIN_S = 50.0

seeds = st.integers(0, 2**32 - 1)


def told(
    age_ms: Callable[[float], float],
    seconds: float,
    fps: float = 10.0,
    alarm: AgeAlarm | None = None,
) -> list[tuple[float, AgeRise]]:
    """When the alarm spoke, in seconds, and what it said."""
    alarm = alarm or AgeAlarm()
    spoken = []
    for index in range(round(seconds * fps)):
        at_s = index / fps
        rise = alarm.observe(age_ms(at_s), START_NS + round(at_s * 1e9))
        if rise is not None:
            spoken.append((at_s, rise))
    return spoken


@settings(max_examples=25, deadline=None)
@given(
    seed=seeds,
    leak_ms_per_s=st.sampled_from([10.0, 30.0, 100.0, 1000.0]),
    sigma_ms=st.floats(0.0, 40.0),
    begins_s=st.floats(60.0, 120.0),
    fps=st.floats(3.0, 30.0),
)
def test_a_slow_leak_is_told_once_and_in_time(
    seed: int, leak_ms_per_s: float, sigma_ms: float, begins_s: float, fps: float
) -> None:
    rng = np.random.default_rng(seed)

    def age_ms(at_s: float) -> float:
        late = abs(rng.normal(0.0, sigma_ms)) + (300.0 if rng.random() < 0.05 else 0.0)
        return 150.0 + late + leak_ms_per_s * max(0.0, at_s - begins_s)

    spoken = told(age_ms, begins_s + 180.0, fps)
    assert len(spoken) == 1
    at_s, rise = spoken[0]
    assert begins_s < at_s <= begins_s + TOLD_WITHIN_S
    assert rise.to_ms - rise.from_ms >= 100.0


def test_the_words_are_those_of_the_screen() -> None:
    assert AgeRise(180.2, 419.6, 60.0).words == "frame age rising: 180 ms -> 420 ms in 60 s"


def test_a_leak_from_the_start_is_told_after_the_first_minute() -> None:
    ((at_s, _),) = told(lambda at_s: 150.0 + 10.0 * at_s, 200.0)
    assert 60.0 <= at_s <= 70.0


@settings(max_examples=15, deadline=None)
@given(seed=seeds, sigma_ms=st.floats(0.0, 300.0), fps=st.floats(1.0, 15.0))
def test_noise_is_not_told(seed: int, sigma_ms: float, fps: float) -> None:
    rng = np.random.default_rng(seed)
    assert told(lambda _: 200.0 + abs(rng.normal(0.0, sigma_ms)), 600.0, fps) == []


@settings(max_examples=25, deadline=None)
@given(
    period_s=st.floats(0.05, 20.0), height_ms=st.floats(10.0, 20_000.0), phase=st.floats(0.0, 1.0)
)
def test_the_teeth_between_two_analyses_are_not_told(
    period_s: float, height_ms: float, phase: float
) -> None:
    def age_ms(at_s: float) -> float:
        return 150.0 + height_ms * ((at_s / period_s + phase) % 1.0)

    assert told(age_ms, 400.0) == []


@settings(max_examples=25, deadline=None)
@given(
    seed=seeds,
    jumps=st.lists(st.tuples(st.floats(0.0, 600.0), st.floats(-400.0, 2000.0)), max_size=2),
    sigma_ms=st.floats(0.0, 30.0),
)
def test_jumps_are_not_told(seed: int, jumps: list[tuple[float, float]], sigma_ms: float) -> None:
    rng = np.random.default_rng(seed)

    def age_ms(at_s: float) -> float:
        level = 1000.0 + sum(height for begins_s, height in jumps if at_s >= begins_s)
        return level + abs(rng.normal(0.0, sigma_ms))

    assert told(age_ms, 700.0, fps=5.0) == []


def test_it_is_over_when_the_age_is_back_and_can_be_told_again() -> None:
    alarm = AgeAlarm()

    def age_ms(at_s: float) -> float:
        return 150.0 + 10.0 * max(0.0, (at_s % 300.0) - 100.0)  # grows for 200 s, is drained

    spoken = told(age_ms, 900.0, alarm=alarm)
    assert len(spoken) == 3
    assert alarm.rise is not None
    told(lambda _: 150.0, 0.2, alarm=AgeAlarm())


def test_it_is_over_when_the_age_stays_where_it_is() -> None:
    alarm = AgeAlarm()
    assert len(told(lambda at_s: 150.0 + 10.0 * min(60.0, at_s), 80.0, alarm=alarm)) == 1
    assert alarm.rise is not None
    for index in range(900):
        alarm.observe(750.0, START_NS + round((80.0 + index / 10.0) * 1e9))
    assert alarm.rise is None


def test_a_gap_starts_the_watch_anew() -> None:
    alarm = AgeAlarm()
    told(lambda at_s: 150.0 + 10.0 * at_s, 200.0, alarm=alarm)
    assert alarm.rise is not None
    alarm.observe(5000.0, START_NS + 220_000_000_000)
    assert alarm.rise is None


@pytest.mark.parametrize("fps", [0.15, 0.5, 60.0])
def test_memory_and_verdict_do_not_depend_on_the_rate(fps: float) -> None:
    alarm = AgeAlarm()
    spoken = told(lambda at_s: 150.0 + 20.0 * at_s, 400.0, fps, alarm)
    assert len(spoken) == 1
