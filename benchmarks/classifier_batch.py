"""How many crops at once: ``python -m benchmarks.classifier_batch [--pack reference]``.

Eight crops through the pack's prepared classifier in the ONNX Runtime engine, in batches of one to
eight: milliseconds per crop (median over the rounds, the batch sizes take turns) and peak memory
of a process that holds both of the pack's sessions and has run both.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy import median

from convert.cache import prepared_path
from edge.engines.base import EngineIdentity
from edge.engines.onnx import OnnxEngine
from models.manifest import Model, find_pack

BATCHES = (1, 2, 3, 4, 8)
CROPS = 8


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pack", default="reference")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--memory-of", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    pack = find_pack(arguments.pack)
    if arguments.memory_of:
        print(f"{peak_mb(pack.segmenter, pack.classifier, arguments.memory_of):.0f}")
        return 0
    for model in (pack.segmenter, pack.classifier):
        prepared_path(model, for_cpu=True)  # preparing needs more memory than running
    peaks = [memory_of(arguments.pack, batch) for batch in BATCHES]
    for threads in arguments.threads:
        print(f"\n{threads} thread{'s' * (threads > 1)}, {arguments.rounds} rounds")
        print(f"  {'batch':>5} {'ms per crop':>11} {'CPU ms':>7} {'ratio':>6} {'peak MB':>8}")
        walls, cpus = race(open_engine(pack.classifier, CROPS, threads), arguments.rounds)
        for i, batch in enumerate(BATCHES):
            ratio = median(walls[i] / walls[0])
            print(
                f"  {batch:5} {median(walls[i]):11.2f} {median(cpus[i]):7.2f} {ratio:6.2f} "
                f"{peaks[i]:>8}"
            )
    return 0


def race(engine: OnnxEngine, rounds: int) -> tuple[np.ndarray, np.ndarray]:
    """Milliseconds per crop by the clock and of CPU, each [batch sizes, rounds]."""
    crops = random_pixels(engine, CROPS)
    walls, cpus = np.zeros((2, len(BATCHES), rounds))
    for index in range(-1, rounds):
        for i, batch in enumerate(BATCHES):
            wall, cpu = time.perf_counter(), time.process_time()
            for start in range(0, CROPS, batch):
                engine.infer({"rgb": crops[start : start + batch]})
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            if index >= 0:
                walls[i, index], cpus[i, index] = wall * 1e3 / CROPS, cpu * 1e3 / CROPS
    return walls, cpus


def memory_of(pack: str, batch: int) -> str:
    command = [sys.executable, "-m", "benchmarks.classifier_batch", "--pack", pack]
    child = subprocess.run(
        [*command, "--memory-of", str(batch)], capture_output=True, text=True, check=True
    )
    return child.stdout.strip()


def peak_mb(segmenter: Model, classifier: Model, batch: int) -> float:
    """VmHWM of this process once it has run both networks, the classifier with every N <= batch."""
    run: list[Callable[[], object]] = []
    for model, largest in ((segmenter, 1), (classifier, batch)):
        engine = open_engine(model, largest, 2)
        for count in range(1, largest + 1):
            pixels = random_pixels(engine, count)
            run.append(lambda engine=engine, pixels=pixels: engine.infer({"rgb": pixels}))
    for _ in range(3):
        for infer in run:
            infer()
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def open_engine(model: Model, max_batch: int, threads: int) -> OnnxEngine:
    identity = EngineIdentity(
        model.manifest.name, model.manifest.version, "onnx", "fp32", model.manifest.onnx.sha256
    )
    path = prepared_path(model, for_cpu=True)
    return OnnxEngine(path, identity, max_batch=max_batch, threads=threads)


def random_pixels(engine: OnnxEngine, count: int) -> np.ndarray:
    width, height = engine.input_size_wh
    shape = (count, height, width, 3)
    return np.random.default_rng(count).integers(0, 256, shape, dtype=np.uint8)


if __name__ == "__main__":
    raise SystemExit(main())
