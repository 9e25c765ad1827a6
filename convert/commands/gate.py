"""``dermedge-convert gate``: does an engine give the reference's answers?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click

from convert.candidates import DESK_BACKENDS, desk_candidates, identity_of, reference_engines
from convert.gate import run_gate
from convert.golden import GoldenFrames
from convert.verdict_report import report_verdict
from edge.commands.progress import Progress
from edge.compose import check_backend, tensorrt_engine
from edge.engine_card import EngineCard, GateVerdict, Part
from edge.engine_folder import ModelEngines, engines_root
from edge.engines.base import Engine
from models.errors import ModelRefusedError
from models.manifest import Pack, find_pack

PARTS: tuple[Part, ...] = ("segmenter", "classifier")


@click.command()
@click.argument("pack", metavar="PACK")
@click.option(
    "--backend",
    type=click.Choice(("tensorrt", *DESK_BACKENDS)),
    default="tensorrt",
    show_default=True,
    help="tensorrt judges the engines in use and writes the verdict into their cards; the others "
    "can be judged at a desk, and nothing is written.",
)
@click.option("--part", type=click.Choice(PARTS), help="One network only.")
@click.option(
    "--frames",
    type=click.Path(path_type=Path),
    help="Folder with pictures of your own, judged beside the phantoms.",
)
@click.option(
    "--engines",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the engines; by default $DERMEDGE_ENGINES or ~/.local/share/dermedge/engines.",
)
def gate(
    pack: str, backend: str, part: Part | None, frames: Path | None, engines: Path | None
) -> None:
    """Hold engines of PACK against ONNX Runtime in float32, on golden frames.

    Golden frames are 200 phantoms and, with --frames, pictures of your own. An engine passes when
    every limit of its manifest's [gate] holds; dermedge runs no TensorRT engine that did not.
    """
    found = find_pack(pack)
    golden = GoldenFrames(frames)
    parts = PARTS if part is None else (part,)
    if backend == "tensorrt":
        verdicts = _judge_engines(found, parts, golden, engines or engines_root())
    else:
        with desk_candidates(found, backend) as candidates:
            chosen = {name: candidates[name] for name in parts}
            verdicts = judge(found, chosen, golden)
            _print(chosen, verdicts)
    refuse(verdicts)


def judge(
    pack: Pack, candidates: Mapping[Part, Engine], golden: GoldenFrames
) -> dict[Part, GateVerdict]:
    """Run the gate with a progress bar.

    Raises:
        InputError: A golden frame cannot be read.
        ModelRefusedError: The reference cannot be prepared or gives no numbers.
    """
    with reference_engines(pack) as references, Progress(len(golden)) as progress:
        progress.doing("golden frames")
        return run_gate(pack, candidates, references, golden, progress.advance)


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


def _judge_engines(
    pack: Pack, parts: tuple[Part, ...], golden: GoldenFrames, root: Path
) -> dict[Part, GateVerdict]:
    """Judge the TensorRT engines in use, and write the verdicts into their cards."""
    with _opened(pack, parts, root) as opened:
        candidates = {part: engine for part, (_, engine) in opened.items()}
        verdicts = judge(pack, candidates, golden)
        _print(candidates, verdicts)
    for part, verdict in verdicts.items():
        card = opened[part][0].model_copy(update={"gate": verdict})
        _folder(pack, part, root).write_card(card)
    return verdicts


@contextmanager
def _opened(
    pack: Pack, parts: tuple[Part, ...], root: Path
) -> Iterator[dict[Part, tuple[EngineCard, Engine]]]:
    check_backend("tensorrt")
    with ExitStack() as stack:
        opened: dict[Part, tuple[EngineCard, Engine]] = {}
        for part in parts:
            folder = _folder(pack, part, root)
            card = folder.chosen()
            if card is None:
                raise ModelRefusedError(
                    f"an engine of the {part} in {folder.folder}",
                    got="none",
                    next_step="build it: dermedge-convert build PACK",
                )
            model = pack.segmenter if part == "segmenter" else pack.classifier
            engine = tensorrt_engine()(
                folder.check_content(card),
                card,
                identity_of(model, "tensorrt", card.precision),
                judged=False,
            )
            opened[part] = card, stack.enter_context(engine)
        yield opened


def _folder(pack: Pack, part: Part, root: Path) -> ModelEngines:
    model = pack.segmenter if part == "segmenter" else pack.classifier
    return ModelEngines(root, model.manifest.name, model.manifest.onnx.sha256)


def _print(candidates: Mapping[Part, Engine], verdicts: Mapping[Part, GateVerdict]) -> None:
    for part, verdict in verdicts.items():
        identity = candidates[part].identity
        title = f"{part} {identity.name} {identity.version}, {identity.backend} "
        click.echo(report_verdict(title + identity.precision, verdict))
