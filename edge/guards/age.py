"""Does the age of the shown pictures rise? A queue somewhere grows, and nobody sees it by eye."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BUCKET_S = 5.0
BUCKETS = 12
"""The lowest age of every 5 s is kept, for the last minute."""

RISE_MS_MIN = 100.0
"""Smallest rise within the minute that is worth a word: three frames at 30 per second."""

AGREEMENT_MIN = 0.7
"""Kendall's tau of age against time: of all pairs of buckets, the share that rises less the share
that falls. Of twelve values without a trend one in a thousand series reaches 0.7."""

NOISES_MIN = 4.0
"""The rise must exceed this many standard deviations of a bucket."""

JUMP_SHARE_MAX = 0.4
"""Of the whole rise, what a single step between two buckets may make up: a jump is no trend."""

_TRENDS_TOLD = 2
"""Buckets one after the other that must agree."""


@dataclass(frozen=True)
class AgeRise:
    """How far the age rose.

    Attributes:
        from_ms: Lowest age in the first bucket of the minute.
        to_ms: Lowest age in the last.
        over_s: Time between them.
    """

    from_ms: float
    to_ms: float
    over_s: float

    @property
    def words(self) -> str:
        """One line for screen and log."""
        return (
            f"frame age rising: {self.from_ms:.0f} ms -> {self.to_ms:.0f} ms in {self.over_s:.0f} s"
        )


class AgeAlarm:
    """Watches frame ages for a rise over time, with constant memory.

    Of every 5 s the lowest age counts: between two analyses the age of one picture grows by itself
    and falls back (a saw's teeth), single frames are late, but the lowest age is what the path from
    sensor to screen takes. Of the last twelve of them, with their times t and ages a,

    - the slope is the median of (a_j - a_i) / (t_j - t_i) over all pairs (Theil 1950, Sen 1968),
    - the agreement is Kendall's tau (Mann 1945),
    - the noise is 1.4826 times the median absolute deviation of the steps from their median, over
      the square root of two: a trend cancels in it.

    It rises where, in two buckets one after the other, slope times span is at least 100 ms and 4
    noises, tau at least 0.7, and no single step more than 0.4 of the span between lowest and
    highest. A steady rise of 10 ms per second or more is told within 50 s once a minute has been
    seen; in the first minute nothing is. Teeth of up to 20 s, noise that is independent from bucket
    to bucket, and single jumps are not told.

    It is over once slope times span falls below half of 100 ms, or the age is back in the lower
    half of the rise.

    Nothing presented for three buckets (a frozen still, no live image) starts the watch anew.
    """

    def __init__(self) -> None:
        self._times_s: deque[float] = deque(maxlen=BUCKETS)
        self._lowest_ms: deque[float] = deque(maxlen=BUCKETS)
        self._begun_ns: int | None = None
        self._newest_ns = 0
        self._lowest = math.inf
        self._rise: AgeRise | None = None
        self._trends = 0

    @property
    def rise(self) -> AgeRise | None:
        """The rise that is going on, as it was first told; ``None`` where there is none."""
        return self._rise

    def observe(self, age_ms: float, now_ns: int) -> AgeRise | None:
        """Take in the age of a picture as it was shown.

        Args:
            age_ms: From its capture to ``now_ns``, in milliseconds.
            now_ns: Monotonic instant of showing it.

        Returns:
            The rise, once, when it is found; else ``None``.
        """
        if self._begun_ns is None or now_ns - self._newest_ns > 3.0 * BUCKET_S * 1e9:
            self._start_anew(now_ns)
        begun_ns = self._begun_ns if self._begun_ns is not None else now_ns
        self._newest_ns = now_ns
        told = None
        if now_ns - begun_ns >= BUCKET_S * 1e9 and math.isfinite(self._lowest):
            self._times_s.append((begun_ns + now_ns) / 2e9)
            self._lowest_ms.append(self._lowest)
            self._begun_ns, self._lowest = now_ns, math.inf
            told = self._judge()
        self._lowest = min(self._lowest, age_ms)
        return told

    def _start_anew(self, now_ns: int) -> None:
        self._times_s.clear()
        self._lowest_ms.clear()
        self._begun_ns, self._lowest, self._rise, self._trends = now_ns, math.inf, None, 0

    def _judge(self) -> AgeRise | None:
        """Start or end the alarm at the end of a bucket."""
        if len(self._times_s) < BUCKETS:
            return None
        times_s, ages_ms = np.array(self._times_s), np.array(self._lowest_ms)
        rise_ms = _slope(times_s, ages_ms) * float(times_s[-1] - times_s[0])
        if self._rise is not None:
            half_ms = (self._rise.from_ms + self._rise.to_ms) / 2.0
            if rise_ms < RISE_MS_MIN / 2.0 or ages_ms[-1] < half_ms:
                self._rise = None
            return None
        is_trend = rise_ms >= RISE_MS_MIN and _is_trend(ages_ms, rise_ms)
        self._trends = self._trends + 1 if is_trend else 0
        if self._trends < _TRENDS_TOLD:
            return None
        self._trends = 0
        over_s = float(times_s[-1] - times_s[0])
        self._rise = AgeRise(float(ages_ms[0]), float(ages_ms[-1]), over_s)
        return self._rise


_EARLIER, _LATER = np.triu_indices(BUCKETS, 1)


def _slope(times_s: NDArray[np.float64], ages_ms: NDArray[np.float64]) -> float:
    """Median slope of all pairs, in milliseconds per second."""
    rises = ages_ms[_LATER] - ages_ms[_EARLIER]
    return float(np.median(rises / (times_s[_LATER] - times_s[_EARLIER])))


def _is_trend(ages_ms: NDArray[np.float64], rise_ms: float) -> bool:
    """Whether a rise is one of most buckets, beyond their noise, and no jump."""
    steps = np.diff(ages_ms)
    noise_ms = 1.4826 * float(np.median(np.abs(steps - np.median(steps)))) / math.sqrt(2.0)
    tau = float(np.mean(np.sign(ages_ms[_LATER] - ages_ms[_EARLIER])))
    whole_ms = float(ages_ms.max() - ages_ms.min())
    return (
        tau >= AGREEMENT_MIN
        and rise_ms >= NOISES_MIN * noise_ms
        and float(steps.max()) <= JUMP_SHARE_MAX * whole_ms
    )
