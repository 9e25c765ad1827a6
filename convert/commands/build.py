"""``dermedge-convert build``: engines for this device, proven before they are used."""

from __future__ import annotations

from pathlib import Path
from typing import cast, get_args

import click

from convert.build_lock import only_builder
from convert.build_process import device_at_hand
from convert.card_report import words_of
from convert.engine_builder import EngineBuilder
from convert.engine_job import Choices
from convert.golden import GoldenFrames
from edge.engine_card import DeviceFacts, Part, Precision
from edge.engine_folder import engines_root
from models.manifest import find_pack

PARTS: tuple[Part, ...] = get_args(Part)


@click.command()
@click.argument("pack", metavar="PACK")
@click.option(
    "--precision",
    type=click.Choice((*get_args(Precision), "best")),
    default="fp16",
    show_default=True,
    help="best tries int8 (with --calibration), fp16 and fp32 and keeps the fastest that passes.",
)
@click.option("--part", type=click.Choice(PARTS), help="One network only.")
@click.option(
    "--calibration",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of pictures like those of your camera, from which int8 takes its ranges.",
)
@click.option(
    "--frames",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder with pictures of your own, judged beside the phantoms.",
)
@click.option(
    "--engines",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the engines; by default $DERMEDGE_ENGINES or ~/.local/share/dermedge/engines.",
)
@click.option(
    "--optimization-level",
    type=click.IntRange(0, 5),
    default=3,
    show_default=True,
    help="TensorRT's: higher ones try more and take longer.",
)
@click.option(
    "--workspace-mib",
    type=click.IntRange(min=1),
    help="Scratch memory that a layer may use; by default the free memory decides.",
)
@click.option("--force", is_flag=True, help="Build again even where nothing has changed.")
def build(
    pack: str,
    precision: str,
    part: Part | None,
    calibration: Path | None,
    frames: Path | None,
    engines: Path | None,
    optimization_level: int,
    workspace_mib: int | None,
    force: bool,
) -> None:
    """Build engines of PACK for this device, and put those to use that pass the gate.

    Every engine is held against ONNX Runtime in float32 on golden frames. One that does not pass
    is not used, and the engine that was in use stays so: exit code 4, with the reasons. Where
    nothing has changed since the last build, nothing is done.
    """
    found = find_pack(pack)
    golden = GoldenFrames(frames)
    choices = Choices(engines or engines_root(), optimization_level, workspace_mib)
    device = device_at_hand()
    _tell(device)
    builder = EngineBuilder(found, device, choices, golden, calibration, force)
    parts = PARTS if part is None else (part,)
    with only_builder(choices.root):
        if precision == "best":
            builder.keep_the_fastest(parts)
        else:
            builder.keep(parts, cast(Precision, precision))


def _tell(device: DeviceFacts) -> None:
    click.echo(f"{'device':<12}{words_of(device)}")
