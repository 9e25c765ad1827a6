"""Carries out the plan of ``dermedge analyze``."""

from __future__ import annotations

import os
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge.analysis.analyzer import Analyzer
from edge.commands.batch_plan import Job, Plan
from edge.commands.batch_report import (
    OUTCOME_OF_STATUS,
    Outcome,
    final_count,
    is_of_models,
    kept_of_others,
    one_line,
    summary,
)
from edge.commands.printing import complain, say, trace
from edge.commands.progress import Progress
from edge.errors import DermedgeError, InputError, ModelRefusedError
from edge.frame import Frame
from edge.output_names import OVERLAY_VIDEO, frame_id_of, frame_name, is_picture_name
from edge.result import FAILED, STATUS_WORDS, Result, Status
from edge.sinks.base import Shot
from edge.sinks.stills import write_still
from edge.sinks.video import VideoSink
from edge.sinks.whole_file import OutputError
from edge.sources.integrity import printable
from edge.sources.pictures import frame_from_picture
from edge.sources.recording import Recording
from edge.stop import Stop
from models.command_line import EXIT_OTHER

Draw = Callable[[Frame, Result], NDArray[np.uint8]]

_CODE_OF_STATUS: dict[Status, int] = {
    "model_refused": ModelRefusedError.exit_code,
    "analysis_failed": EXIT_OTHER,
}


@dataclass(frozen=True)
class Options:
    """How a batch is done.

    Attributes:
        png: Write overlay and mask PNG for each frame of a video, too.
        overwrite: Do again what an earlier run has completed.
        verbose: A summary of each picture instead of one line.
        validated: Whether the classifier's manifest says so; else what is said says not.
        abstain_below: Probability below which the classifier's manifest lets no class be named.
        debug: Tracebacks.
        model_sha256: Hash of the ONNX file of ``segmenter`` and ``classifier``; what an earlier
            run has completed with others is kept with a warning.
    """

    png: bool = False
    overwrite: bool = False
    verbose: bool = False
    validated: bool = False
    abstain_below: float = 0.0
    debug: bool = False
    model_sha256: Mapping[str, str] = field(default_factory=dict)


class Batch:
    """Goes through a plan; a file that fails is reported in one line, and the rest goes on.

    Args:
        plan: What to do.
        analyzer: Opened.
        draw: Makes the picture with its overlay; its buffer is used until the next call.
        stop: Looked at between frames.
        options: From the command line.
    """

    def __init__(
        self, plan: Plan, analyzer: Analyzer, draw: Draw, stop: Stop, options: Options
    ) -> None:
        self._plan = plan
        self._analyzer = analyzer
        self._draw = draw
        self._stop = stop
        self._options = options
        self._outcomes: Counter[Outcome] = Counter()
        self._code = 0
        self._place_is_full = False
        self._of_others = 0  # kept results of other models than those of this run

    def run(self) -> int:
        """Do it all and say the count.

        Returns:
            The exit code: the highest of all files, or that of the request to stop.
        """
        for error in self._plan.failures:
            self._failed(error)
        started = 0
        with Progress(len(self._plan.jobs)) as progress:
            for job in self._plan.jobs:
                if self._stop.is_set or self._place_is_full:
                    break
                started += 1
                progress.doing(job.name)
                self._do(job, progress)
                progress.advance()
        if self._of_others:
            complain(kept_of_others(self._of_others))
        not_started = len(self._plan.jobs) - started
        validated = self._options.validated
        say(final_count(self._outcomes, self._plan.skipped, not_started, validated=validated))
        reason = self._stop.reason
        if reason is None:
            return self._code
        complain(f"stopped by {reason.words}; every file that was written is complete")
        return max(self._code, reason.exit_code)

    def _do(self, job: Job, progress: Progress) -> None:
        if job.is_done and not self._options.overwrite:
            self._outcomes[Outcome.KEPT] += 1
            self._of_others += not is_of_models(job.first_result, self._options.model_sha256)
            return
        try:
            if job.media.kind == "picture":
                self._do_picture(job)
            else:
                self._do_video(job, progress)
        except DermedgeError as error:
            self._failed(error)
            self._place_is_full = isinstance(error, OutputError) and error.place_is_full
        except Exception as error:  # a bug of ours must not cost the rest of the batch
            self._failed(error, job.name)

    def _do_picture(self, job: Job) -> None:
        frame = frame_from_picture(job.media.path, job.media.source)
        result = self._analyze_and_write(frame, job)
        limit = self._options.abstain_below
        if self._options.verbose:
            validated = self._options.validated
            say(summary(job.name, result, validated=validated, abstain_below=limit))
        else:
            say(f"{job.name}: {one_line(result, abstain_below=limit)}")
        self._ended(job, [result.status], "; ".join(result.reasons))

    def _do_video(self, job: Job, progress: Progress) -> None:
        recording = Recording(job.media.path, job.media.source)
        statuses: Counter[Status] = Counter()
        reasons: dict[str, None] = {}
        try:
            recording.open()
            video = VideoSink(job.base / OVERLAY_VIDEO, recording.fps, own_thread=False)
            finished = False
            try:
                while not self._stop.is_set and (frame := recording.read()) is not None:
                    if frame.frame_id == 0:
                        self._begin_video(job, video)
                    result = self._analyze_and_write(frame, job, video)
                    statuses[result.status] += 1
                    if result.status in _CODE_OF_STATUS:
                        reasons.update(dict.fromkeys(result.reasons))
                    progress.doing(
                        f"{job.name} {frame.frame_id + 1}/{recording.frame_count or '?'}"
                    )
                finished = not self._stop.is_set
                if finished:
                    self._remove_earlier_run(job, sum(statuses.values()))
            finally:
                # The overlay vouches for the folder: without it the next run tries again.
                if finished and not any(status in FAILED for status in statuses):
                    video.close()
                else:
                    video.discard()
        finally:
            recording.close()
        if finished:
            counts = ", ".join(f"{n} {STATUS_WORDS[s].lower()}" for s, n in statuses.items())
            say(f"{job.name}: {sum(statuses.values())} frames: {counts}")
            self._ended(job, list(statuses), "; ".join(reasons))

    def _begin_video(self, job: Job, video: VideoSink) -> None:
        """Only now that there is a frame; without its overlay an earlier run is not complete."""
        video.open()
        try:
            (job.base / OVERLAY_VIDEO).unlink(missing_ok=True)
        except OSError as error:
            raise _cannot_replace(job, error) from error

    def _remove_earlier_run(self, job: Job, frame_count: int) -> None:
        """What was not written over: frames of a longer video, and pictures nobody asks for now.

        The overlay, which vouches for the whole folder, gets its name only after this.
        """
        try:
            for name in os.listdir(job.base):
                frame_id = frame_id_of(name)
                unasked = is_picture_name(name) and not self._options.png
                if frame_id is not None and (frame_id >= frame_count or unasked):
                    (job.base / name).unlink()
        except OSError as error:
            raise _cannot_replace(job, error) from error

    def _analyze_and_write(self, frame: Frame, job: Job, video: VideoSink | None = None) -> Result:
        analysis = self._analyzer.analyze(frame)
        drawn = self._draw(frame, analysis.result)
        shot = Shot(frame, analysis.result, analysis.mask, drawn)
        if video is None:
            write_still(job.base, shot)
        else:
            write_still(job.base / frame_name(frame.frame_id), shot, pictures=self._options.png)
            video.write(shot)
        return analysis.result

    def _ended(self, job: Job, statuses: list[Status], reasons: str) -> None:
        """Account for an input that was gone through; with several statuses the gravest counts."""
        order = list(OUTCOME_OF_STATUS)
        status = max(statuses, key=order.index)
        outcome = OUTCOME_OF_STATUS[status]
        if status not in _CODE_OF_STATUS and "ok" in statuses:
            outcome = Outcome.FOUND
        self._outcomes[outcome] += 1
        if status in _CODE_OF_STATUS:
            self._code = max(self._code, _CODE_OF_STATUS[status])
            complain(f"error: {job.name}: {STATUS_WORDS[status].lower()}: {reasons}")

    def _failed(self, error: Exception, name: str | None = None) -> None:
        self._outcomes[Outcome.FAILED] += 1
        if isinstance(error, DermedgeError):
            code, text = error.exit_code, str(error)
        else:
            code = EXIT_OTHER
            text = f"{name}: unforeseen {type(error).__name__}: {error}; run again with --debug"
        self._code = max(self._code, code)
        if self._options.debug:
            trace("".join(traceback.format_exception(type(error), error, error.__traceback__)))
        complain(f"error: {text}")


def _cannot_replace(job: Job, error: OSError) -> InputError:
    return InputError(
        f"to replace the results in {printable(job.base)}",
        got=error.strerror or str(error),
        next_step="check that folder",
    )
