"""Nested phases become one share, and the share a time."""

from __future__ import annotations

import pytest

from convert.build_progress import BuildProgress, Phases, time_left
from convert.compiler_link import Event


def phase(name: str, parent: str | None, steps: int) -> Event:
    return {"event": "phase", "name": name, "parent": parent, "steps": steps}


def step(name: str, number: int) -> Event:
    return {"event": "step", "name": name, "step": number}


def finish(name: str) -> Event:
    return {"event": "finish", "name": name}


def shares(*events: Event) -> list[float]:
    phases = Phases()
    found = []
    for event in events:
        phases.add(event)
        found.append(pytest.approx(phases.share()))
    return found


def test_a_phase_is_a_part_of_the_step_that_it_lies_in() -> None:
    assert shares(
        phase("all", None, 2),
        step("all", 0),
        phase("tactics", "all", 4),
        step("tactics", 0),
        step("tactics", 1),
        finish("tactics"),
        step("all", 1),
        finish("all"),
    ) == [0, 0.5, 0.5, 0.625, 0.75, 0.75, 1, 1]


def test_a_step_that_was_not_told_is_made_up_by_the_next() -> None:
    assert shares(phase("all", None, 10), step("all", 6), step("all", 2)) == [0, 0.7, 0.7]


def test_it_never_goes_back() -> None:
    """TensorRT begins phases beside each other, and the same one again."""
    found = shares(
        phase("one", None, 1),
        step("one", 0),
        finish("one"),
        phase("two", None, 2),
        phase("one", "two", 0),
        step("one", 5),
        step("two", 0),
        step("nobody's", 1),
        {"event": "warning", "text": "of something else"},
    )
    assert found == [0, 1, 1, 1, 1, 1, 1, 1, 1]


@pytest.mark.parametrize(
    ("share", "elapsed_s", "words"),
    [
        (0.0, 7.0, "7 s so far"),
        (0.5, 60.0, "about 60 s left"),
        (0.1, 60.0, "about 9 min left"),
        (1.0, 60.0, "about 0 s left"),
    ],
)
def test_the_rest_takes_as_long_as_the_share_before(
    share: float, elapsed_s: float, words: str
) -> None:
    assert time_left(share, elapsed_s) == words


def test_without_a_terminal_a_line_says_how_far_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now_s[0])
    with BuildProgress("segmenter x, fp16") as progress:
        progress.begin()
        progress.add(phase("Timing tactics", None, 4))
        progress.add(step("Timing tactics", 0))
        progress.tick()
        assert capsys.readouterr().err == ""
        now_s[0] += 30
        progress.tick()
        progress.tick()
    said = "segmenter x, fp16: 25%, about 90 s left; Timing tactics\n"
    assert capsys.readouterr().err == said.replace("90 s", "2 min")
