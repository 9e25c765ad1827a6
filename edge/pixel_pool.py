"""Buffers of frame size that are used again: a steady stream allocates nothing."""

from __future__ import annotations

import sys
import threading
from math import prod

import numpy as np
from numpy.typing import NDArray


class PixelPool:
    """Gives out uint8 arrays and takes them back by itself.

    An array is free again as soon as nobody refers to it, nor to any part or view of it: CPython
    counts the references, and this pool reads the count. So whoever holds a frame may hold it as
    long as it likes, and nobody has to give anything back. Where all are held, a new one is made.

    Safe to use from several threads.

    Args:
        keep: Arrays that are kept for the shape asked for last; further ones are the taker's
            alone and are not used again.
    """

    def __init__(self, keep: int = 8) -> None:
        self._keep = keep
        self._lock = threading.Lock()
        self._buffers: list[NDArray[np.uint8]] = []
        self.made = 0
        """Arrays allocated so far; constant in a steady stream."""

    def take(self, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """An array of this shape, C-contiguous, with whatever was in it before."""
        size = prod(shape)
        with self._lock:
            if self._buffers and self._buffers[0].size != size:
                self._buffers.clear()
            free = first_free(self._buffers)
            if free is not None:
                return self._buffers[free].reshape(shape)
            buffer = np.empty(size, np.uint8)
            self.made += 1
            if len(self._buffers) < self._keep:
                self._buffers.append(buffer)
            return buffer.reshape(shape)


def first_free(buffers: list[NDArray[np.uint8]]) -> int | None:
    """Index of the first array that only this list refers to, or ``None``."""
    for index in range(len(buffers)):
        if sys.getrefcount(buffers[index]) <= _REFERENCES_WHEN_FREE:
            return index
    return None


def _references_when_free() -> int:
    """What ``getrefcount`` says of an array that only a list holds; it differs among Pythons."""
    alone = [np.empty(1, np.uint8)]
    return sys.getrefcount(alone[0])


_REFERENCES_WHEN_FREE = _references_when_free()
