"""The ``files:`` source: a picture, a video, or a folder of both."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from types import TracebackType
from typing import Literal

from edge.errors import InputError
from edge.frame import Frame
from edge.output_names import kind_of_output
from edge.sources import containers, pictures
from edge.sources.integrity import check_readable, printable, unreadable
from edge.sources.recording import Recording

STILL_SHOWN_S = 2.0
"""How long a still is shown before the next one when frames come at the recording's pace."""


@dataclass(frozen=True)
class MediaFile:
    """A file to be read: where it is, its place below what the user named, and its kind."""

    path: Path
    relative: PurePath
    kind: Literal["picture", "video"]

    @property
    def source(self) -> str:
        """What a Result calls it."""
        return f"file:{printable(self.relative.as_posix())}"


@dataclass
class Listing:
    """What was found below a path.

    Attributes:
        files: Pictures and videos in the order of their names, folder by folder.
        failures: One error for each folder that could not be read or that contains itself, and
            for each link that leads nowhere, unless it is called like a picture or a video: then
            it is one of the files, and reading it tells.
        skipped: Number of other files by suffix; overlays and masks of an earlier run are among
            them. Hidden files are not counted.
    """

    files: list[MediaFile] = field(default_factory=list)
    failures: list[InputError] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)


def list_media(path: Path, excluded: Path | None = None) -> Listing:
    """Find pictures and videos.

    A folder is searched with its subfolders, links included; there a file's suffix decides, and
    what an earlier run made is no photograph. A file that is named itself is taken whatever it is
    called.

    Args:
        path: Picture, video or folder. It need not exist: reading it tells.
        excluded: A folder not to search, such as one that is written to.
    """
    listing = Listing()
    if os.path.isdir(path):
        _search(path, PurePath(), os.path.realpath(excluded) if excluded else None, (), listing)
    else:
        listing.files.append(MediaFile(path, PurePath(path.name), _kind_of_named_file(path)))
    return listing


def _kind_of_named_file(path: Path) -> Literal["picture", "video"]:
    kind = _kind_by_suffix(path.name)
    if kind is not None:
        return kind
    try:
        return "video" if path.is_file() and containers.is_container(path) else "picture"
    except OSError:
        return "picture"  # reading it gives the error


def _kind_by_suffix(name: str) -> Literal["picture", "video"] | None:
    suffix = os.path.splitext(name)[1].lower()
    if suffix in pictures.SUFFIXES:
        return "picture"
    return "video" if suffix in containers.SUFFIXES else None


def _search(
    folder: Path, relative: PurePath, excluded: str | None, above: tuple[str, ...], out: Listing
) -> None:
    # Not Path.resolve: before Python 3.13 it raises RuntimeError for a link to itself.
    resolved = os.path.realpath(folder)
    if resolved == excluded:
        return
    if resolved in above:
        out.failures.append(
            InputError(
                "folders that do not contain themselves",
                got=f"{printable(folder)}, a link to {printable(resolved)}",
                next_step="remove the link, or name the folders one by one",
            )
        )
        return
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        out.failures.append(_unreadable_folder(folder, error))
        return
    beside = frozenset(names)
    for name in names:
        if name.startswith("."):
            continue
        kind = _kind_by_suffix(name)
        output = kind_of_output(name, beside)
        if os.path.isdir(folder / name):
            _search(folder / name, relative / name, excluded, (*above, resolved), out)
        elif output is not None:
            out.skipped[output] += 1
        elif kind is not None:
            out.files.append(MediaFile(folder / name, relative / name, kind))
        elif (broken := _broken_link(folder / name)) is not None:
            out.failures.append(broken)
        else:
            out.skipped[os.path.splitext(name)[1].lower() or "without suffix"] += 1


def _broken_link(path: Path) -> InputError | None:
    """The error for a link that leads nowhere: nobody knows what it would have brought in."""
    if not os.path.islink(path):
        return None
    try:
        os.stat(path)
    except OSError as error:
        return unreadable(path, error)
    return None


def _unreadable_folder(folder: Path, error: OSError) -> InputError:
    return InputError(
        f"a readable folder at {printable(folder)}",
        got=error.strerror or str(error),
        next_step="check its permissions",
    )


class FilesSource:
    """Reads a picture, a video, or all of a folder in the order of names.

    Every frame's pixels belong to whoever receives it. Frames are numbered through, so a gap never
    means a loss; a single still has 0.

    Args:
        path: Picture, video or folder.
        paced: Give frames at the recording's own pace (stills every :data:`STILL_SHOWN_S`
            seconds) instead of as fast as they are taken. None is lost either way.
    """

    is_live = False

    def __init__(self, path: Path, *, paced: bool = False) -> None:
        self._path = path
        self._paced = paced
        self._closed = threading.Event()
        self._reading = threading.Lock()  # close() from another thread waits for a running read
        self._files: Iterator[MediaFile] = iter(())
        self._failures: list[InputError] = []
        self._recording: Recording | None = None
        self._next_id = 0
        self._shown_ns = 0
        self._recording_began_ns = 0

    @property
    def name(self) -> str:
        """``files:`` and the path."""
        return f"files:{printable(self._path)}"

    def open(self) -> None:
        """List the files.

        Raises:
            InputError: There is no picture or video.
        """
        listing = list_media(self._path)
        if not os.path.isdir(self._path):
            check_readable(self._path)
        if not listing.files and not listing.failures:
            raise no_media(self._path, listing)
        self._files = iter(listing.files)
        self._failures = listing.failures

    def read(self) -> Frame | None:
        """The next frame of the next file, or ``None`` after the last or once closed.

        Raises:
            InputError: A file cannot be decoded, or ends too early; the next call goes on with
                the next file.
        """
        with self._reading:
            frame = None
            while frame is None and not self._closed.is_set():
                if self._failures:
                    raise self._failures.pop(0)
                if self._recording is None:
                    file = next(self._files, None)
                    if file is None:
                        return None
                    frame = self._begin(file)
                else:
                    frame = self._read_recording(self._recording)
            if frame is None or not self._wait_for_its_time(frame):
                return None
            self._next_id += 1
            return replace(frame, frame_id=self._next_id - 1)

    def close(self) -> None:
        """Let go of the file; calling it twice, or from another thread, is harmless."""
        self._closed.set()
        with self._reading:
            self._end_recording()

    def __enter__(self) -> FilesSource:
        self.open()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _begin(self, file: MediaFile) -> Frame | None:
        """Decode a still, or open a video and return ``None``."""
        if file.kind == "picture":
            return pictures.frame_from_picture(file.path, file.source)
        recording = Recording(file.path, file.source)
        recording.open()
        self._recording = recording
        return None

    def _read_recording(self, recording: Recording) -> Frame | None:
        try:
            frame = recording.read()
        except InputError:
            self._end_recording()
            raise
        if frame is None:
            self._end_recording()
        return frame

    def _end_recording(self) -> None:
        if self._recording is not None:
            self._recording.close()
            self._recording = None

    def _wait_for_its_time(self, frame: Frame) -> bool:
        """False where the source was closed meanwhile."""
        if self._paced:
            now_ns = time.monotonic_ns()
            due_ns = self._due_ns(frame, now_ns)
            if self._closed.wait(max(0, due_ns - now_ns) / 1e9):
                return False
            self._shown_ns = time.monotonic_ns()
        return not self._closed.is_set()

    def _due_ns(self, frame: Frame, now_ns: int) -> int:
        if frame.captured_ns is None:
            return now_ns if self._next_id == 0 else self._shown_ns + int(STILL_SHOWN_S * 1e9)
        if frame.frame_id == 0:
            self._recording_began_ns = now_ns - frame.captured_ns
        return self._recording_began_ns + frame.captured_ns


def no_media(path: Path, listing: Listing) -> InputError:
    """The error for a folder without anything to read."""
    return InputError(
        f"pictures ({pictures.FORMS}) or videos ({containers.FORMS}) in {printable(path)}",
        got=skipped_in_words(listing.skipped) or "an empty folder",
        next_step="give a picture, a video, or a folder that holds some",
    )


def skipped_in_words(skipped: Counter[str]) -> str:
    """``12 other files (.txt 10, .heic 2)``, or an empty text where there are none."""
    total = sum(skipped.values())
    if total == 0:
        return ""
    kinds = ", ".join(f"{printable(suffix)} {count}" for suffix, count in skipped.most_common(5))
    return f"{total} other file{'s' if total > 1 else ''} ({kinds})"
