"""``dermedge-convert inspect``: what engines there are, what each is, and where its layers run."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import click

from convert.build_process import engine_layers
from convert.card_report import report_card
from edge.engine_card import EngineCard, Part, read_card
from edge.engine_folder import ModelEngines, engines_root
from edge.errors import ModelRefusedError
from models.manifest import Model, find_pack

_ENGINE, _CARD = ".engine", ".card.json"


@click.command()
@click.argument("subject", metavar="PACK|ENGINE")
@click.option(
    "--engines",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the engines; by default $DERMEDGE_ENGINES or ~/.local/share/dermedge/engines.",
)
@click.option(
    "--layers", is_flag=True, help="Each layer, and whether it runs on the GPU or the DLA."
)
def inspect(subject: str, engines: Path | None, layers: bool) -> None:
    """Show the engines of a PACK, or one ENGINE by its file.

    Of a pack every engine is listed, the one in use with its whole card; damaged cards are named.
    The layers are asked of TensorRT, on the device that the engine was built for.
    """
    if subject.endswith((_ENGINE, _CARD)):
        _show(_card_of(Path(subject)), Path(subject).parent, layers)
        return
    found = find_pack(subject)
    root = engines or engines_root()
    parts: dict[Part, Model] = {"segmenter": found.segmenter, "classifier": found.classifier}
    for part, model in parts.items():
        _show_model(part, model, root, layers)


def _card_of(path: Path) -> EngineCard:
    """The card of an engine file, or of a card's own file.

    Raises:
        ModelRefusedError: It cannot be trusted, or is not that of this file.
    """
    name = path.name.removesuffix(_ENGINE).removesuffix(_CARD)
    card = read_card(path.with_name(name + _CARD))
    if card.engine.file != name + _ENGINE:
        raise ModelRefusedError(
            f"the card of {name + _ENGINE}",
            got=f"that of {card.engine.file}",
            next_step="build the engine again: dermedge-convert build PACK",
        )
    return card


def _show_model(part: Part, model: Model, root: Path, layers: bool) -> None:
    manifest = model.manifest
    engines = ModelEngines(root, manifest.name, manifest.onnx.sha256)
    click.echo(f"{part} {manifest.name} {manifest.version}: {engines.folder}")
    chosen, wrong = _chosen(engines)
    cards = list(engines.cards())
    for path, card in cards:
        if isinstance(card, ModelRefusedError):
            click.echo(f"    {path.name}: damaged: {card}")
        else:
            mark = "*" if chosen is not None and card.key == chosen.key else " "
            click.echo(f"  {mark} {card.engine.file}: {_state(card)}")
    if wrong is not None:
        click.echo(f"  the choice: damaged: {wrong}")
    elif chosen is not None:
        _show(chosen, engines.folder, layers)
    elif cards:
        click.echo("  none is in use")
    else:
        click.echo("  none; build one: dermedge-convert build PACK")


def _chosen(engines: ModelEngines) -> tuple[EngineCard | None, ModelRefusedError | None]:
    try:
        return engines.chosen(), None
    except ModelRefusedError as error:
        return None, error


def _state(card: EngineCard) -> str:
    if card.gate is None:
        return f"not judged, built {card.build.wall}"
    if not card.passed:
        return "refused: " + ", ".join(card.gate.reasons)
    return f"passed, built {card.build.wall}"


def _show(card: EngineCard, folder: Path, layers: bool) -> None:
    click.echo(report_card(card))
    if not layers:
        return
    path = folder / card.engine.file
    found = engine_layers(path)
    counts = Counter(_place(layer) for layer in found)
    where = ", ".join(f"{count} on the {place}" for place, count in counts.items())
    click.echo(f"  layers      {len(found)}: {where}")
    for layer in found:
        click.echo(f"    {_place(layer):<4} {_words(layer)}")


def _place(layer: dict[str, Any]) -> str:
    # What the DLA runs is one layer of that type; everything else runs on the GPU.
    return "DLA" if str(layer.get("LayerType", "")).upper().startswith("DLA") else "GPU"


def _words(layer: dict[str, Any]) -> str:
    words = [str(layer.get("Name", "?")), str(layer.get("LayerType", ""))]
    words.append(str(layer.get("TacticName", "")))
    return "  ".join(" ".join(part.split()) for part in words if part)
