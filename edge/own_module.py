"""How a process of this program starts another one of it."""

from __future__ import annotations

from pathlib import Path

_ROOT = str(Path(__file__).resolve().parents[1])

# ``python -m`` and ``-c`` look into the current folder first: root would run what anybody has left
# in /tmp under the name of a library. The program itself need not be installed.
_RUN = (
    "import sys; sys.path[:] = [*filter(None, sys.path), {root!r}]; "
    "import runpy; runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"
)


def own_module(module: str) -> tuple[str, str]:
    """Arguments for Python that run a module as ``-m`` does, but never one of the current folder.

    Args:
        module: Of this program, e.g. ``edge.screens.child``; what follows are its arguments.
    """
    return "-c", _RUN.format(root=_ROOT, module=module)
