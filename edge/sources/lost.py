"""The error of a camera that will give nothing more until it is opened again."""

from __future__ import annotations

from edge.errors import InputError


class SourceLost(InputError):
    """Unplugged, silent or broken: ``close`` the source and ``open`` it again, maybe later.

    Any other :class:`InputError` of a ``read`` is about one frame, and the next may be had at once.
    """
