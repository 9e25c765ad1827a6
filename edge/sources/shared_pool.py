"""Frame buffers that a camera's own process fills: nothing is copied on the way."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from edge.child_process import shared_memory
from edge.pixel_pool import first_free

ONCE = -1
"""Number of a buffer that the child shall forget once it has filled it."""


@dataclass(frozen=True)
class Slot:
    """One buffer for one frame.

    Attributes:
        number: What the child calls it, or :data:`ONCE`.
        pixels: HxWx3 uint8, free as soon as nobody refers to it.
        descriptor: Of its memory where the child has not seen it yet; to be closed once sent.
    """

    number: int
    pixels: NDArray[np.uint8]
    descriptor: int | None


class SharedPool:
    """Gives out buffers that a child may map, and takes them back by their reference counts.

    Where all that are kept are held, as by a slow recorder, the next one is made for one frame, and
    is gone with it on both sides. For one child: after it was ended, nobody writes into what it
    had, and the next gets a new pool. Used from one thread.

    Args:
        shape: Of every buffer: height, width, 3.
        keep: Buffers that are used again.
    """

    def __init__(self, shape: tuple[int, int, int], keep: int = 8) -> None:
        self.shape = shape
        self._keep = keep
        self._kept: list[NDArray[np.uint8]] = []
        self.made = 0
        """Buffers allocated so far; constant in a steady stream."""

    def take(self) -> Slot:
        """A buffer that nobody refers to."""
        free = first_free(self._kept)
        if free is not None:
            return Slot(free, self._kept[free].reshape(self.shape), None)
        size = prod(self.shape)
        descriptor = shared_memory("dermedge-frame", size)
        buffer = map_pixels(descriptor, size)
        self.made += 1
        number = ONCE
        if len(self._kept) < self._keep:
            number = len(self._kept)
            self._kept.append(buffer)
        return Slot(number, buffer.reshape(self.shape), descriptor)


def map_pixels(descriptor: int, size: int) -> NDArray[np.uint8]:
    """Shared memory as ``size`` uint8 values; unmapped when the last reference goes."""
    return np.frombuffer(mmap.mmap(descriptor, size), np.uint8)
