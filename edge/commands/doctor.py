"""``dermedge doctor``: what is here, what is missing, and what to type."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import click

from edge.doctor.line import Line

SCHEMA = "dermedge.doctor/1"
PROBLEM_EXIT = 2


@click.command()
@click.option("--pack", help="Pack by name or folder; by default the configured one.")
@click.option(
    "--config",
    "config_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Configuration to look at; by default the service's, where there is one.",
)
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object instead of lines.")
@click.option(
    "--service",
    is_flag=True,
    help="Look with the account, rights and environment of dermedge.service (as root).",
)
def doctor(pack: str | None, config_path: Path | None, as_json: bool, service: bool) -> int:
    """Look at everything that dermedge stands on: one line for each thing.

    Nothing is changed but the cache of prepared graphs, and no network is used. Exit code 2 where
    a line says "problem".
    """
    if service:
        from edge.doctor.inside import look_inside

        chosen = ["--pack", pack] if pack else []
        chosen += ["--config", str(config_path)] if config_path else []
        return look_inside([*chosen, *(["--json"] if as_json else [])])
    logging.getLogger().addHandler(logging.NullHandler())  # what is wrong has a line of its own
    lines = []
    for line in _examine(pack, config_path):
        if not as_json:
            click.echo(str(line))
        lines.append(line)
    problems = sum(line.state == "problem" for line in lines)
    if as_json:
        content = {
            "schema": SCHEMA,
            "problems": problems,
            "lines": [line.to_json_dict() for line in lines],
        }
        click.echo(json.dumps(content, ensure_ascii=False, indent=1))
    else:
        click.echo("no problem found" if not problems else f"problems: {problems}")
    return PROBLEM_EXIT if problems else 0


def _examine(pack: str | None, config_path: Path | None) -> Iterator[Line]:
    # Imported here: --help needs none of it.
    from edge.config import Config
    from edge.doctor import basis, configuration, device

    line, config = configuration.examine(config_path)
    yield from basis.examine(pack or (config or Config()).model.pack)
    yield line
    yield from device.examine(config)
