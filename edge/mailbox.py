"""Between the thread that reads frames and the loop that analyzes them: the newest frame wins.

live source    put() replaces a frame nobody took; what was lost shows as gaps between ids;
               one that is kept waits beside the newest until it is taken
recording      put() waits until its frame was taken, so nothing is lost
"""

from __future__ import annotations

import threading
import time
from typing import Generic, Protocol, TypeVar

from edge.stop import SLICE_S, Stop


class Numbered(Protocol):
    """Anything that carries the number its source gave it."""

    @property
    def frame_id(self) -> int:
        """Rising number; a gap is something that was lost."""
        ...


ItemT = TypeVar("ItemT", bound=Numbered)


class IdGaps:
    """Counts what is missing from a stream of rising ids.

    An id that is not larger than the one before means that its source started again: counting
    goes on from there, and no loss is claimed for the jump.
    """

    def __init__(self) -> None:
        self._last_id: int | None = None
        self.seen = 0
        self.missing = 0

    def add(self, frame_id: int) -> None:
        """Note that ``frame_id`` came by."""
        if self._last_id is not None and frame_id > self._last_id:
            self.missing += frame_id - self._last_id - 1
        self._last_id = frame_id
        self.seen += 1


class Mailbox(Generic[ItemT]):
    """Holds at most one item. One thread puts, one takes, anybody may close.

    Args:
        stop: Seen by every wait in here, within :data:`edge.stop.SLICE_S`.
        keep_all: True makes :meth:`put` wait until its item was taken (a rendezvous).
        wake: Set whenever there is something to take, for a taker that waits for other things too.
    """

    def __init__(
        self, stop: Stop, *, keep_all: bool = False, wake: threading.Event | None = None
    ) -> None:
        self._stop = stop
        self._wake = wake or threading.Event()
        self._keep_all = keep_all
        self._changed = threading.Condition()
        self._item: ItemT | None = None
        self._kept: ItemT | None = None
        self._closed = False
        self.put_ids = IdGaps()
        """Ids that arrived here; its gaps were lost before, by the source."""
        self.taken_ids = IdGaps()
        """Ids that were taken; its gaps were lost anywhere before the taker."""

    def put(self, item: ItemT, *, keep: bool = False) -> bool:
        """Offer an item, replacing one that nobody took; False where nobody will take any more.

        One that is to ``keep`` is replaced only by another such; it is taken before the newest.
        """
        with self._changed:
            if self._is_over():
                return False
            if keep:
                self._kept, self._item = item, None  # what came before it is late by now
            else:
                self._item = item
            self.put_ids.add(item.frame_id)
            self._changed.notify_all()
            self._wake.set()
            while self._keep_all and self._holds(item) and not self._is_over():
                self._changed.wait(SLICE_S)
            return not self._is_over()

    def take(self, timeout_s: float | None = None) -> ItemT | None:
        """Wait for the newest item.

        Args:
            timeout_s: Longest wait; ``None`` waits as long as it takes.

        Returns:
            The item, or ``None`` once asked to stop, or closed and empty.

        Raises:
            TimeoutError: Nothing came in ``timeout_s``.
        """
        until_s = None if timeout_s is None else time.monotonic() + timeout_s
        with self._changed:
            while self._kept is None and self._item is None:
                if self._is_over():
                    return None
                if until_s is not None and time.monotonic() >= until_s:
                    raise TimeoutError(f"nothing came in {timeout_s} s")
                self._changed.wait(SLICE_S)
            return None if self._stop.is_set else self._taken()

    def poll(self) -> ItemT | None:
        """What waits here, without waiting for it; ``None`` where nothing does."""
        with self._changed:
            return self._taken()

    @property
    def is_finished(self) -> bool:
        """True once it was closed, or everybody is asked to stop, and nothing waits in it."""
        with self._changed:
            return self._is_over() and self._item is None and self._kept is None

    def close(self) -> None:
        """Take no further items; one that is waiting can still be taken. Twice is harmless."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _taken(self) -> ItemT | None:
        item = self._item if self._kept is None else self._kept
        if item is not None:
            self._item = None if item is self._item else self._item
            self._kept = None
            self.taken_ids.add(item.frame_id)
            self._changed.notify_all()
        return item

    def _holds(self, item: ItemT) -> bool:
        return self._item is item or self._kept is item

    def _is_over(self) -> bool:
        return self._closed or self._stop.is_set
