"""A cache that is bounded by bytes: at 4K one line of text is as large as a small picture."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

_Value = TypeVar("_Value")


class ByteCache(Generic[_Value]):
    """Forgets the least recently used values when they exceed ``limit_bytes`` together."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self._values: OrderedDict[Hashable, tuple[_Value, int]] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._values)

    @property
    def size_bytes(self) -> int:
        """Bytes of all values held, as they were declared."""
        return self._bytes

    def get(self, key: Hashable) -> _Value | None:
        """The value, now the most recently used one, or ``None``."""
        entry = self._values.get(key)
        if entry is None:
            return None
        self._values.move_to_end(key)
        return entry[0]

    def put(self, key: Hashable, value: _Value, size_bytes: int) -> None:
        """Keep ``value``; one larger than the whole cache is kept until the next one comes."""
        if key in self._values:
            self._bytes -= self._values.pop(key)[1]
        while self._values and self._bytes + size_bytes > self.limit_bytes:
            self._bytes -= self._values.popitem(last=False)[1][1]
        self._values[key] = (value, size_bytes)
        self._bytes += size_bytes
