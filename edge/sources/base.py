"""The seam to whatever makes frames."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, runtime_checkable

from edge.frame import Frame


class Source(Protocol):
    """Makes frames, one at a time, on the thread that calls it.

    A source is used from one thread only, and ``close`` may be called from another one to make a
    blocked ``read`` return ``None``.
    """

    @property
    def name(self) -> str:
        """What the Result calls it, e.g. ``synthetic:7`` or ``v4l2:usb-0ac8:0345``."""
        ...

    @property
    def is_live(self) -> bool:
        """True where frames are lost if nobody takes them (a camera); False for recordings."""
        ...

    def open(self) -> None:
        """Get ready to read.

        Raises:
            InputError: There is nothing to read, with what to do about it.
        """
        ...

    def read(self) -> Frame | None:
        """The next frame, or ``None`` when there will be no more.

        Raises:
            InputError: This frame cannot be had; later ones may still come.
        """
        ...

    def close(self) -> None:
        """Let go of the device or file; calling it twice is harmless."""
        ...

    def __enter__(self) -> Source: ...

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


@runtime_checkable
class TakesStills(Protocol):
    """A source that can take a better picture than those it streams."""

    def take_still(self, pressed_ns: int) -> Frame:
        """One frame of full resolution, exposed after ``pressed_ns`` (monotonic).

        Called between two reads on the thread that reads. The stream may pause; ids go on rising.

        Raises:
            InputError: No such picture can be had; the stream goes on all the same.
        """
        ...
