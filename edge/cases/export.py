"""Copies cases, logs and recordings to a stick, reads back what was written, and says so."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from edge.analysis.stamp import boot_id
from edge.cases.listing import list_cases, verify_case
from edge.cases.writer import CASE_JSON
from edge.errors import InputError, RequestError
from edge.result import DISCLAIMER
from edge.sinks.whole_file import output_error, whole_files
from edge.sources.integrity import printable
from models.whole_file import sync_folder

SCHEMA = "dermedge.export/1"
MANIFEST = "dermedge-export.json"

FAT_FILE_BYTES = (1 << 32) - 1
"""Largest file that FAT can hold; most sticks are sold with it."""

_FAT = ("vfat", "msdos", "fat")
_FORBIDDEN = '<>:"|?*\\'
_BLOCK_BYTES = 1 << 20
_PART_SUFFIX = ".dermedge-part"
_RESERVE_BYTES = 1 << 20
_UNFINISHED = (".open", ".going", ".partial")
"""Ends of names of what is being written or removed."""


@dataclass(frozen=True)
class Item:
    """One file to be copied: from where, and where to below the target."""

    source: Path
    relative: str
    size: int


@dataclass
class Report:
    """What an export did.

    Attributes:
        copied: Files written and read back.
        kept: Files that were there already, and the same.
        failures: What could not be copied, in words.
        notes: What else the person should know.
    """

    copied: int = 0
    kept: int = 0
    copied_bytes: int = 0
    failures: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def plan_export(
    target: Path, cases: Path | None, logs: Sequence[Path], recordings: Path | None
) -> tuple[list[Item], Report]:
    """What there is to copy, in order; a case's own list comes last, so that it vouches for it.

    Args:
        target: Where to.
        cases: Folder of cases, or ``None``.
        logs: Files, or folders of files.
        recordings: Folder of recordings, or ``None``.

    Raises:
        RequestError: A source does not exist, or holds the target or lies in it.
    """
    report = Report()
    sources = [path for path in (cases, *logs, recordings) if path is not None]
    for path in sources:
        _refuse_overlap(path, target)
    items: list[Item] = []
    found = _cases_of(cases, report) if cases else []
    for case in found:
        wrong = verify_case(case)
        if wrong:
            report.failures.append(f"case {case.name}: {'; '.join(wrong)}; copied as it is")
        name = _case_place(target, case, report)
        files = sorted(case.iterdir(), key=lambda path: (path.name == CASE_JSON, path.name))
        items += [_item(path, f"cases/{name}/{path.name}") for path in files if path.is_file()]
    for path in logs:
        items += _tree(path, "logs")
    if recordings is not None:
        items += _tree(recordings, "recordings")
        report.notes += [
            f"recording {path.name}: it is not closed, and not copied: a minute later, or when the "
            "camera loop has ended, it is"
            for path in sorted(recordings.glob("*.open"))
        ]
    return items, report


def _cases_of(folder: Path, report: Report) -> list[Path]:
    """The cases of a folder.

    Raises:
        RequestError: There is none, and they lie one level below.
    """
    found = list_cases(folder)
    if not found and list_cases(folder / "cases"):
        raise RequestError(
            "a folder of cases",
            got=f"{printable(folder)}, which has none",
            next_step=f"name {printable(folder / 'cases')}",
        )
    if not found:
        report.notes.append(f"{printable(folder)}: no case in it")
    return found


def run_export(
    target: Path,
    items: Sequence[Item],
    report: Report,
    said: Callable[[Item], None],
    playable: Sequence[Path] = (),
) -> None:
    """Copy what is planned, and write the list of what is there.

    Files that are there and the same are left; others are written under another name, brought to
    the stick, read back with the system's copy of them dropped, and renamed.

    Args:
        target: Where to; made where missing.
        items: From :func:`plan_export`.
        report: Goes on counting.
        said: Told about each file before it is copied.
        playable: Recorded segments, copied with the rest, beside which a video is to be made.

    Raises:
        InputError: The target cannot be written, or has too little room.
    """
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(target, error) from error
    missing = [item for item in items if not _is_there(target / item.relative, item)]
    _check_room(target, missing)
    is_fat = _file_system(target) in _FAT
    listed: dict[str, dict[str, Any]] = {}
    for item in items:
        said(item)
        if is_fat and item.size > FAT_FILE_BYTES:
            report.failures.append(f"{item.relative}: larger than FAT can hold (4 GiB)")
            continue
        try:
            digest = _copied(target / item.relative, item, report)
        except OSError as error:
            report.failures.append(f"{item.relative}: {error.strerror or error}")
            if error.errno in (errno.ENOSPC, errno.EROFS, errno.EIO, errno.ENODEV):
                raise _gone(target, error, report) from error
            continue
        listed[item.relative] = {"bytes": item.size, "sha256": digest}
    for path in playable:
        _make_playable(target, path, listed, report)
    _write_manifest(target, listed)


def _make_playable(
    target: Path, segment: Path, listed: dict[str, dict[str, Any]], report: Report
) -> None:
    """A video beside a segment that was copied, unless it is there; made from the copy.

    The recorder may remove the segment itself in the meantime, to make room.
    """
    from edge.recording.playable import make_playable

    out = target / "recordings" / _plain(segment.parent.name) / _plain(segment.name) / "video"
    video = next(
        (p for p in (out.with_suffix(".mp4"), out.with_suffix(".webm")) if p.is_file()), None
    )
    if video is None:
        try:
            video = make_playable(out.parent, out)
        except (InputError, OSError) as error:
            words = error.got if isinstance(error, InputError) else error.strerror or str(error)
            report.failures.append(f"{segment.name}: {words}")
            return
        report.copied += 1
        report.copied_bytes += video.stat().st_size
    relative = video.relative_to(target).as_posix()
    listed[relative] = {"bytes": video.stat().st_size, "sha256": _digest(video)}


def verify_export(target: Path) -> tuple[int, list[str]]:
    """Number of files of an export, and what is wrong with them, in words.

    Raises:
        InputError: There is no export, or its list cannot be read.
    """
    path = target / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
        files: dict[str, dict[str, Any]] = manifest["files"]
    except OSError as error:
        raise InputError(
            f"an export in {printable(target)}",
            got=f"{MANIFEST}: {error.strerror}",
            next_step="name the folder that was exported to",
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"a list of files in {printable(path)}", got="something else", next_step="export again"
        ) from error
    wrong = []
    for name, said in sorted(files.items()):
        place = target / name
        try:
            if place.stat().st_size != said["bytes"]:
                wrong.append(f"{name}: {place.stat().st_size} bytes instead of {said['bytes']}")
            elif _digest(place) != said["sha256"]:
                wrong.append(f"{name}: changed")
        except OSError as error:
            wrong.append(f"{name}: {error.strerror}")
    return len(files), wrong


# --- one file -----------------------------------------------------------------------------------


def _copied(place: Path, item: Item, report: Report) -> str:
    """Copy one file unless it is there; gives its hash, as read back.

    Of a file that is being written, such as a log, it is the planned size that is copied.
    """
    if place.is_file() and place.stat().st_size == item.size:
        before = _digest(place)
        if before == _digest(item.source, item.size):
            report.kept += 1
            return before
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_name(place.name + _PART_SUFFIX)
    try:
        with open(item.source, "rb") as source, open(part, "wb") as copy:
            written = _copy_and_digest(source, copy, item.size)
            copy.flush()
            os.fsync(copy.fileno())
            # What is read back shall come from the stick, not from the system's memory.
            os.posix_fadvise(copy.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        after = _digest(part)
        if after != written:
            raise OSError(errno.EIO, "what was read back is not what was written")
        os.replace(part, place)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync_folder(place.parent)
    report.copied += 1
    report.copied_bytes += item.size
    return after


def _copy_and_digest(source: BinaryIO, copy: BinaryIO, size: int) -> str:
    digest = hashlib.sha256()
    while size > 0:
        block = source.read(min(size, _BLOCK_BYTES))
        if not block:
            raise OSError(errno.EAGAIN, "it became shorter while it was copied; export again")
        copy.write(block)
        digest.update(block)
        size -= len(block)
    return digest.hexdigest()


def _digest(path: Path, size: int | None = None) -> str:
    """Hash of a file, or of its first ``size`` bytes."""
    digest = hashlib.sha256()
    left = path.stat().st_size if size is None else size
    with open(path, "rb") as file:
        while left > 0 and (block := file.read(min(left, _BLOCK_BYTES))):
            digest.update(block)
            left -= len(block)
    return digest.hexdigest()


def _is_there(place: Path, item: Item) -> bool:
    return place.is_file() and place.stat().st_size == item.size


# --- what to copy, and where to -------------------------------------------------------------------


def _item(path: Path, relative: str) -> Item:
    return Item(path, relative, path.stat().st_size)


def _tree(path: Path, under: str) -> Iterator[Item]:
    """All files of a folder, or the one file; hidden ones are somebody's unfinished work."""
    if path.is_file():
        yield _item(path, f"{under}/{_plain(path.name)}")
        return
    for file in sorted(path.rglob("*")):
        relative = file.relative_to(path)
        unfinished = any(p.startswith(".") or p.endswith(_UNFINISHED) for p in relative.parts)
        if not unfinished and file.is_file():
            place = "/".join(_plain(part) for part in (path.name, *relative.parts))
            with suppress(FileNotFoundError):  # a recorder has just made room
                yield _item(file, f"{under}/{place}")


def _plain(name: str) -> str:
    """A name that every stick can hold."""
    return "".join("_" if c in _FORBIDDEN or ord(c) < 32 else c for c in name).rstrip(" .") or "_"


def _case_place(target: Path, case: Path, report: Report) -> str:
    """The case's own name, or another one where the stick has a different case of that name."""
    own = (case / CASE_JSON).read_bytes()
    name, number = case.name, 1
    while (there := target / "cases" / name / CASE_JSON).is_file() and there.read_bytes() != own:
        number += 1
        name = f"{case.name}-{number}"
    if number > 1:
        report.notes.append(f"case {case.name}: the stick has another one of that code; see {name}")
    return name


def _refuse_overlap(source: Path, target: Path) -> None:
    if not source.exists():
        raise RequestError(
            "a file or folder to export", got=f"{printable(source)}, which is not there",
            next_step="check the spelling",
        )  # fmt: skip
    real, place = Path(os.path.realpath(source)), Path(os.path.realpath(target))
    if real == place or real in place.parents or place in real.parents:
        raise RequestError(
            "a target apart from what is exported",
            got=f"{printable(target)} and {printable(source)}",
            next_step="name a folder on the stick: --to /media/STICK/dermedge",
        )


def _check_room(target: Path, missing: Sequence[Item]) -> None:
    needed = sum(item.size for item in missing) + _RESERVE_BYTES
    free = shutil.disk_usage(target).free
    if free < needed:
        raise InputError(
            f"{(needed >> 20) + 1} MB free in {printable(target)}",
            got=f"{free >> 20} MB",
            next_step="take a larger or emptier stick",
        )


def _file_system(path: Path) -> str | None:
    """Kind of the file system that holds a path, as Linux calls it."""
    real, best, kind = os.path.realpath(path), "", None
    try:
        lines = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    for line in lines:
        place, name = line.split(" ")[1:3]
        place = place.replace("\\040", " ")
        if (real + "/").startswith(place.rstrip("/") + "/") and len(place) >= len(best):
            best, kind = place, name
    return kind


def _gone(target: Path, error: OSError, report: Report) -> InputError:
    done = f"{report.copied} files were copied before; what is there is whole"
    return InputError(
        f"to write to {printable(target)}",
        got=f"{error.strerror or error} ({done})",
        next_step="make room or plug the stick in again, and repeat: it goes on where it ended",
    )


def _write_manifest(target: Path, listed: dict[str, dict[str, Any]]) -> None:
    manifest = {
        "schema": SCHEMA,
        "disclaimer": DISCLAIMER,
        "boot_id": boot_id(),
        "exported_ns": time.monotonic_ns(),
        "files": listed,
    }
    text = json.dumps(manifest, ensure_ascii=False, indent=1) + "\n"
    with whole_files([target / MANIFEST]) as (file,):
        file.write(text.encode("utf-8"))
    sync_folder(target)
