"""From wanted engines to engines in use: kept, or checked, compiled, judged and chosen.

What is in use changes last, by one renamed file, and only to an engine that the gate has passed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import onnx

from convert.cache import prepared_path
from convert.calibrate import Calibration
from convert.engine_job import Choices, EngineJob
from convert.golden import GoldenFrames
from convert.judging import judge_cards, refuse, still_judged, verdict_of
from convert.kept_calibration import calibrations
from convert.loss_report import report_losses
from convert.verdict_report import report_verdict
from edge.commands.printing import say
from edge.engine_card import DeviceFacts, EngineCard, Part, Precision
from edge.errors import DermedgeError, InputError, ModelRefusedError, RequestError
from models.manifest import Model, Pack

BEST: tuple[Precision, ...] = ("int8", "fp16", "fp32")
"""What ``--precision best`` tries."""

_FIGURES = (
    ("dice_mean", "Dice {:.4f}"),
    ("top1_agreement", "same class {:.4f}"),
    ("probability_change_p99", "change of probability {:.4f}"),
    ("latency_ms_median", "{:.2f} ms"),
)


class EngineBuilder:
    """Builds engines of one pack for one device.

    Args:
        pack: Both networks.
        device: This device.
        choices: Of the user.
        golden: What engines are judged on.
        calibration: Folder of pictures for INT8, or ``None``.
        force: Build again where nothing has changed.
    """

    def __init__(
        self,
        pack: Pack,
        device: DeviceFacts,
        choices: Choices,
        golden: GoldenFrames,
        calibration: Path | None = None,
        force: bool = False,
    ) -> None:
        self._pack, self._device, self._choices = pack, device, choices
        self._golden, self._calibration, self._force = golden, calibration, force
        self._calibrations: dict[Part, Calibration] = {}

    def keep(self, parts: Sequence[Part], precision: Precision) -> None:
        """Put engines of one precision to use.

        Raises:
            RequestError: INT8 was asked for without pictures to calibrate on; no TensorRT here.
            ModelRefusedError: An engine did not pass; the others are in use.
            DermedgeError: As of :meth:`EngineJob.compile`.
        """
        if precision == "int8" and self._calibration is None:
            raise RequestError(
                "pictures to calibrate int8 on",
                got="none",
                next_step="name a folder of them with --calibration",
            )
        self._calibrate(parts, precision)
        jobs = [self._job(part, precision) for part in parts]
        cards = [self._kept(job) or self._made(job) for job in jobs]
        cards = self._judged(jobs, cards)
        for job, card in zip(jobs, cards, strict=True):
            if card.passed:
                self._choose(job, card)
        refuse({card.part: verdict_of(card) for card in cards})

    def are_in_use(self, parts: Sequence[Part], precision: Precision) -> bool:
        """Whether engines that :meth:`keep` would leave as they are are in use for every part.

        Raises:
            DermedgeError: As of :meth:`EngineJob.compile`.
        """
        return all(self._is_in_use(self._job(part, precision)) for part in parts)

    def keep_the_fastest(self, parts: Sequence[Part]) -> None:
        """Try every precision, and put the fastest engine of each part to use that passes.

        Raises:
            ModelRefusedError: No engine of a part passed; the others are in use.
            DermedgeError: As of :meth:`EngineJob.compile`.
        """
        tried: dict[Part, list[tuple[EngineJob, EngineCard]]] = {part: [] for part in parts}
        for precision in BEST:
            if precision == "int8" and self._calibration is None:
                say("int8        not tried: it needs pictures (--calibration DIR)")
                continue
            jobs, cards = self._as_far_as_possible(parts, precision)
            for job, card in zip(jobs, self._judged(jobs, cards), strict=True):
                tried[job.part].append((job, card))
        refused = []
        for part, found in tried.items():
            passed = [(job, card) for job, card in found if card.passed]
            for _, card in found:
                say(f"{part:<12}{card.precision}: {_outcome(card)}")
            if passed:
                self._choose(*min(passed, key=lambda pair: _latency_ms(pair[1])))
            else:
                refused.append(f"{part}: " + "; ".join(_outcome(card) for _, card in found))
        if refused:
            raise ModelRefusedError(
                "an engine of every part that passes the gate",
                got="; ".join(refused) or "none",
                next_step="see the figures above; the engines in use stay as they are",
            )

    # --- one engine -------------------------------------------------------------------------------

    def _job(self, part: Part, precision: Precision) -> EngineJob:
        model = _model(self._pack, part)
        calibration = self._calibrations[part] if precision == "int8" else None
        return EngineJob(part, model, precision, self._device, self._choices, calibration)

    def _is_in_use(self, job: EngineJob) -> bool:
        card = job.found()
        if card is None or not card.passed or not job.is_chosen(card):
            return False
        with suppress(ModelRefusedError):  # keep() says what is wrong with it, and builds it again
            job.engines.check_content(card)
            return still_judged(card, self._pack, self._golden)
        return False

    def _calibrate(self, parts: Sequence[Part], precision: Precision) -> None:
        if precision == "int8" and self._calibration is not None:
            found = calibrations(self._pack, parts, self._calibration, self._choices.root)
            self._calibrations.update(found)

    def _as_far_as_possible(
        self, parts: Sequence[Part], precision: Precision
    ) -> tuple[list[EngineJob], list[EngineCard]]:
        """Engines of a precision; where one cannot be had, another precision may."""
        jobs, cards = [], []
        for part in parts:
            try:
                self._calibrate((part,), precision)
                job = self._job(part, precision)
                card = self._kept(job) or self._made(job)
            except (RequestError, InputError):
                raise  # the next one would fail alike
            except DermedgeError as error:
                say(f"{part:<12}{precision}: none: {error}")
                continue
            jobs.append(job)
            cards.append(card)
        return jobs, cards

    def _kept(self, job: EngineJob) -> EngineCard | None:
        """The engine's card where it need not be built."""
        card = None if self._force else job.found()
        if card is None:
            return None
        try:
            job.engines.check_content(card)
        except ModelRefusedError as error:
            say(f"{job.part:<12}built again: {error}")
            return None
        if card.gate is not None and not still_judged(card, self._pack, self._golden):
            card = card.model_copy(update={"gate": None})
        judged = "" if card.gate is None else f", judged on {card.gate.frames} frames"
        say(
            f"{job.part:<12}{card.engine.file}: nothing has changed since {card.build.wall}{judged}"
        )
        if card.gate is not None and not card.passed:
            say(f"{'':<12}it did not pass the gate; --force builds it again")
        return card

    def _made(self, job: EngineJob) -> EngineCard:
        say(f"{job.part:<12}{job.title.partition(' ')[2]}")
        self._refuse_findings(job)
        if job.precision != "fp32":
            self._tell_losses(job)
        card = job.compile()
        build = card.build
        attempts = "" if build.attempts == 1 else f", in {build.attempts} attempts"
        size = card.engine.size_bytes / 2**20
        say(f"{'':<12}{card.engine.file}: built in {build.seconds:.0f} s{attempts}, {size:.1f} MiB")
        return card

    def _refuse_findings(self, job: EngineJob) -> None:
        findings = job.findings()
        for finding in findings:
            say(f"{'':<12}{finding}")
        errors = [finding for finding in findings if finding.severity == "error"]
        if errors:
            raise ModelRefusedError(
                f"a graph that TensorRT {self._device.tensorrt} compiles ({job.title})",
                got=f"{errors[0].node}: {errors[0].found}",
                next_step=errors[0].way_out,
            )

    def _tell_losses(self, job: EngineJob) -> None:
        prepared = onnx.load(prepared_path(job.model))
        graph = onnx.load_model_from_string(job.graph)
        say(f"{'':<12}{report_losses(self._pack, job.part, prepared, graph, self._golden)}")

    def _judged(self, jobs: Sequence[EngineJob], cards: Sequence[EngineCard]) -> list[EngineCard]:
        """The cards with a verdict; those that have one are left as they are."""
        pairs = list(zip(jobs, cards, strict=True))
        new = {job.part: (job.engines, card) for job, card in pairs if card.gate is None}
        judged = judge_cards(self._pack, new, self._golden) if new else {}
        for job in jobs:
            if job.part in judged:
                say(report_verdict(job.title, verdict_of(judged[job.part])))
        return [judged.get(job.part, card) for job, card in pairs]

    def _choose(self, job: EngineJob, card: EngineCard) -> None:
        if not job.is_chosen(card):
            job.engines.choose(card)
        say(f"{job.part:<12}{card.engine.file} is in use")


def _model(pack: Pack, part: Part) -> Model:
    return pack.segmenter if part == "segmenter" else pack.classifier


def _outcome(card: EngineCard) -> str:
    """What an engine lost, and its time."""
    verdict = verdict_of(card)
    figures: Mapping[str, float | None] = verdict.figures
    said = [words.format(figures[n]) for n, words in _FIGURES if figures.get(n) is not None]
    if not verdict.passed:
        said.insert(0, "refused: " + ", ".join(verdict.reasons))
    return ", ".join(said)


def _latency_ms(card: EngineCard) -> float:
    latency = verdict_of(card).figures.get("latency_ms_median")
    return math.inf if latency is None else latency
