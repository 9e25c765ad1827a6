"""Ids that only rise."""

from __future__ import annotations

from edge.sources.frame_numbers import FrameNumbers


def test_gaps_are_kept_within_a_stream_and_there_is_none_between_two():
    numbers = FrameNumbers()
    assert [numbers.number(n) for n in (4, 5, 8)] == [0, 1, 4]
    numbers.restart()
    assert [numbers.number(n) for n in (0, 1)] == [5, 6]
    assert numbers.counted


def test_ids_rise_over_the_end_of_32_bits():
    numbers = FrameNumbers()
    assert [numbers.number(n) for n in (0xFFFFFFFE, 0xFFFFFFFF, 0, 3)] == [0, 1, 2, 5]
    assert numbers.counted


def test_a_driver_that_does_not_count_is_found_out():
    numbers = FrameNumbers()
    assert [numbers.number(n) for n in (0, 0, 0)] == [0, 1, 2]
    assert not numbers.counted
