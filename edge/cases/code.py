"""Case codes: short, speakable, and nobody's name."""

from __future__ import annotations

import re
import secrets

ALPHABET = "CDFGHJKMNPQRTVWXY34679"
"""No vowels, so that no word comes of it; none of 0 O, 1 I L, 2 Z, 5 S, 8 B, which look alike."""

_GROUPS, _GROUP_CHARS = 2, 3
_CODE = re.compile(rf"[{ALPHABET}]{{3}}-[{ALPHABET}]{{3}}")


def new_code() -> str:
    """A code such as ``K7M-QXT``: 22 to the power of 6, which is 113 million.

    It needs no clock, no network and no counter. Whether it is free in a folder is the writer's to
    see; that two devices give the same one is unlikely, and the export keeps both.
    """
    groups = (
        "".join(secrets.choice(ALPHABET) for _ in range(_GROUP_CHARS)) for _ in range(_GROUPS)
    )
    return "-".join(groups)


def is_code(name: str) -> bool:
    """Whether a folder's name is a case code."""
    return _CODE.fullmatch(name) is not None
