"""TensorRT's timing cache on disk: what it measured once, it need not measure again.

One file for each device and TensorRT version, with a checksum, since TensorRT trusts what it is
given. It is written beside its name and renamed.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from edge.errors import InputError
from edge.sinks.whole_file import whole_files

if TYPE_CHECKING:
    from edge.engine_card import DeviceFacts

_MAGIC = b"dermedge timing cache 1\n"
_DIGEST_BYTES = 32


def timing_cache_path(root: Path, device: DeviceFacts) -> Path:
    """Where the timing cache of a device lies.

    Args:
        root: The folder of all engines.
        device: Every fact of it counts, TensorRT's version too.
    """
    digest = hashlib.sha256(device.model_dump_json().encode()).hexdigest()
    return root / f"timing-{digest[:16]}.cache"


def read_timing_cache(path: Path) -> tuple[bytes, str]:
    """A timing cache, and what is wrong with it.

    Returns:
        The cache as TensorRT gave it, empty where there is none yet or it is of no use; and why it
        is of no use, in words, or an empty string.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return b"", ""
    except OSError as error:
        return b"", error.strerror or str(error)
    cache = content[len(_MAGIC) + _DIGEST_BYTES :]
    if content[: -len(cache) or None] != _MAGIC + hashlib.sha256(cache).digest():
        return b"", "it is damaged"
    return cache, ""


def write_timing_cache(path: Path, cache: bytes | memoryview) -> str:
    """Keep a timing cache, whole or not at all.

    Returns:
        Why it cannot be kept, in words, or an empty string: an engine is none the worse for it.
    """
    try:
        with whole_files([path]) as (file,):
            file.write(_MAGIC + hashlib.sha256(cache).digest())
            file.write(cache)
    except InputError as error:
        return error.got
    return ""
