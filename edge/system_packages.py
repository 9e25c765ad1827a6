"""Whether this Python sees the modules that the system's packages bring, and what to do if not."""

from __future__ import annotations

import site
import sys

NEW_ENVIRONMENT = "make the environment anew: /usr/bin/python3 -m venv --system-site-packages .venv"


def sees_system_packages() -> bool:
    """True for the system's own Python, and for an environment made of it to see its packages."""
    return sys.base_prefix == "/usr" and sys.base_prefix in site.PREFIXES


def how_to_install(packages: str) -> str:
    """What to do for a Python module that a package of the system brings.

    Args:
        packages: Names for ``apt-get install``, with spaces between them.
    """
    step = f"apt-get install {packages}"
    return step if sees_system_packages() else f"{step}, and {NEW_ENVIRONMENT}"
