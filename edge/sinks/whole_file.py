"""Files that are there whole or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from edge.errors import InputError
from edge.sinks.partial import open_partial, remove_dead_partials
from edge.sources.integrity import printable

_PLACE_IS_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})


class OutputError(InputError):
    """An output could not be written.

    Attributes:
        place_is_full: True where the next file would fail, too: no space, quota, read-only.
    """

    place_is_full = False


@contextmanager
def whole_files(paths: Sequence[Path], stale: Sequence[Path] = ()) -> Iterator[list[BinaryIO]]:
    """Open files for writing that take their names only when all are complete and on the disk.

    They are written under hidden names in the same folder, which is made where missing. After a
    crash hidden files stay until :func:`check_writable`; a file under a real name is always
    whole. The last file vouches for the set: its predecessor is removed before the others are
    replaced, so that it never stands beside files of another run.

    Args:
        paths: Where they go, all in one folder.
        stale: Files of an earlier run that are removed once the new ones are complete.

    Raises:
        OutputError: The place cannot be written, or is full; what was there before is still there,
            and nothing new.
    """
    try:
        paths[0].parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            partials, files = [], []
            for path in paths:
                partial, file = open_partial(path)
                stack.callback(_remove, [partial])
                files.append(stack.enter_context(file))
                partials.append(partial)
            yield list(files)
            for file in files:
                file.flush()
                os.fsync(file.fileno())
            _remove([*stale, paths[-1]] if len(paths) > 1 else stale)
            for partial, path in zip(partials, paths, strict=True):
                os.replace(partial, path)
    except OSError as error:
        raise output_error(paths[-1], error) from error


def _remove(paths: Sequence[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def output_error(path: Path, error: OSError) -> OutputError:
    """What the system said about writing ``path``, for the user."""
    is_full = error.errno in _PLACE_IS_FULL
    next_step = "free some space or choose another folder" if is_full else "check that folder"
    if error.errno == errno.EROFS:
        next_step = "choose another folder; a service may write only where its unit lets it: "
        next_step += "ReadWritePaths=, docs/service.md"
    elif error.errno in (errno.EEXIST, errno.ENOTDIR):
        next_step = "name a folder: a file is in the way"
    elif error.errno == errno.EISDIR:
        next_step = "name a file: this is a folder"
    elif error.errno in (errno.EACCES, errno.EPERM):
        next_step = "choose another folder, or let this account write there"
    refused = OutputError(
        f"to write {printable(path)}",
        got=error.strerror or str(error),
        next_step=next_step,
    )
    refused.place_is_full = is_full
    return refused


def check_writable(folder: Path) -> None:
    """Make ``folder`` where missing, remove what killed runs left in it, and try to write into it.

    Raises:
        OutputError: It cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_dead_partials(folder)
        probe, file = open_partial(folder / "probe")
        with file:
            probe.unlink()
    except OSError as error:
        raise output_error(folder, error) from error
