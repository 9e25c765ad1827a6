"""What ``dermedge analyze`` is going to do, settled before any work: which file goes where."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from edge.errors import InputError, RequestError
from edge.output_names import OVERLAY_VIDEO, frame_name
from edge.sinks.stills import is_finished, still_paths
from edge.sources.files import MediaFile, list_media, no_media
from edge.sources.integrity import printable


@dataclass(frozen=True)
class Job:
    """One input and its place in the output folder.

    ``base`` is the picture's output path without the suffixes, or the video's output folder.
    """

    media: MediaFile
    base: Path

    @property
    def is_done(self) -> bool:
        """True where an earlier run has completed it."""
        if self.media.kind == "video":
            return os.path.exists(self.base / OVERLAY_VIDEO)
        return is_finished(self.base)

    @property
    def first_result(self) -> Path:
        """The Result JSON of the picture, or of the video's first frame."""
        return still_paths(self.base / frame_name(0) if self.media.kind == "video" else self.base)[
            0
        ]

    @property
    def name(self) -> str:
        """What messages call it."""
        return printable(self.media.relative.as_posix())


@dataclass
class Plan:
    """All jobs in order; what could not be searched or followed; other files by suffix."""

    jobs: list[Job] = field(default_factory=list)
    failures: list[InputError] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)

    @property
    def folders(self) -> list[Path]:
        """All folders that are written into, where they exist already or not."""
        videos = {job.base for job in self.jobs if job.media.kind == "video"}
        return sorted(videos | {job.base.parent for job in self.jobs})


def plan_batch(inputs: Sequence[Path], out: Path) -> Plan:
    """List all inputs and give each its place below ``out``.

    A folder's files keep their path relative to that folder; ``out`` itself is never searched. The
    same file named twice for the same place is done once.

    Raises:
        RequestError: Two inputs would write the same file, or an output would replace an input.
    """
    plan = Plan()
    jobs: dict[tuple[str, PurePath], Job] = {}
    for path in inputs:
        if os.path.isdir(path) and os.path.realpath(path) == os.path.realpath(out):
            raise RequestError(
                "an output folder that is not an input folder",
                got=f"{printable(path)} for both",
                next_step="name another folder after --out",
            )
        listing = list_media(path, excluded=out)
        if not listing.files and not listing.failures:
            plan.failures.append(no_media(path, listing))
        plan.failures += listing.failures
        plan.skipped += listing.skipped
        for media in listing.files:
            job = Job(media, out / media.relative)
            jobs.setdefault((os.path.realpath(media.path), media.relative), job)
    plan.jobs = list(jobs.values())
    _check_apart(plan.jobs)
    return plan


def _check_apart(jobs: Sequence[Job]) -> None:
    owners: dict[Path, Job] = {}
    for job in jobs:
        for path in _outputs(job):
            other = owners.setdefault(path, job)
            if other is not job:
                raise RequestError(
                    "inputs that write different files",
                    got=f"{printable(other.media.path)} and {printable(job.media.path)}, which "
                    f"both write {printable(path)}",
                    next_step="rename one, or give the folder above them instead",
                )
    folders = {job.base: job for job in jobs if job.media.kind == "video"}
    for path, job in owners.items():
        for folder in path.parents:
            if folder in folders and folders[folder] is not job:
                raise RequestError(
                    "inputs that write different files",
                    got=f"{printable(job.media.path)} in the folder of the results of "
                    f"{printable(folders[folder].media.path)}",
                    next_step="rename one, or analyze them with different --out",
                )
    _check_inputs_stay(jobs, owners)


def _check_inputs_stay(jobs: Sequence[Job], owners: dict[Path, Job]) -> None:
    sources = {os.path.realpath(job.media.path): job for job in jobs}
    for path, job in owners.items():
        hit = sources.get(os.path.realpath(path))
        if hit is not None:
            raise RequestError(
                "outputs that replace no input",
                got=f"{printable(job.media.path)}, whose result would be written over "
                f"{printable(hit.media.path)}",
                next_step="name another folder after --out",
            )


def _outputs(job: Job) -> Iterator[Path]:
    """The files that tell one job's outputs from another's; a video's folder counts as one."""
    if job.media.kind == "video":
        yield job.base
    else:
        yield from still_paths(job.base)
