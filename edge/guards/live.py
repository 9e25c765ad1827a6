"""Is the picture live? Stale, late, repeated and black pictures are told from new ones."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.analysis.quality import BLACK_BELOW
from edge.frame import Frame

LiveKind = Literal["live", "stale", "repeated", "black", "never"]

LAPSE_NS_MIN, LAPSE_NS_MAX = 500_000_000, 5_000_000_000
"""However fast the source is, half a second without a new picture is not yet a lapse; however slow
it is, five seconds are."""

LAPSE_INTERVALS = 4
"""Frame intervals without a new picture that are a lapse, within the bounds above."""

LAPSE_NS_AT_START = 2_000_000_000
"""While the interval is not known: cameras settle before they run at their pace."""

GOOD_FRAMES = 3
"""New pictures in a row, none black, after which a picture counts as live again; and black ones in
a row after which it does not."""

LIT_SHARE_BLACK, LIT_SHARE_LEFT = 0.005, 0.02
"""A picture is black where fewer of its pixels than this are lighter than ``BLACK_BELOW``; while
black, it stays so until more than the second are."""

_ROW_STEP = 13
"""Every how many rows are compared. A prime: it does not march in step with the 8-pixel blocks of
a codec or the lines of a text."""

_INTERVALS_KEPT = 16

_Refusal = Literal["none", "number", "bytes", "late", "ahead"]


@dataclass(frozen=True)
class LiveState:
    """Whether what the camera shows is now.

    Attributes:
        live: False means: no label may be shown.
        kind: ``live``; ``stale``: no picture comes, or only late ones; ``repeated``: the same one
            comes again and again; ``black``; ``never``: none has come yet.
        words: One line for the screen; empty while live.
        since_ns: Monotonic instant since when it is so: of the last new picture where there is no
            other one. ``None`` for ``never``.
    """

    live: bool
    kind: LiveKind
    words: str
    since_ns: int | None


class LiveGuard:
    """Judges a stream of frames by one clock: when did the last **new** picture arrive?

    A picture is new if all of these hold.

    - Its number is above that of every new picture before. A source that starts again at a lower
      number is believed once its numbers have risen for as long as a lapse takes.
    - Its instant of capture, where it is on this machine's clock, is later than theirs and at most
      a lapse away from its arrival: pictures that come on time but late are not live.
    - A sample of it (every 13th row, all its bytes) differs from that of the frame before. Two
      exposures of a real sensor never agree in hundreds of thousands of bytes, because they have
      noise. Not so judged are pictures without any noise: those that a program made
      (``captured_by`` ``synthetic``), any with ``has_noise`` false, and one of a single value
      (a sensor burnt out to white gives equal bytes; that it is too bright is another guard's
      business).

    A lapse is four intervals between new pictures (median of the last 16), at least 0.5 s and at
    most 5 s; it is 2 s until three pictures have come. So a driver that doubles every frame in dim
    light is live, and one that returns the last frame for ever is not, after one lapse. After it,
    three new pictures in a row are needed to be live again; at the start one is enough.

    Recordings and stills are not judged: nobody takes a file for a live picture, it may rest on a
    slide of its own, and the analyzer refuses a black one by itself. They are ``live`` from the
    first frame on.

    :meth:`observe` is the capture thread's; :meth:`verdict` may be asked from any thread.

    Args:
        has_noise: False for a source known to send the same bytes while nothing moves, such as a
            test pattern or a screen grabber: equal bytes then say nothing.
    """

    def __init__(self, *, has_noise: bool = True) -> None:
        self._has_noise = has_noise
        self._lock = threading.Lock()
        self._recorded = False
        self._kind: LiveKind = "never"
        self._since_ns: int | None = None
        self._good = 0
        self._black = 0
        self._first_black_ns = 0
        self._arrived_ns: int | None = None
        self._new_ns: int | None = None
        self._new_number = -1
        self._new_captured_ns: int | None = None
        self._rising_since_ns = 0
        self._last_number = -1
        self._refusal: _Refusal = "none"
        self._late_ns = 0
        self._intervals_ns: deque[int] = deque(maxlen=_INTERVALS_KEPT)
        self._sample = np.empty((0, 0, 3), np.uint8)
        self._spare = np.empty((0, 0, 3), np.uint8)

    def observe(self, frame: Frame, arrived_ns: int) -> None:
        """Take note of a captured frame; its pixels are read during the call only.

        Args:
            frame: The newest one.
            arrived_ns: Monotonic instant at which the source returned it.
        """
        if frame.captured_clock != "monotonic":
            with self._lock:
                self._recorded = True
            return
        same_bytes = self._same_bytes(frame)
        lit_share = _lit_share(self._sample)
        with self._lock:
            lapse_ns = self._lapse_ns()
            if self._new_ns is not None and arrived_ns - self._new_ns > lapse_ns:
                self._good = 0
                if self._kind == "live":
                    self._leave(self._lapsed_kind(arrived_ns, lapse_ns), self._new_ns)
            self._refusal = self._refusal_of(frame, arrived_ns, same_bytes, lapse_ns)
            self._arrived_ns = arrived_ns
            if self._refusal == "none":
                self._take(frame, arrived_ns, lit_share)
            else:
                self._good = 0

    def verdict(self, now_ns: int) -> LiveState:
        """How it stands at ``now_ns`` (monotonic)."""
        with self._lock:
            if self._recorded:
                return LiveState(True, "live", "", None)
            if self._arrived_ns is None:
                return LiveState(False, "never", "waiting for the first picture", None)
            lapse_ns = self._lapse_ns()
            new_ns = self._new_ns
            if new_ns is None or now_ns - new_ns > lapse_ns:
                kind = self._lapsed_kind(now_ns, lapse_ns)
                return LiveState(False, kind, self._lapsed_words(kind, now_ns), new_ns)
            return LiveState(self._kind == "live", self._kind, _WORDS[self._kind], self._since_ns)

    # --- one frame ------------------------------------------------------------------------------

    def _same_bytes(self, frame: Frame) -> bool:
        """Whether the sample is that of the frame before; keeps it for the next one."""
        rows = frame.pixels[::_ROW_STEP]
        if self._spare.shape != rows.shape:
            self._spare = np.empty(rows.shape, np.uint8)
        np.copyto(self._spare, rows)
        self._sample, self._spare = self._spare, self._sample
        if not self._has_noise or frame.captured_by == "synthetic":
            return False
        now, before = self._sample, self._spare
        # The first rows tell live pictures apart at once: no need to compare all of them.
        return (
            np.array_equal(now[:2], before[:2])
            and np.array_equal(now, before)
            and bool(np.any(now != now.flat[0]))
        )

    def _refusal_of(
        self, frame: Frame, arrived_ns: int, same_bytes: bool, lapse_ns: int
    ) -> _Refusal:
        """Why this picture is not a new one."""
        number, captured_ns = frame.frame_id, frame.captured_ns
        if number <= self._last_number:
            self._rising_since_ns = arrived_ns
        self._last_number = number
        restarted = arrived_ns - self._rising_since_ns > lapse_ns
        if number <= self._new_number and not restarted:
            return "number"
        if captured_ns is not None:
            self._late_ns = arrived_ns - captured_ns
            if self._late_ns > lapse_ns:
                return "late"
            if self._late_ns < -lapse_ns:
                return "ahead"
            if self._new_captured_ns is not None and captured_ns <= self._new_captured_ns:
                return "number"
        return "bytes" if same_bytes else "none"

    def _take(self, frame: Frame, arrived_ns: int, lit_share: float) -> None:
        """Account for a new picture."""
        if self._new_ns is not None:
            self._intervals_ns.append(arrived_ns - self._new_ns)
        self._new_ns = arrived_ns
        self._new_number = frame.frame_id
        self._new_captured_ns = frame.captured_ns
        blackest = LIT_SHARE_LEFT if self._kind == "black" else LIT_SHARE_BLACK
        if lit_share < blackest:
            self._good = 0
            self._first_black_ns = self._first_black_ns if self._black else arrived_ns
            self._black += 1
            if self._black >= GOOD_FRAMES and self._kind != "black":
                self._leave("black", self._first_black_ns)
            return
        self._black = 0
        self._good += 1
        if self._kind != "live" and self._good >= (1 if self._kind == "never" else GOOD_FRAMES):
            self._kind, self._since_ns = "live", arrived_ns

    def _leave(self, kind: LiveKind, since_ns: int) -> None:
        self._kind, self._since_ns, self._good = kind, since_ns, 0

    # --- lapses ---------------------------------------------------------------------------------

    def _lapse_ns(self) -> int:
        """How long without a new picture is too long."""
        if len(self._intervals_ns) < 2:
            return LAPSE_NS_AT_START
        middle_ns = sorted(self._intervals_ns)[len(self._intervals_ns) // 2]
        return min(LAPSE_NS_MAX, max(LAPSE_NS_MIN, LAPSE_INTERVALS * middle_ns))

    def _lapsed_kind(self, now_ns: int, lapse_ns: int) -> LiveKind:
        """Whether pictures stay away, or come and are the same."""
        arriving = self._arrived_ns is not None and now_ns - self._arrived_ns <= lapse_ns
        return "repeated" if arriving and self._refusal in ("number", "bytes") else "stale"

    def _lapsed_words(self, kind: LiveKind, now_ns: int) -> str:
        gone_s = 0 if self._new_ns is None else (now_ns - self._new_ns) // 1_000_000_000
        if kind == "repeated":
            return f"the camera has sent the same picture for {gone_s} s"
        if self._refusal == "late":
            return f"pictures arrive {self._late_ns / 1e9:.1f} s late"
        if self._refusal == "ahead":
            return f"pictures are dated {-self._late_ns / 1e9:.1f} s ahead of this machine's clock"
        return f"no new picture for {gone_s} s"


_WORDS: dict[LiveKind, str] = {
    "live": "",
    "stale": "pictures have just come back",
    "repeated": "pictures have just come back",
    "black": "the picture is black; check the lens cap and the light",
    "never": "waiting for the first picture",
}


def is_black(pixels: NDArray[np.uint8]) -> bool:
    """Whether one picture, HxWx3 uint8 RGB, is black: by the rule for a stream's pictures."""
    return _lit_share(pixels[::_ROW_STEP]) < LIT_SHARE_BLACK


def _lit_share(sample: NDArray[np.uint8]) -> float:
    """Share of a sample's pixels that are not black, after averaging the noise of neighbours."""
    rows = sample[::2]
    across = max(1, rows.shape[1] // 16)
    blocks = cv2.resize(rows, (across, len(rows)), interpolation=cv2.INTER_AREA)
    red, green, blue = cv2.split(blocks)
    lit = np.maximum(np.maximum(red, green), blue) > BLACK_BELOW
    return int(np.count_nonzero(lit)) / lit.size
