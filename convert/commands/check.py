"""``dermedge-convert check``: would a device's TensorRT take this pack?"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import get_args

import click

from convert.check import check_model
from convert.commands.calibrating import calibrated
from convert.targets import DEFAULT_TARGET, find_target
from edge.engine_card import Part, Precision
from models.errors import ModelRefusedError, RequestError
from models.manifest import Model, find_pack


@click.command()
@click.argument("pack", metavar="PACK")
@click.option(
    "--target",
    metavar="NAME",
    help="The device: its JetPack (jetpack-6.2) or its TensorRT (tensorrt-10.3).  "
    f"[default: {DEFAULT_TARGET}]",
)
@click.option(
    "--precision",
    type=click.Choice(get_args(Precision)),
    default="fp32",
    show_default=True,
    help="Of the graphs that the device would compile.",
)
@click.option(
    "--calibration",
    type=click.Path(path_type=Path),
    help="Folder of real pictures, for --precision int8.",
)
def check(pack: str, target: str | None, precision: Precision, calibration: Path | None) -> int:
    """Say what a device would refuse, before any device is touched.

    PACK is the name of a released pack or the folder of your own. Both networks are checked
    against their manifests, and the graphs that the device compiles against what its TensorRT
    reads: one line for each finding, with the node and the way out. Exit code 4 if one of them
    is an error.
    """
    device = find_target(target or DEFAULT_TARGET)
    found = find_pack(pack)
    parts: dict[Part, Model] = {"segmenter": found.segmenter, "classifier": found.classifier}
    made = {}
    if precision == "int8":
        if calibration is None:
            raise RequestError(
                "--calibration FOLDER with --precision int8",
                got="none",
                next_step="name a folder of real pictures; random ones do not exist",
            )
        made = calibrated(found, calibration)
    findings = {
        part: check_model(
            model, device, precision, made[part].ranges if precision == "int8" else None
        )
        for part, model in parts.items()
    }
    release = "" if device.name.startswith("TensorRT") else f", TensorRT {device.tensorrt}"
    default = "" if target else " (the default; another one: --target NAME)"
    click.echo(f"target     {device.name}{release}{default}")
    click.echo(f"operators  {device.table}")
    for part, model in parts.items():
        click.echo(f"{part:<11}{model.manifest.name} {model.manifest.version}, {precision}")
        for finding in findings[part]:
            click.echo(f"  {finding}")
    count = Counter(finding.severity for of_part in findings.values() for finding in of_part)
    click.echo(f"{_counted(count['error'], 'error')}, {_counted(count['warning'], 'warning')}")
    return ModelRefusedError.exit_code if count["error"] else 0


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
