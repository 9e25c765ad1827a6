"""Engines before the gate: opened, timed both ways to and from the GPU, judged, cards written."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack

from convert.candidates import identity_of, reference_engines
from convert.gate import run_gate
from convert.golden import FrameHash, GoldenFrames
from convert.verdict import refused
from edge.commands.printing import complain
from edge.commands.progress import Progress
from edge.compose import check_backend, tensorrt_engine
from edge.engine_card import EngineCard, GateVerdict, Part, judged_under
from edge.engine_folder import ModelEngines
from edge.engines.base import Engine
from edge.engines.gpu_thread import GpuThread
from models.errors import ModelRefusedError
from models.manifest import Pack


def judge(
    pack: Pack, candidates: Mapping[Part, Engine], golden: GoldenFrames
) -> dict[Part, GateVerdict]:
    """Run the gate with a progress bar.

    Raises:
        InputError: A golden frame cannot be read.
        ModelRefusedError: The reference cannot be prepared or gives no numbers.
    """
    basis = {"judged_under": judged_under(pack), "golden_key": golden.key}
    complain(f"judging on {len(golden)} golden frames; without a GPU that takes minutes")
    with reference_engines(pack) as references, Progress(len(golden)) as progress:
        progress.doing("golden frames")
        verdicts = run_gate(pack, candidates, references, golden, progress.advance)
    return {part: verdict.model_copy(update=basis) for part, verdict in verdicts.items()}


def still_judged(card: EngineCard, pack: Pack, golden: GoldenFrames) -> bool:
    """Whether a card's verdict was given under these manifests and on these frames."""
    verdict = card.gate
    return (
        verdict is not None
        and verdict.judged_under == judged_under(pack)
        and verdict.golden_key == golden.key
    )


def judge_cards(
    pack: Pack, built: Mapping[Part, tuple[ModelEngines, EngineCard]], golden: GoldenFrames
) -> dict[Part, EngineCard]:
    """Judge TensorRT engines, and write into their cards what was found.

    Mapped and staged memory are measured first, so that what is judged runs as it will in use.

    Args:
        pack: Manifests of both networks.
        built: For each part its folder, and the card of the engine to judge.
        golden: What they are judged on.

    Returns:
        The new cards, as they are on the disk.

    Raises:
        ModelRefusedError: An engine cannot be opened here, or as of :func:`judge`.
        InputError: As of :func:`judge`; or a card cannot be written.
        RequestError: TensorRT or a binding to CUDA is not installed, or does not load.
    """
    check_backend("tensorrt")
    open_engine = tensorrt_engine()
    with ExitStack() as stack:
        gpu = stack.enter_context(GpuThread())
        candidates: dict[Part, Engine] = {}
        transfers = {}
        verdicts: dict[Part, GateVerdict] = {}
        for part, (engines, card) in built.items():
            model = pack.segmenter if part == "segmenter" else pack.classifier
            identity = identity_of(model, "tensorrt", card.precision)
            path = engines.check_content(card)
            try:
                engine = open_engine(path, card, identity, gpu=gpu, judged=False)
                candidates[part] = stack.enter_context(engine)
                transfers[part] = engine.measure_transfer()
            except ModelRefusedError as error:
                # The other part, and another precision, may do.
                candidates.pop(part, None)
                verdicts[part] = _does_not_run(error, pack, golden)
        if candidates:
            verdicts.update(judge(pack, candidates, golden))
    judged: dict[Part, EngineCard] = {}
    for part, verdict in verdicts.items():
        engines, card = built[part]
        found = {"gate": verdict, "transfer": transfers.get(part, {})}
        judged[part] = card.model_copy(update=found)
        engines.write_card(judged[part])
    return judged


def _does_not_run(error: ModelRefusedError, pack: Pack, golden: GoldenFrames) -> GateVerdict:
    verdict = refused(f"it does not run here: {error.got}", 0, FrameHash().hexdigest(), {})
    basis = {"judged_under": judged_under(pack), "golden_key": golden.key}
    return verdict.model_copy(update=basis)


def verdict_of(card: EngineCard) -> GateVerdict:
    """The verdict of a card that was judged."""
    assert card.gate is not None
    return card.gate


def refuse(verdicts: Mapping[Part, GateVerdict]) -> None:
    """Stop with exit code 4 where an engine did not pass.

    Raises:
        ModelRefusedError: With the reasons of every part that failed.
    """
    failed = [
        f"{part}: {', '.join(verdict.reasons)}"
        for part, verdict in verdicts.items()
        if not verdict.passed
    ]
    if failed:
        raise ModelRefusedError(
            "an engine that gives the reference's answers",
            got="; ".join(failed),
            next_step="build it again, or with another --precision: dermedge-convert build PACK",
        )
