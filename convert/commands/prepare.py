"""``dermedge-convert prepare``: the prepared graphs of a pack, as files."""

from __future__ import annotations

import hashlib
from pathlib import Path

import click
import onnx

from convert.description import describe
from convert.prepare import prepare_model
from models.errors import InputError
from models.manifest import Model, find_pack
from models.whole_file import write_whole


@click.command()
@click.argument("pack", metavar="PACK")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("out/prepared"),
    show_default=True,
    help="Folder for the prepared ONNX files; made where it is missing.",
)
def prepare(pack: str, out: Path) -> None:
    """Write the graphs that engines run: uint8 RGB pictures in, probabilities out.

    PACK is the name of a released pack or the folder of your own. Each graph holds the pigment
    separation, scaling, layout and activation that its manifest describes, was run in ONNX
    Runtime, and is what a device's compiler takes.
    """
    found = find_pack(pack)
    models = (found.segmenter, found.classifier)
    # Both first: half a pack on disk is of no use.
    graphs = [(model, prepare_model(model.read_onnx(), model.manifest)) for model in models]
    for part, (model, graph) in zip(("segmenter", "classifier"), graphs, strict=True):
        path = out / f"{part}.prepared.onnx"
        content = graph.SerializeToString(deterministic=True)
        _write(path, content)
        click.echo(_summary(model, graph, path, content))


def _summary(model: Model, graph: onnx.ModelProto, path: Path, content: bytes) -> str:
    facts = describe(graph)
    manifest = model.manifest
    width, height = manifest.size_wh
    batch = "N" if facts.batch is None else str(facts.batch)
    shape = f"{batch},{height},{width}"
    if manifest.task == "classification":
        shape = f"{batch},{len(manifest.output.labels)}"
    lines = [
        f"{path}",
        f"  model      {manifest.name} {manifest.version} ({manifest.task}), {facts.precision}",
        f"  sha256     {hashlib.sha256(content).hexdigest()}, from {facts.model_sha256}",
        f"  input      rgb uint8 [{batch},{height},{width},3]",
        f"  output     {facts.output} float32 [{shape}]",
        f"  opset      {facts.opset}, IR {graph.ir_version}",
        "  batch      " + (f"1: {facts.batch_reason}" if facts.batch_reason else "any"),
    ]
    return "\n".join(lines)


def _write(path: Path, content: bytes) -> None:
    try:
        write_whole(path, content)
    except OSError as error:
        raise InputError(
            f"to write {path}",
            got=error.strerror or str(error),
            next_step="give another folder with --out",
        ) from error
