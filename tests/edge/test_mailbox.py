"""The newest frame wins, losses are counted from ids, and no wait outlives the request to stop."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import pytest

from edge.mailbox import IdGaps, Mailbox
from edge.stop import Stop

PATIENCE_S = 20.0
"""A deadline that only a hang reaches, whatever else this machine is doing."""


@dataclass(frozen=True)
class Item:
    frame_id: int


def started(target, *arguments) -> threading.Thread:
    thread = threading.Thread(target=target, args=arguments, daemon=True)
    thread.start()
    return thread


def ended(thread: threading.Thread) -> bool:
    thread.join(PATIENCE_S)
    return not thread.is_alive()


def test_newest_item_replaces_one_that_nobody_took():
    mailbox: Mailbox[Item] = Mailbox(Stop())
    for number in range(5):
        assert mailbox.put(Item(number))
    assert mailbox.take() == Item(4)


def test_losses_are_gaps_between_the_ids_that_were_taken():
    mailbox: Mailbox[Item] = Mailbox(Stop())
    for number in (0, 1, 2):  # 0 and 1 are replaced in here, before anything was taken
        mailbox.put(Item(number))
    mailbox.take()
    mailbox.put(Item(3))
    mailbox.put(Item(7))  # the source lost 4, 5, 6; 3 is replaced in here
    mailbox.take()
    mailbox.put(Item(8))
    mailbox.take()
    assert mailbox.taken_ids.seen == 3
    assert mailbox.taken_ids.missing == 4
    assert mailbox.put_ids.seen == 6
    assert mailbox.put_ids.missing == 3


def test_a_source_that_begins_anew_is_no_loss():
    gaps = IdGaps()
    for number in (100, 101, 0, 1, 3):
        gaps.add(number)
    assert (gaps.seen, gaps.missing) == (5, 1)


def test_an_item_left_at_close_is_still_taken():
    mailbox: Mailbox[Item] = Mailbox(Stop())
    mailbox.put(Item(1))
    mailbox.close()
    assert mailbox.take() == Item(1)
    assert mailbox.take() is None


def test_nothing_is_put_after_close():
    mailbox: Mailbox[Item] = Mailbox(Stop())
    mailbox.close()
    mailbox.close()
    assert not mailbox.put(Item(1))
    assert mailbox.take() is None


@pytest.mark.parametrize("end", ["stop", "close"])
def test_a_waiting_take_ends(end: str):
    stop = Stop()
    mailbox: Mailbox[Item] = Mailbox(stop)
    taken: list[Item | None] = []
    thread = started(lambda: taken.append(mailbox.take()))
    time.sleep(0.05)
    stop.request("test") if end == "stop" else mailbox.close()
    assert ended(thread)
    assert taken == [None]


@pytest.mark.parametrize("end", ["stop", "close"])
def test_a_waiting_rendezvous_ends(end: str):
    stop = Stop()
    mailbox: Mailbox[Item] = Mailbox(stop, keep_all=True)
    answers: list[bool] = []
    thread = started(lambda: answers.append(mailbox.put(Item(0))))
    time.sleep(0.05)
    stop.request("test") if end == "stop" else mailbox.close()
    assert ended(thread)
    assert answers == [False]


def test_stop_hides_an_item_that_waits():
    stop = Stop()
    mailbox: Mailbox[Item] = Mailbox(stop)
    mailbox.put(Item(1))
    stop.request("test")
    assert mailbox.take() is None


def test_take_gives_up_in_time():
    mailbox: Mailbox[Item] = Mailbox(Stop())
    with pytest.raises(TimeoutError, match="nothing came"):
        mailbox.take(timeout_s=0.01)


def test_rendezvous_loses_nothing_to_a_slow_taker():
    stop = Stop()
    mailbox: Mailbox[Item] = Mailbox(stop, keep_all=True)

    def put_all():
        for number in range(50):
            mailbox.put(Item(number))
        mailbox.close()

    thread = started(put_all)
    taken = []
    while (item := mailbox.take(PATIENCE_S)) is not None:
        if len(taken) % 10 == 0:
            time.sleep(0.01)
        taken.append(item.frame_id)
    assert taken == list(range(50))
    assert mailbox.taken_ids.missing == 0
    assert ended(thread)


def test_many_puts_against_many_takes_account_for_every_id():
    mailbox: Mailbox[Item] = Mailbox(Stop())
    last = 20_000

    def put_all():
        for number in range(last + 1):
            mailbox.put(Item(number))
        mailbox.close()

    thread = started(put_all)
    taken = []
    while (item := mailbox.take(PATIENCE_S)) is not None:
        taken.append(item.frame_id)
    assert ended(thread)
    assert taken == sorted(set(taken))
    assert taken[-1] == last
    gaps = mailbox.taken_ids
    assert gaps.seen == len(taken)
    assert gaps.seen + gaps.missing == last - taken[0] + 1


def test_a_deadline_stops_every_wait():
    stop = Stop()
    mailbox: Mailbox[Item] = Mailbox(stop)
    stop.request_after(0.05)
    assert mailbox.take(PATIENCE_S) is None
    assert stop.is_set
    assert stop.reason is None
    assert stop.wait(PATIENCE_S)


def test_the_first_reason_wins():
    stop = Stop()
    stop.request("the user")
    stop.request("Ctrl-C", 130)
    assert stop.reason is not None
    assert (stop.reason.words, stop.reason.exit_code) == ("the user", 0)
