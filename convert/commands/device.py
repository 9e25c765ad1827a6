"""``dermedge-convert device``: what the configured pack needs on this device, for its unit."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import cast, get_args

import click

from convert.attempts import MOST, Attempts, key_of
from convert.build_lock import only_builder
from convert.build_process import device_at_hand
from convert.engine_builder import EngineBuilder
from convert.engine_job import Choices
from convert.golden import GoldenFrames
from edge.config import load_config
from edge.engine_card import Part, Precision
from edge.engine_folder import engines_root
from edge.errors import DermedgeError, ModelRefusedError
from edge.service.changes import signature
from models.manifest import find_pack

_PARTS: tuple[Part, ...] = get_args(Part)


@click.command()
@click.option(
    "--config",
    "config_path",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="The configuration of the camera loop.",
)
@click.option(
    "--precision",
    type=click.Choice(("fp16", "fp32")),
    default="fp16",
    show_default=True,
    help="Of the engines.",
)
def device(config_path: Path, precision: str) -> None:
    """Build the engines that the configured pack lacks on this device.

    For a unit that starts with the machine: where there is nothing to build it says so and is
    done. A build that did not come to its end three times is not tried again by itself, until
    pack, device or software change, or dermedge service build asks for it.
    """
    while True:
        before, failure = signature([config_path]), None
        try:
            _build_for(config_path, cast(Precision, precision))
        except DermedgeError as error:
            failure = error
        # A path unit does not see a change while this runs, which may be for minutes.
        if signature([config_path]) == before:
            break
        if failure is not None:
            click.echo(str(failure), err=True)
        click.echo("the configuration has changed meanwhile: it is read again")
    if failure is not None:
        raise failure


def _build_for(config_path: Path, precision: Precision) -> None:
    """Build what is missing for one state of the configuration."""
    config = load_config(config_path)
    if config.model.backend not in ("auto", "tensorrt"):
        click.echo(f"nothing to build: the backend is {config.model.backend}")
        return
    if config.model.backend == "auto" and importlib.util.find_spec("tensorrt") is None:
        click.echo("nothing to build: no TensorRT here, the CPU computes")
        return
    pack, root, facts = find_pack(config.model.pack), engines_root(), device_at_hand()
    builder = EngineBuilder(pack, facts, Choices(root, 3, None), GoldenFrames(None))
    # Before anything is counted: a power cut at every start would else spend the attempts.
    if builder.are_in_use(_PARTS, precision):
        click.echo("nothing to build: the engines of this device are in use")
        return
    attempts = Attempts(root, key_of(pack, facts, precision))
    if attempts.count >= MOST:
        raise ModelRefusedError(
            f"a build of {pack.name} that comes to its end",
            got=f"{attempts.count} that did not, with the same models, device and software",
            next_step="sudo dermedge service build, once it has what it lacked",
        )
    with only_builder(root):
        number = attempts.begin()
        click.echo(f"attempt {number} of at most {MOST}")
        try:
            builder.keep(_PARTS, precision)
        except (KeyboardInterrupt, SystemExit):
            attempts.asked_to_end()
            raise
        attempts.succeeded()
