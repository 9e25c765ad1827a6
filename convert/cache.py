"""Prepared graphs on disk, so that a start does not prepare again.

A file's name is ``<key>-<sha256 of its content>.onnx``. The key covers the network's hash, what
the manifest says about its graph, and the code that prepares; the content's hash is checked at
every use, so a damaged file is made again and never run. Files are written beside their final
name and renamed, so two processes may prepare the same model at once. The newest 16 are kept.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import logging
import os
import shutil
import tempfile
import time
from functools import lru_cache
from pathlib import Path

from convert.notes import manifest_key
from models.errors import InputError
from models.manifest import Model
from models.whole_file import write_whole

CACHE_VARIABLE = "DERMEDGE_CACHE"
KEPT_FILES = 16
_ABANDONED_S = 3600.0

log = logging.getLogger(__name__)


def prepared_path(model: Model, folder: Path | None = None, *, for_cpu: bool = False) -> Path:
    """The prepared graph of a model, from the cache or made now.

    Args:
        model: Its ONNX file is read and its hash checked every time.
        folder: The cache; by default :func:`cache_folder`.
        for_cpu: With :func:`convert.prepare.faster_on_cpu`, as the CPU engines want it.

    Returns:
        A file whose content was checked. It lies in a temporary folder, gone when the process
        ends, where the cache cannot be written; a warning says so.

    Raises:
        ModelRefusedError: The model cannot be prepared.
        InputError: Not even a temporary folder can be written.
    """
    source = model.read_onnx()
    key = _key(model, for_cpu)
    if folder is None:
        folder = cache_folder()
    found = _intact(folder, key)
    if found is not None:
        return found
    content = _prepared(source, model, for_cpu)
    try:
        return _stored(folder, key, content)
    except OSError as error:
        log.warning(
            "prepared graphs cannot be kept in %s (%s), so every start prepares again; "
            "set %s to a folder that can be written",
            folder,
            error.strerror or error,
            CACHE_VARIABLE,
        )
    try:
        return _stored(_temporary_folder(), key, content)
    except OSError as error:
        raise InputError(
            f"{len(content)} bytes of room for a prepared graph",
            got=error.strerror or str(error),
            next_step=f"set {CACHE_VARIABLE} to a folder that can be written",
        ) from error


def prepared_hash(path: Path) -> str:
    """SHA-256 of a prepared graph in the cache: it stands in its name, and was checked."""
    return path.stem.partition("-")[2]


def _prepared(source: bytes, model: Model, for_cpu: bool) -> bytes:
    # Imported only where there is something to prepare: it brings the onnx package.
    from convert.prepare import faster_on_cpu, prepare_model

    log.info("preparing %s, once", model.manifest.name)
    graph = prepare_model(source, model.manifest)
    if for_cpu:
        graph = faster_on_cpu(graph)
    content: bytes = graph.SerializeToString(deterministic=True)
    return content


def cache_folder() -> Path:
    """``$DERMEDGE_CACHE``, or ``dermedge/prepared`` in the user's cache folder (XDG).

    A user without a home gets a temporary folder.
    """
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen)
    xdg = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification: a relative path is to be ignored.
    home = os.path.expanduser("~")
    if os.path.isabs(xdg):
        return Path(xdg) / "dermedge" / "prepared"
    if os.path.isabs(home):
        return Path(home) / ".cache" / "dermedge" / "prepared"
    return _temporary_folder()


def _key(model: Model, for_cpu: bool) -> str:
    variant = "cpu" if for_cpu else "plain"
    parts = (model.manifest.onnx.sha256, manifest_key(model.manifest), variant, _code_hash())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


@lru_cache(maxsize=1)
def _code_hash() -> str:
    """Hash of the source of this package: other code may prepare other graphs."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _intact(folder: Path, key: str) -> Path | None:
    """The entry of this key whose content fits its name; damaged ones are removed."""
    for path in sorted(folder.glob(f"{key}-*.onnx")):
        with contextlib.suppress(OSError):
            if path.stem.partition("-")[2] == _sha256(path):
                # Old entries are those not used for long; a cache that came with a read-only
                # system does not age.
                with contextlib.suppress(OSError):
                    os.utime(path)
                return path
            log.warning("the prepared graph %s is damaged and is made again", path)
            path.unlink()
    return None


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _stored(folder: Path, key: str, content: bytes) -> Path:
    path = folder / f"{key}-{hashlib.sha256(content).hexdigest()}.onnx"
    write_whole(path, content)
    _forget_old(folder, path)
    return path


def _forget_old(folder: Path, newest: Path) -> None:
    """Keep ``newest`` and the 15 used last; another process may be doing the same."""
    used: list[tuple[float, Path]] = []
    for path in folder.glob("*-*.onnx"):
        with contextlib.suppress(OSError):
            if path != newest:
                used.append((path.stat().st_mtime, path))
    old = [path for _, path in sorted(used, reverse=True)[KEPT_FILES - 1 :]]
    for path in folder.glob(".new-*"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _ABANDONED_S:
                old.append(path)
    for path in old:
        with contextlib.suppress(OSError):
            path.unlink()


@lru_cache(maxsize=1)
def _temporary_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="dermedge-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
