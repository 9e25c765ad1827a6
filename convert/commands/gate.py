"""``dermedge-convert gate``: does an engine give the reference's answers?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from convert.candidates import DESK_BACKENDS, desk_candidates
from convert.golden import GoldenFrames
from convert.judging import judge, judge_cards, refuse, verdict_of
from convert.verdict_report import report_verdict
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


def _judge_engines(
    pack: Pack, parts: tuple[Part, ...], golden: GoldenFrames, root: Path
) -> dict[Part, GateVerdict]:
    """Judge the TensorRT engines in use, and write the verdicts into their cards."""
    built: dict[Part, tuple[ModelEngines, EngineCard]] = {}
    for part in parts:
        folder = _folder(pack, part, root)
        card = folder.chosen()
        if card is None:
            raise ModelRefusedError(
                f"an engine of the {part} in {folder.folder}",
                got="none",
                next_step="build it: dermedge-convert build PACK",
            )
        built[part] = folder, card
    verdicts: dict[Part, GateVerdict] = {}
    for part, card in judge_cards(pack, built, golden).items():
        verdicts[part] = verdict_of(card)
        title = f"{part} {card.model.name} {card.model.version}, tensorrt {card.precision}"
        click.echo(report_verdict(title, verdicts[part]))
    return verdicts


def _folder(pack: Pack, part: Part, root: Path) -> ModelEngines:
    model = pack.segmenter if part == "segmenter" else pack.classifier
    return ModelEngines(root, model.manifest.name, model.manifest.onnx.sha256)


def _print(candidates: Mapping[Part, Engine], verdicts: Mapping[Part, GateVerdict]) -> None:
    for part, verdict in verdicts.items():
        identity = candidates[part].identity
        title = f"{part} {identity.name} {identity.version}, {identity.backend} "
        click.echo(report_verdict(title + identity.precision, verdict))
