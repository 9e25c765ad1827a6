"""Frame buffers that a camera's own process fills: nothing is copied on the way."""

from __future__ import annotations

import mmap
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.child_process import shared_memory
from edge.pixel_pool import PixelPool


@dataclass(frozen=True)
class Slot:
    """One buffer for one frame.

    Attributes:
        number: What the child calls it.
        pixels: HxWx3 uint8, free as soon as nobody refers to it.
        descriptor: Of its memory where the child has not seen it yet; to be closed once sent.
    """

    number: int
    pixels: NDArray[np.uint8]
    descriptor: int | None


class SharedPool:
    """Gives out buffers that a child may map, and takes them back by their reference counts.

    For one child: after it was ended, nobody writes into what it had, and the next gets a new pool.

    Args:
        shape: Of every buffer: height, width, 3.
        keep: As of :class:`PixelPool`.
    """

    def __init__(self, shape: tuple[int, int, int], keep: int = 8) -> None:
        self.shape = shape
        self._pool = PixelPool(keep, self._make)
        self._numbers: dict[int, int] = {}  # of a buffer, by its address
        self._next = 0
        self._unsent: int | None = None

    @property
    def made(self) -> int:
        """Buffers allocated so far; constant in a steady stream."""
        return self._pool.made

    def take(self) -> Slot:
        """A buffer that nobody refers to."""
        pixels = self._pool.take(self.shape)
        descriptor, self._unsent = self._unsent, None
        return Slot(self._numbers[pixels.ctypes.data], pixels, descriptor)

    def _make(self, size: int) -> NDArray[np.uint8]:
        self._unsent = shared_memory("dermedge-frame", size)
        array = map_pixels(self._unsent, size)
        # Where an address comes again, what had it before is gone.
        self._numbers[array.ctypes.data] = self._next
        self._next += 1
        return array


def map_pixels(descriptor: int, size: int) -> NDArray[np.uint8]:
    """Shared memory as ``size`` uint8 values; unmapped when the last reference goes."""
    return np.frombuffer(mmap.mmap(descriptor, size), np.uint8)
