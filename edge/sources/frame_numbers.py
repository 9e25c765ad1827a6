"""Ids that only rise, from the counts of drivers that begin anew."""

from __future__ import annotations

SEQUENCE_WRAP = 1 << 32
"""V4L2 counts frames in unsigned 32 bits."""


class FrameNumbers:
    """Turns the driver's counts, which begin anew with each stream, into ids that only rise.

    Frames that the driver numbered and nobody saw are gaps. Between two streams there is none:
    what a camera did meanwhile was not meant to be seen.
    """

    def __init__(self) -> None:
        self._last_id = -1
        self._last_sequence: int | None = None
        self.counted = True
        """False once a driver was seen that does not count its frames: drops stay unknown."""

    def restart(self) -> None:
        """A stream begins."""
        self._last_sequence = None

    def number(self, sequence: int) -> int:
        """The id of the next frame, whose driver called it ``sequence`` (unsigned 32 bits)."""
        step = 1
        if self._last_sequence is not None:
            step = (sequence - self._last_sequence) % SEQUENCE_WRAP
            if not 0 < step < SEQUENCE_WRAP // 2:
                self.counted = False
                step = 1
        self._last_sequence = sequence
        self._last_id += step
        return self._last_id

    def between(self) -> int:
        """The id of a picture that is none of the stream's, such as a still."""
        self.restart()
        number = self.number(0)
        self.restart()
        return number
