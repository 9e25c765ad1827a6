"""``dermedge-models export``: checkpoints of a training become a pack.

Both networks leave torch as plain ONNX: opset 17, IR version 8, float32, NCHW, open batch. The
normalisation after a convolution is folded into it; the one behind an ELU (inside the U-Net's
blocks) stays, since the zeros around the picture are added after it. No file leaves before ONNX
Runtime has given the same numbers as torch.
"""

from __future__ import annotations

import hashlib
import io
import json
import warnings
from pathlib import Path
from pickle import UnpicklingError

import click
import numpy as np
import onnx
import torch
from torch import nn

from models.card import write_pack
from models.data import LABELS, classifier_input, network_input, phantom_examples
from models.efficientnet.net import EfficientNet
from models.efficientnet.train import SIZE as CLASSIFIER_SIZE
from models.errors import InputError, ModelRefusedError
from models.offline import onnx_runtime
from models.unet.net import ResidualUNet
from models.unet.train import SIZE as SEGMENTER_SIZE
from models.whole_file import write_whole

OPSET = 17
NEWEST_OPSET, NEWEST_IR = 19, 10
"""Newest versions that every runtime of the project reads (ONNX Runtime 1.23, TensorRT 10.3)."""

PARITY_TOLERANCE = 1e-3
"""Largest difference of a logit between torch and ONNX Runtime, relative to the largest logit."""

INPUT_NAME, OUTPUT_NAME = "image", "logits"


def to_onnx(net: nn.Module, example: np.ndarray) -> bytes:
    """A network as ONNX with one input ``image`` and one output ``logits``, batch open.

    Args:
        net: Takes one float32 tensor.
        example: float32 [N, C, H, W]; channels and size become fixed.

    Raises:
        ModelRefusedError: The exporter of this torch writes a newer format than devices read.
    """
    net = net.eval()
    buffer = io.BytesIO()
    axes = {INPUT_NAME: {0: "N"}, OUTPUT_NAME: {0: "N"}}
    with warnings.catch_warnings():
        # Torch would rather use its newer exporter, which wants one more package and writes
        # a newer opset than devices read.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net,
            (torch.from_numpy(example[:1]),),
            buffer,
            input_names=[INPUT_NAME],
            output_names=[OUTPUT_NAME],
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
    model = onnx.load_from_string(buffer.getvalue())
    _forget_shared_constants(model.graph)
    opset = max(entry.version for entry in model.opset_import)
    if opset > NEWEST_OPSET or model.ir_version > NEWEST_IR:
        raise ModelRefusedError(
            f"opset at most {NEWEST_OPSET} and IR version at most {NEWEST_IR}",
            got=f"opset {opset}, IR version {model.ir_version}",
            next_step="export with the torch that constraints.txt names",
        )
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


def parity(net: nn.Module, content: bytes, example: np.ndarray) -> float:
    """Compare torch with ONNX Runtime, for a batch and for a single picture.

    Args:
        net: The network that ``content`` was exported from.
        content: ONNX file.
        example: float32 [N, C, H, W], N at least 2.

    Returns:
        The largest absolute difference of a logit.

    Raises:
        ModelRefusedError: It is more than :data:`PARITY_TOLERANCE` of the largest logit.
    """
    session = onnx_runtime().InferenceSession(content, providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        wanted = net.eval()(torch.from_numpy(example)).numpy()
    worst = 0.0
    for part in (slice(None), slice(0, 1)):
        got = session.run([OUTPUT_NAME], {INPUT_NAME: example[part]})[0]
        worst = max(worst, float(np.abs(got - wanted[part]).max()))
    if not worst <= PARITY_TOLERANCE * max(1.0, float(np.abs(wanted).max())):
        raise ModelRefusedError(
            f"ONNX Runtime within {PARITY_TOLERANCE} of torch, relative to the largest logit",
            got=f"a difference of {worst:.2g}",
            next_step="export with the torch and onnxruntime that constraints.txt names",
        )
    return worst


def load_checkpoint(folder: Path, name: str) -> dict:
    """Read ``NAME.pt`` as :mod:`models.train` writes it (weights only, nothing is executed).

    Raises:
        InputError: It is missing or is no checkpoint.
    """
    path = folder / f"{name}.pt"
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, UnpicklingError) as error:
        raise InputError(
            f"the checkpoint {path}",
            got=str(error).splitlines()[0],
            next_step="make it with: dermedge-models train DATA --out DIR",
        ) from error


def load_log(folder: Path, name: str) -> list[dict]:
    """Read ``NAME.jsonl``, the log beside a checkpoint.

    Raises:
        InputError: It is missing, is no such log, or does not end with the end of a training.
    """
    path = folder / f"{name}.jsonl"
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        complete = lines[-1]["event"] == f"{name} done"
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise InputError(
            f"the log {path}",
            got=str(error),
            next_step="export the folder that 'dermedge-models train' wrote",
        ) from error
    if not complete:
        raise InputError(
            f"{path} to end with the event '{name} done'",
            got=repr(lines[-1]["event"]),
            next_step="wait for the training to end, or train again",
        )
    return lines


def export(
    checkpoints: Path, out: Path, version: str, figures: Path | None, notes: Path | None
) -> None:
    """Write both ONNX files, manifests, ``pack.toml``, ``CARD.md`` and the trainings' logs.

    Args:
        checkpoints: Folder of a training.
        out: Folder of the pack; files in it are replaced.
        version: Of the pack and both models.
        figures: What ``dermedge-models evaluate PACK DATA --json FILE`` measured, for the card.
        notes: Markdown for the card: what a person saw in the overlays.

    Raises:
        InputError: A checkpoint or its log is missing.
        ModelRefusedError: ONNX Runtime does not compute what torch computes.
    """
    names = ("segmenter", "classifier")
    found = {name: load_checkpoint(checkpoints, name) for name in names}
    logs = {name: load_log(checkpoints, name) for name in names}
    segmenter = ResidualUNet()
    segmenter.load_state_dict(found["segmenter"]["state"])
    classifier = EfficientNet(len(LABELS))
    classifier.load_state_dict(found["classifier"]["state"])
    pictures = np.stack([example.pixels for example in phantom_examples(11, 3)])
    crops = pictures[:, 40 : 40 + CLASSIFIER_SIZE, 40 : 40 + CLASSIFIER_SIZE]
    out.mkdir(parents=True, exist_ok=True)
    hashes = {}
    for name, net, example in (
        ("segmenter", segmenter, network_input(pictures)),
        ("classifier", classifier, classifier_input(crops)),
    ):
        content = to_onnx(net, example)
        difference = parity(net, content, example)
        write_whole(out / f"{name}.onnx", content)
        hashes[name] = hashlib.sha256(content).hexdigest()
        click.echo(
            f"{name}.onnx: {len(content):,} bytes; largest difference of a logit between torch "
            f"and ONNX Runtime {difference:.2g}"
        )
        log = (checkpoints / f"{name}.jsonl").read_bytes()
        write_whole(out / f"{name}.jsonl", log)
    write_pack(
        out,
        version=version,
        checkpoints=found,
        hashes=hashes,
        sizes={"segmenter": SEGMENTER_SIZE, "classifier": CLASSIFIER_SIZE},
        logs=logs,
        figures=figures,
        notes=notes.read_text(encoding="utf-8") if notes else "",
    )


def _forget_shared_constants(graph: onnx.GraphProto) -> None:
    """Remove the Identity nodes with which the exporter shares equal constants."""
    constants = {tensor.name for tensor in graph.initializer}
    shared = {
        n.output[0]: n.input[0]
        for n in graph.node
        if n.op_type == "Identity" and n.input[0] in constants
    }
    kept = [n for n in graph.node if not (n.op_type == "Identity" and n.output[0] in shared)]
    for node in kept:
        for index, name in enumerate(node.input):
            node.input[index] = shared.get(name, name)
    del graph.node[:]
    graph.node.extend(kept)


EXISTING = click.Path(path_type=Path, dir_okay=False, exists=True)


@click.command("export")
@click.argument("checkpoints", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder of the pack.",
)
@click.option("--version", default="1", show_default=True, help="Version of pack and models.")
@click.option("--figures", type=EXISTING, help="What 'evaluate --json FILE' wrote, for the card.")
@click.option(
    "--notes", type=EXISTING, help="Markdown for the card: what a person saw in the overlays."
)
def command(
    checkpoints: Path, out: Path, version: str, figures: Path | None, notes: Path | None
) -> None:
    """Write the checkpoints that 'train' left in the folder CHECKPOINTS as a pack."""
    export(checkpoints, out, version, figures, notes)
