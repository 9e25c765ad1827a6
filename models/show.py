"""``dermedge-models list`` and ``show``: what a pack is, does and must not do. Needs no torch."""

from __future__ import annotations

import click

from models.errors import ManifestError
from models.manifest import Manifest, Model, find_pack, load_pack, released_packs_folder


@click.command("list")
def list_command() -> None:
    """List the packs that come with the program, one per line."""
    for path in sorted(released_packs_folder().glob("*/pack.toml")):
        pack = load_pack(path.parent)
        absent = [
            m.manifest.onnx.file
            for m in (pack.segmenter, pack.classifier)
            if not m.onnx_path.is_file()
        ]
        state = f"template, without {' and '.join(absent)}" if absent else "complete"
        click.echo(f"{pack.name}  {pack.version}  {state}  {pack.summary}")


@click.command("show")
@click.argument("pack")
def show_command(pack: str) -> None:
    """Show what the pack PACK (a name or a folder) is for, made from, good at and bad at."""
    found = find_pack(pack)
    click.echo(f"{found.name} {found.version}: {found.summary}")
    click.echo(f"folder: {found.folder}")
    for model in (found.segmenter, found.classifier):
        click.echo("")
        click.echo("\n".join(_lines(model)))


def _lines(model: Model) -> list[str]:
    manifest = model.manifest
    lines = [
        f"{manifest.task}: {manifest.name} {manifest.version}"
        + ("" if manifest.validated else " (unvalidated)"),
        f"  file: {manifest.onnx.file}, {_state(model)}",
        f"  trained for: {', '.join(manifest.domain)} pictures; lesions: {manifest.lesions}",
        f"  input: {_inputs(manifest)}; fitted by {manifest.resize.fit}",
    ]
    if manifest.output.labels:
        mark = "" if manifest.validated else " (unvalidated)"
        lines.append("  labels:")
        lines += [
            f"    {label}: {manifest.label_text.get(label, label)}{mark}"
            for label in manifest.output.labels
        ]
    if manifest.output.threshold is not None:
        lines.append(f"  threshold: {manifest.output.threshold:g}")
    if manifest.decision is not None:
        lines.append(
            f"  temperature {manifest.decision.temperature:g}; no class is named below "
            f"{manifest.decision.abstain_below:.0%}"
        )
    card = manifest.card
    lines += [f"  {card.summary}", f"  intended use: {card.intended_use}"]
    for title, items in (
        ("limits", card.limits),
        ("figures", card.metrics),
        ("data", card.data),
        ("licences", card.licences),
    ):
        lines += [f"  {title}:"] * bool(items)
        lines += [f"    - {item}" for item in items]
    return lines


def _inputs(manifest: Manifest) -> str:
    width, height = manifest.size_wh
    tensors = [f"{'+'.join(tensor.roles)} {tensor.layout}" for tensor in manifest.inputs]
    return f"{width}x{height}, {', '.join(tensors)}"


def _state(model: Model) -> str:
    if not model.onnx_path.is_file():
        return "missing (a template: see its README.md)"
    try:
        content = model.read_onnx()
    except ManifestError as error:
        return f"refused: {error}"
    return f"{len(content):,} bytes, hash as written"
