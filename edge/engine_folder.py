"""Where compiled engines and their cards lie, and which one of a model is in use.

    ROOT/<model name>-<12 digits of its ONNX hash>/
        <precision>-<16 digits of its key>.engine
        <precision>-<16 digits of its key>.card.json
        chosen                                        the name of the engine in use

An engine is chosen only after the gate has passed it, and the choice is one renamed file, so a
build that ends early, however it ends, leaves the engine in use as it was.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from edge.engine_card import EngineCard, Precision, read_card
from edge.errors import ModelRefusedError
from edge.sinks.whole_file import whole_files

FOLDER_VARIABLE = "DERMEDGE_ENGINES"

SERVICE_ROOT = Path("/var/lib/dermedge/engines")
"""The folder of the installed service: docs/service.md."""

ATTEMPTS_FILE = ".attempts.json"
"""How often what is to be built there was begun in vain: :mod:`convert.attempts`."""

BUILD_LOCK = ".build.lock"
"""Held while engines are built in a folder."""

_CHOSEN = "chosen"
_STEM = re.compile(r"(?:fp32|fp16|int8)-[0-9a-f]{16}")


def engines_root() -> Path:
    """``$DERMEDGE_ENGINES``, or ``dermedge/engines`` in the user's data folder (XDG).

    Raises:
        ModelRefusedError: There is neither that variable nor a home.
    """
    chosen = os.environ.get(FOLDER_VARIABLE)
    if chosen:
        return Path(chosen)
    xdg = os.environ.get("XDG_DATA_HOME", "")
    if os.path.isabs(xdg):  # the XDG specification: a relative path is to be ignored
        return Path(xdg) / "dermedge" / "engines"
    home = os.path.expanduser("~")
    if os.path.isabs(home):
        return Path(home) / ".local" / "share" / "dermedge" / "engines"
    raise ModelRefusedError(
        "a folder for engines",
        got="neither a home folder nor " + FOLDER_VARIABLE,
        next_step=f"set {FOLDER_VARIABLE} to a folder",
    )


def how_to_build(pack: str = "PACK") -> str:
    """The command that builds engines where this process looks for them.

    The service's folder is its account's own: what root built there, it could not replace.
    """
    with suppress(ModelRefusedError):
        if engines_root() == SERVICE_ROOT:
            return "sudo dermedge service build"
    return f"dermedge-convert build {pack}"


def is_being_built(root: Path) -> bool:
    """Whether another process builds engines there now; its lock is looked at, not touched."""
    try:
        inode = (root / BUILD_LOCK).stat().st_ino
        locks = Path("/proc/locks").read_text("ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return False
    # The inode alone: the number of the device there is another one on some file systems.
    held = (field.split(":") for line in locks if "FLOCK" in line for field in line.split())
    return any(len(place) == 3 and place[2] == str(inode) for place in held)


def chosen_engines(root: Path) -> frozenset[tuple[str, str]]:
    """Which engine every model uses: folder and name; differs once another one is chosen."""
    found = set()
    for path in root.glob(f"*/{_CHOSEN}"):
        with suppress(OSError, UnicodeDecodeError):  # being written, or gone: seen the next time
            found.add((path.parent.name, path.read_text("ascii").strip()))
    return frozenset(found)


class ModelEngines:
    """The engines of one model.

    Args:
        root: The folder of all engines.
        model_name: From the model's manifest.
        onnx_sha256: Of the model's ONNX file.
    """

    def __init__(self, root: Path, model_name: str, onnx_sha256: str) -> None:
        self.folder = root / f"{model_name}-{onnx_sha256[:12]}"

    def engine_path(self, precision: Precision, key: str) -> Path:
        """Where the engine of this key lies, or would lie."""
        return self.folder / f"{_stem(precision, key)}.engine"

    def card_path(self, precision: Precision, key: str) -> Path:
        """Where its card lies, or would lie."""
        return self.folder / f"{_stem(precision, key)}.card.json"

    def cards(self) -> Iterator[tuple[Path, EngineCard | ModelRefusedError]]:
        """Every card with its path, or with what is wrong with it."""
        for path in sorted(self.folder.glob("*.card.json")):
            try:
                yield path, read_card(path)
            except ModelRefusedError as error:
                yield path, error

    def chosen(self) -> EngineCard | None:
        """The card of the engine in use, or ``None`` where none was ever chosen.

        Raises:
            ModelRefusedError: The choice, or the card that it names, cannot be read.
        """
        path = self.folder / _CHOSEN
        try:
            stem = path.read_text("ascii").strip()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise _bad_choice(path, str(error)) from error
        if not _STEM.fullmatch(stem):
            raise _bad_choice(path, repr(stem[:40]))
        return read_card(self.folder / f"{stem}.card.json")

    def choose(self, card: EngineCard) -> None:
        """Put an engine to use from the next start on.

        Raises:
            OutputError: The folder cannot be written; the choice stays what it was.
        """
        with whole_files([self.folder / _CHOSEN]) as (file,):
            file.write(f"{_stem(card.precision, card.key)}\n".encode())

    @contextmanager
    def new_engine(self, precision: Precision, key: str) -> Iterator[BinaryIO]:
        """A file for the engine that takes its name when it is whole.

        Raises:
            OutputError: The folder cannot be written or is full; what was there is still there.
        """
        with whole_files([self.engine_path(precision, key)]) as (file,):
            yield file

    def write_card(self, card: EngineCard) -> None:
        """Write or replace a card.

        Raises:
            OutputError: The folder cannot be written or is full; the card before is still there.
        """
        with whole_files([self.card_path(card.precision, card.key)]) as (file,):
            file.write(card.to_json())

    def check_content(self, card: EngineCard) -> Path:
        """The engine's file, if its content is what the card says.

        Raises:
            ModelRefusedError: It is missing, cut off, or another file.
        """
        path = self.engine_path(card.precision, card.key)
        try:
            found = _sha256(path)
        except OSError as error:
            got = error.strerror or str(error)
        else:
            if found == card.engine.sha256:
                return path
            got = f"sha256 {found}, {path.stat().st_size} bytes"
        raise ModelRefusedError(
            f"{path} with sha256 {card.engine.sha256}, {card.engine.size_bytes} bytes",
            got=got,
            next_step=f"build it again: {how_to_build()}",
        )


def _stem(precision: Precision, key: str) -> str:
    return f"{precision}-{key[:16]}"


def _bad_choice(path: Path, got: str) -> ModelRefusedError:
    return ModelRefusedError(
        f"the name of an engine in {path}",
        got=got,
        next_step=f"build the engine again: {how_to_build()}",
    )


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
