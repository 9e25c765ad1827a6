"""What may be believed of the picture that is shown, and what the person should do about it."""

from __future__ import annotations

from typing import Protocol

from edge.frame import Frame
from edge.overlay.notices import Notice
from edge.result import Result


class Trust(Protocol):
    """Watches frames, results and ages; asked before anything is shown."""

    def receive(self, frame: Frame) -> Frame:
        """See a frame first, on the source's thread; gives it with what is known of its colours."""
        ...

    def receive_still(self, frame: Frame) -> Frame:
        """See a still that was taken apart from the stream, on the source's thread."""
        ...

    def frame_words(self, frame: Frame) -> str | None:
        """Why this frame is no live image (repeated, black), or ``None``; on the analysis thread.

        Called once with each frame that is to be analyzed, before its analysis.
        """
        ...

    def still_words(self, frame: Frame) -> str | None:
        """Why a still is no picture of now (repeated, black), or ``None``; on that thread too."""
        ...

    def analyzed(self, frame: Frame, result: Result) -> None:
        """See a result, on the presentation thread."""
        ...

    def shown(self, age_ms: float, now_ns: int) -> None:
        """See the age of a picture whose present call has returned."""
        ...

    def not_live_words(self, now_ns: int) -> str | None:
        """Why what would be shown now is no live image, or ``None``."""
        ...

    def has_moved(self, result_frame: Frame, newest: Frame) -> bool:
        """Whether outlines of one frame would lie beside their lesions in the other."""
        ...

    def notices(self, now_ns: int) -> list[Notice]:
        """What to say now, the most important first."""
        ...

    def lost(self) -> None:
        """The source is opened again; on its thread."""
        ...

    def check_card(self, frame: Frame | None) -> None:
        """Check the colours on the card that the newest frame shows."""
        ...


class NoTrust:
    """Believes everything: for recordings, where nothing is live."""

    def receive(self, frame: Frame) -> Frame:
        """The frame as it is."""
        return frame

    def receive_still(self, frame: Frame) -> Frame:
        """The still as it is."""
        return frame

    def frame_words(self, frame: Frame) -> str | None:
        """Nothing speaks against it."""
        return None

    def still_words(self, frame: Frame) -> str | None:
        """Nothing speaks against it."""
        return None

    def analyzed(self, frame: Frame, result: Result) -> None:
        """Nothing to learn."""

    def shown(self, age_ms: float, now_ns: int) -> None:
        """Nothing to learn."""

    def not_live_words(self, now_ns: int) -> str | None:
        """Nothing speaks against it."""
        return None

    def has_moved(self, result_frame: Frame, newest: Frame) -> bool:
        """Only where the result is of another frame can it lie beside its lesions."""
        return result_frame.frame_id != newest.frame_id

    def notices(self, now_ns: int) -> list[Notice]:
        """Nothing to say."""
        return []

    def lost(self) -> None:
        """Nothing to forget."""

    def check_card(self, frame: Frame | None) -> None:
        """A recording has no camera whose colours could be checked."""
