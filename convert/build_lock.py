"""One build at a time: two would take each other's memory, and write the same files."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge.engine_folder import BUILD_LOCK
from edge.errors import InputError
from edge.sinks.partial import remove_dead_partials
from edge.sinks.whole_file import output_error


@contextmanager
def only_builder(root: Path) -> Iterator[None]:
    """Hold the lock of an engine folder; the system lets it go when the process ends, however.

    What killed builds left unfinished there is removed.

    Args:
        root: The folder of all engines; made where missing.

    Raises:
        InputError: Another process builds there; it is named.
        OutputError: The folder cannot be made or written.
    """
    path = root / BUILD_LOCK
    try:
        root.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="ascii")
    except OSError as error:
        raise output_error(root, error) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise InputError(
                f"to be the only build in {root}",
                got=f"another one, process {file.read().strip() or 'unknown'}",
                next_step="wait for it, or stop it with Ctrl-C",
            ) from error
        except OSError:
            pass  # a file system without locks: nobody can hold one
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        remove_dead_partials(root)
        yield
