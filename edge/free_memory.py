"""Memory that the C library keeps after it was freed goes back to the system."""

from __future__ import annotations

import ctypes


def give_back() -> None:
    """Let go of freed memory; does nothing where the C library is not glibc.

    Loading networks frees some hundred MB, which glibc keeps for a program that never needs them
    again; with each run inside a service's process it would keep more.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(ctypes.c_size_t(0))
