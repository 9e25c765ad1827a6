"""A picture on its way from a source to a result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

CapturedBy = Literal["sensor", "driver", "arrival", "synthetic", "file"]
CapturedClock = Literal["monotonic", "recording"]


@dataclass(frozen=True)
class Frame:
    """One picture, upright, with where and when it was taken.

    Attributes:
        pixels: HxWx3 uint8 **RGB**, C-contiguous. The source that made the frame says in its
            docstring who owns the buffer and until when it may be read.
        frame_id: Number given by the source, rising; gaps are dropped frames. A still has 0.
        source: Where it came from, as in the Result (``file:skin.jpg``, ``synthetic:7``).
        captured_ns: Instant of capture in nanoseconds, on ``captured_clock``; ``None`` for a still.
        captured_clock: ``monotonic`` (CLOCK_MONOTONIC of this machine), ``recording`` (offset from
            the start of a recording), or ``None`` for a still.
        captured_by: Who took the time: ``sensor``, ``driver``, ``arrival`` (an age is then a lower
            bound), ``synthetic`` or ``file``.
        settings: Camera settings that belong to this frame, or ``None`` where unknown.
        notes: What was done to the picture on the way in, in words ("16-bit scaled to 8").
        exposure_began_ns: Monotonic instant before which no light of this frame was collected, as
            far as the source can vouch for it; ``None`` where it cannot. A still counts as taken
            after a press only where this lies after it.

    Raises:
        ValueError: ``pixels`` has another shape or dtype, or clock and instant disagree.
    """

    pixels: NDArray[np.uint8]
    frame_id: int
    source: str
    captured_ns: int | None
    captured_clock: CapturedClock | None
    captured_by: CapturedBy
    settings: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = field(default=())
    exposure_began_ns: int | None = None

    def __post_init__(self) -> None:
        shape, dtype = self.pixels.shape, self.pixels.dtype
        if len(shape) != 3 or shape[2] != 3 or dtype != np.uint8:
            raise ValueError(f"pixels must be HxWx3 uint8 RGB, but got {shape} {dtype}")
        if (self.captured_ns is None) != (self.captured_clock is None):
            raise ValueError(
                "captured_ns and captured_clock must be given together, "
                f"but got {self.captured_ns} and {self.captured_clock}"
            )

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]
