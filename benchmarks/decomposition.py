"""What the pigment images inside the graph cost: ``python -m benchmarks.decomposition [--check]``.

The prepared segmenter at 304x304, as the CPU engines get it, against the same graph whose network
is fed the RGB planes three times instead of RGB, hemoglobin and melanin image: cast, layout,
scaling and stacking stay, optical density and separation go. Both run in turns in the engine of
the product; the cost is the median over the rounds of one time over the other, minus one, by the
clock and in CPU time of all threads. Only the latter holds on a busy machine, and it is what
``--check`` looks at. The pack's own segmenter is measured where there is one, else the paper's
U-Net with random weights: what a network costs does not depend on what it has learnt.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from numpy import median
from numpy.typing import NDArray

from benchmarks.paper_unet import SIDE_PX, paper_unet
from convert.prepare import faster_on_cpu, prepare_model
from convert.rewrites import prune
from edge.engines.base import Engine, EngineIdentity
from edge.engines.onnx import OnnxEngine
from edge.errors import ManifestError, RequestError
from models.manifest import Manifest, find_pack

LIMIT = 0.10
"""Largest share of the segmenter's own time that the decomposition may add."""

Times = NDArray[np.float64]

PIGMENT_IMAGES = "dermedge/pigment/image"
"""The tensor that `convert.pigment_graph` ends in."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pack", default="reference")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--check", action="store_true", help="fail above the limit")
    arguments = parser.parse_args()
    name, content, manifest = segmenter(arguments.pack)
    prepared = prepare_model(content, manifest)
    print(f"{name}, {arguments.rounds} rounds")
    print(f"  {'':20} {'with ms':>8} {'without':>8} {'cost':>7} {'CPU':>7}   limit {LIMIT:.0%}")
    costs = {}
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / "with.onnx", Path(folder) / "without.onnx"]
        for path, model in zip(paths, (prepared, without_decomposition(prepared)), strict=True):
            onnx.save(faster_on_cpu(model), path)
        for label, pair in engine_pairs(paths):
            walls, cpus = race(pair, arguments.rounds)
            cost = median(walls[0] / walls[1]) - 1
            costs[label] = median(cpus[0] / cpus[1]) - 1
            print(
                f"  {label:20} {median(walls[0]):8.2f} {median(walls[1]):8.2f} {cost:7.1%} "
                f"{costs[label]:7.1%}"
            )
    if arguments.check and max(costs.values()) > LIMIT:
        print(f"expected at most {LIMIT:.0%}; got {max(costs.values()):.1%}")
        return 1
    return 0


def segmenter(pack: str) -> tuple[str, bytes, Manifest]:
    """What to measure: name, ONNX file, manifest."""
    try:
        model = find_pack(pack).segmenter
    except (ManifestError, RequestError):
        content = paper_unet().SerializeToString()
        return "the paper's U-Net, random weights", content, paper_manifest(content)
    return f"segmenter of the pack {pack}", model.read_onnx(), model.manifest


def paper_manifest(content: bytes) -> Manifest:
    """How `benchmarks.paper_unet` wants its input."""
    return Manifest.model_validate(
        {
            "schema": "dermedge.model/1",
            "name": "paper-unet",
            "version": "1",
            "task": "segmentation",
            "domain": ["clinical"],
            "lesions": "both",
            "validated": False,
            "onnx": {"file": "unet.onnx", "sha256": hashlib.sha256(content).hexdigest()},
            "inputs": [
                {
                    "name": "planes",
                    "roles": ["rgb", "hemoglobin", "melanin"],
                    "layout": "NCHW",
                    "size_wh": [SIDE_PX, SIDE_PX],
                    "scale": 1.0 / 255.0,
                }
            ],
            "output": {
                "name": "probability",
                "layout": "NCHW",
                "activation": "sigmoid",
                "threshold": 0.5,
            },
            "regions": {"min_area_fraction": 0.001},
            "resize": {"fit": "letterbox"},
            "card": {"summary": "Random weights.", "intended_use": "Timing."},
        }
    )


def without_decomposition(prepared: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with the RGB planes where the two pigment images were."""
    model = onnx.ModelProto()
    model.CopyFrom(prepared)
    graph = model.graph
    (stack,) = [node for node in graph.node if PIGMENT_IMAGES in node.input]
    assert list(stack.input)[1:] == [PIGMENT_IMAGES], "RGB first, then both pigment images"
    stack.input[:] = [stack.input[0]] * 3
    prune(graph)
    return model


def engine_pairs(paths: list[Path]) -> Iterator[tuple[str, list[Engine]]]:
    """Every CPU engine that is installed, with one thread and with two."""
    engines: dict[str, type] = {"onnx": OnnxEngine}
    if importlib.util.find_spec("openvino"):
        from edge.engines.openvino import OpenVinoEngine

        engines["openvino"] = OpenVinoEngine
    for backend, engine in engines.items():
        identity = EngineIdentity("paper-unet", "1", backend, "fp32", "0" * 64)
        for threads in (1, 2):
            pair = [engine(path, identity, threads=threads) for path in paths]
            yield f"{backend}, {threads} thread{'s' * (threads > 1)}", pair
            for opened in pair:
                opened.close()


def race(pair: list[Engine], rounds: int) -> tuple[Times, Times]:
    """Milliseconds of both engines in turns, by the clock and of CPU; each [2, rounds]."""
    width, height = pair[0].input_size_wh
    pixels = np.random.default_rng(0).integers(0, 256, (1, height, width, 3), dtype=np.uint8)
    walls, cpus = np.zeros((2, rounds)), np.zeros((2, rounds))
    for index in range(-3, rounds):  # three rounds to warm up
        # Who goes first changes, so that neither always finds the other's cache.
        for which in (0, 1) if index % 2 else (1, 0):
            wall, cpu = time.perf_counter(), time.process_time()
            pair[which].infer({"rgb": pixels})
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            if index >= 0:
                walls[which, index], cpus[which, index] = wall * 1e3, cpu * 1e3
    return walls, cpus


if __name__ == "__main__":
    raise SystemExit(main())
