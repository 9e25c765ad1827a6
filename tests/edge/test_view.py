"""``auto`` looks once at how fast the analysis is, and then stays with its choice."""

from __future__ import annotations

import logging

import pytest

from edge.view import ViewChoice


@pytest.mark.parametrize(("per_s", "is_live"), [(4.0, True), (9.5, True), (10.5, False)])
def test_auto_chooses_by_the_rate_of_analyses(per_s, is_live, caplog):
    choice = ViewChoice("auto", is_live=True)
    with caplog.at_level(logging.INFO):
        for number in range(100):
            slow_start_s = 5.0 if number else 0.0  # the first analysis warms up
            choice.outcome(100.0 + slow_start_s + number / per_s)
    assert choice.is_live == is_live
    assert len(caplog.records) == 1


def test_the_choice_is_not_made_before_the_warm_up_and_never_again():
    choice = ViewChoice("auto", is_live=True)
    for number in range(20):
        choice.outcome(10.0 + 0.1 * number)
        assert not choice.is_live
    for number in range(50):
        choice.outcome(12.0 + 0.2 * number)
    decided = choice.is_live
    assert decided
    for number in range(500):
        choice.outcome(30.0 + 0.01 * number)
    assert choice.is_live == decided


def test_a_recording_is_always_paired():
    for mode in ("auto", "live", "paired"):
        choice = ViewChoice(mode, is_live=False)
        for number in range(50):
            choice.outcome(float(number))
        assert not choice.is_live


def test_a_view_that_is_asked_for_is_there_from_the_first_picture():
    assert ViewChoice("live", is_live=True).is_live
    assert not ViewChoice("paired", is_live=True).is_live
