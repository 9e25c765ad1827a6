"""The built-in camera: synthetic skin at a camera's pace, for demos, tests and measurements."""

from __future__ import annotations

import threading
import time
from types import TracebackType

from edge.frame import Frame
from models.phantom import PhantomCamera

_NS = 1_000_000_000


class SyntheticSource:
    """A phantom camera that behaves like a real one.

    Exposures happen at a fixed rate from :meth:`open` on, whether or not anybody reads, so a slow
    reader sees gaps in ``frame_id``. :meth:`read` waits for the next exposure that nobody has read
    and returns the newest one. Each frame owns its pixels.

    The scene is drawn when the source is made, which takes half a second and 100 MB for a moment:
    before the networks are loaded there is room for it.

    Args:
        seed: Decides skin, lesions and movement; 0 or more.
        size_wh: Size of a frame in pixels.
        fps: Exposures per second.
        lesion_count: Lesions of the scene.
    """

    is_live = True

    def __init__(
        self,
        seed: int = 7,
        *,
        size_wh: tuple[int, int] = (1280, 720),
        fps: float = 30.0,
        lesion_count: int = 6,
    ) -> None:
        self.name = f"synthetic:{seed}"
        self._fps = fps
        self._camera = PhantomCamera(seed, size_wh, fps, lesion_count=lesion_count)
        self._closed = threading.Event()  # ends a read that waits for its exposure
        self._first_ns: int | None = None
        self._last_index = -1

    def open(self) -> None:
        """Start the clock."""
        self._closed.clear()
        self._last_index = -1
        self._first_ns = time.monotonic_ns()

    def read(self) -> Frame | None:
        """The newest exposure, or ``None`` once closed."""
        if self._first_ns is None:
            raise ValueError("the source must be opened before it is read")
        index = max(self._index_at(time.monotonic_ns() - self._first_ns), self._last_index + 1)
        captured_ns = self._first_ns + round(index * _NS / self._fps)
        if self._closed.wait(max(0.0, (captured_ns - time.monotonic_ns()) / _NS)):
            return None
        self._last_index = index
        return Frame(
            pixels=self._camera.frame(index).pixels,
            frame_id=index,
            source=self.name,
            captured_ns=captured_ns,
            captured_clock="monotonic",
            captured_by="synthetic",
            settings={"fps": self._fps},
            exposure_began_ns=captured_ns,
        )

    def close(self) -> None:
        """End a waiting read; the next one returns ``None``."""
        self._closed.set()

    def _index_at(self, elapsed_ns: int) -> int:
        return int(elapsed_ns * self._fps / _NS)

    def __enter__(self) -> SyntheticSource:
        self.open()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
