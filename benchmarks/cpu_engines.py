"""Which runtime computes the paper's U-Net fastest here: ``python -m benchmarks.cpu_engines``.

Same weights (`benchmarks.paper_unet`, seeded), same frames (four phantoms with their pigment
images), every answer within 1e-3 of the first row's or marked. The candidates take turns, frame by
frame; a ratio is the median over the rounds of this candidate's time over the first row's in the
same round, so that other load on the machine hits all alike. CPU time is that of all threads; on
a busy machine and one thread it says more than the clock. Memory is the VmHWM of a process of its
own that does nothing else.

OpenVINO and LiteRT are no dependencies (`pip install openvino ai-edge-litert`); where one is not
installed, or LiteRT's model was not made (`benchmarks.paper_unet_tflite`), its row says so.

    python -m benchmarks.cpu_engines [--rounds 30] [--threads 1 2] [--rewrites] [--no-memory]
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median

import numpy as np
import onnx
from numpy.typing import NDArray

from benchmarks.paper_unet import INPUT_CHANNELS, SIDE_PX, paper_unet
from convert.compose_upsampling import compose_upsampling
from convert.editable_graph import EditableGraph
from convert.optimize_cpu import optimized_for_cpu, split_elu
from edge.engines.onnx import session_options
from edge.engines.openvino import device_properties, import_openvino
from models.offline import onnx_runtime

PARITY = 1e-3
FOLDER = Path("out/bench")
EXPORTED, REWRITTEN = FOLDER / "paper-unet.onnx", FOLDER / "paper-unet-rewritten.onnx"

Rewrite = Callable[[EditableGraph], None]
REWRITES: tuple[Rewrite, ...] = (compose_upsampling, split_elu)

Planes = NDArray[np.float32]  # [1,9,304,304]
Run = Callable[[Planes], NDArray[np.float32]]


class NotHereError(Exception):
    """A candidate cannot be run on this machine; the text says what to install or to make."""


@dataclass(frozen=True)
class Candidate:
    """One row of the table.

    Attributes:
        name: What is run, and how it is set up.
        open: Makes the function to time, for a number of threads.
    """

    name: str
    open: Callable[[int], Run]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rewrites", action="store_true", help="what each rewrite gains")
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--memory-of", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    candidates = rewrite_candidates() if arguments.rewrites else runtime_candidates()
    if arguments.memory_of is not None:
        return print_own_memory(candidates[arguments.memory_of], max(arguments.threads))
    write_networks()
    print(f"{cpu_name()}, {len(os.sched_getaffinity(0))} cores, {platform.machine()}; {versions()}")
    for threads in arguments.threads:
        print_times(candidates, threads, arguments.rounds)
    if not arguments.no_memory:
        print_memory(candidates, arguments)
    return 0


# --- candidates ---------------------------------------------------------------------------------


def runtime_candidates() -> list[Candidate]:
    """Every runtime, on the graph as exported and on the rewritten one."""
    plain, fast = EXPORTED, REWRITTEN
    return [
        Candidate("ONNX Runtime, as exported", lambda t: open_onnx(plain, t)),
        Candidate("  without the blocked layout", lambda t: open_onnx(plain, t, layout=False)),
        Candidate("ONNX Runtime, rewritten", lambda t: open_onnx(fast, t)),
        Candidate("  with spinning threads", lambda t: open_onnx(fast, t, spin=True)),
        Candidate("  with memory pattern", lambda t: open_onnx(fast, t, pattern=True)),
        Candidate("  without arena", lambda t: open_onnx(fast, t, arena=False)),
        Candidate("OpenVINO, as exported", lambda t: open_openvino(plain, t)),
        Candidate("OpenVINO, rewritten", lambda t: open_openvino(fast, t)),
        Candidate("  in its own precision", lambda t: open_openvino(fast, t, precision=None)),
        Candidate("LiteRT, as exported", lambda t: open_litert(plain.with_suffix(".tflite"), t)),
        Candidate("LiteRT, rewritten", lambda t: open_litert(fast.with_suffix(".tflite"), t)),
    ]


def rewrite_candidates() -> list[Candidate]:
    """ONNX Runtime on the graph with all rewrites, and with all but one."""
    rows = [
        Candidate("as exported", lambda t: open_onnx(EXPORTED, t)),
        Candidate("all rewrites", lambda t: open_onnx(REWRITTEN, t)),
    ]
    for rewrite in REWRITES:
        path = left_out_file(rewrite)
        rows.append(
            Candidate(f"all but {rewrite.__name__}", lambda t, path=path: open_onnx(path, t))
        )
    return rows


def write_networks() -> None:
    """The U-Net as exported, as the CPU engines get it, and with all rewrites but one."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    onnx.save(paper_unet(), EXPORTED)
    onnx.save(optimized_for_cpu(paper_unet()), REWRITTEN)
    for left_out in REWRITES:
        model = paper_unet()
        for rewrite in REWRITES:
            if rewrite is not left_out:
                rewrite(EditableGraph(model))
        onnx.save(model, left_out_file(left_out))


def left_out_file(rewrite: Rewrite) -> Path:
    return FOLDER / f"paper-unet-without-{rewrite.__name__}.onnx"


def open_onnx(
    path: Path,
    threads: int,
    *,
    spin: bool = False,
    pattern: bool = False,
    arena: bool = True,
    layout: bool = True,
) -> Run:
    """ONNX Runtime as the engine sets it up, but for the options given."""
    onnxruntime = onnx_runtime()
    options = session_options(threads, spinning=spin)
    # Else its threads would go on spinning at the next candidate's expense.
    options.add_session_config_entry("session.force_spinning_stop", str(int(spin)))
    options.enable_mem_pattern = pattern
    options.enable_cpu_mem_arena = arena
    if not layout:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    providers = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    return lambda planes: session.run(None, {"planes": planes})[0]


def open_openvino(path: Path, threads: int, *, precision: str | None = "f32") -> Run:
    """OpenVINO as the engine sets it up, compiled for batch 1."""
    try:
        openvino = import_openvino()
    except ImportError as error:
        raise NotHereError("not installed: pip install openvino") from error
    properties = device_properties(threads)
    if precision is None:
        del properties["INFERENCE_PRECISION_HINT"]
    core = openvino.Core()
    model = core.read_model(str(path))
    model.reshape([1, INPUT_CHANNELS, SIDE_PX, SIDE_PX])
    request = core.compile_model(model, "CPU", properties).create_infer_request()
    return lambda planes: request.infer({0: planes}, share_inputs=True)[0]


def open_litert(path: Path, threads: int) -> Run:
    """LiteRT with its default XNNPACK delegate; planes are turned to NHWC in the warm-up."""
    try:
        from ai_edge_litert.interpreter import Interpreter  # not everybody who measures has it
    except ImportError as error:
        raise NotHereError("not installed: pip install ai-edge-litert") from error
    if not path.exists():
        raise NotHereError("no model: see benchmarks/paper_unet_tflite.py")
    interpreter = Interpreter(str(path), num_threads=threads)
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]["index"]
    target = interpreter.get_output_details()[0]["index"]
    turned: dict[int, Planes] = {}

    def run(planes: Planes) -> NDArray[np.float32]:
        if id(planes) not in turned:
            turned[id(planes)] = np.ascontiguousarray(planes.transpose(0, 2, 3, 1))
        interpreter.set_tensor(source, turned[id(planes)])
        interpreter.invoke()
        return interpreter.get_tensor(target)

    return run


@cache
def frames() -> list[Planes]:
    """RGB, hemoglobin and melanin image of four phantoms, 0..1, float32 [1,9,304,304]."""
    # Only here, because the memory of a runtime is measured without OpenCV.
    from models.phantom import random_spec, render
    from models.skin import pigment_images

    stacks = []
    for seed in range(4):
        pixels = render(random_spec(seed, (SIDE_PX, SIDE_PX))).pixels
        planes = np.concatenate([pixels / np.float32(255), *pigment_images(pixels)], axis=2)
        stacks.append(np.ascontiguousarray(planes.transpose(2, 0, 1)[np.newaxis], np.float32))
    return stacks


# --- measuring ----------------------------------------------------------------------------------


def print_times(candidates: list[Candidate], threads: int, rounds: int) -> None:
    print(f"\n{threads} thread{'s' * (threads > 1)}, {rounds} rounds")
    print(f"  {'':32} {'ms':>7} {'best':>7} {'CPU ms':>7} {'ratio':>6} {'differs':>8}")
    runs: dict[str, Run] = {}
    absent: dict[str, str] = {}
    for candidate in candidates:
        try:
            runs[candidate.name] = candidate.open(threads)
        except NotHereError as reason:
            absent[candidate.name] = str(reason)
    differences = {name: largest_difference(runs[candidates[0].name], runs[name]) for name in runs}
    times = race(runs, rounds)
    first = [wall for wall, _ in times[candidates[0].name]]
    for candidate in candidates:
        name = candidate.name
        if name in absent:
            print(f"  {name:32} {absent[name]}")
            continue
        walls, cpus = zip(*times[name], strict=True)
        ratio = median(own / other for own, other in zip(walls, first, strict=True))
        verdict = "  FAILS PARITY" if differences[name] > PARITY else ""
        print(
            f"  {name:32} {median(walls):7.1f} {min(walls):7.1f} {median(cpus):7.1f} {ratio:6.2f} "
            f"{differences[name]:8.0e}{verdict}"
        )


def race(runs: dict[str, Run], rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Wall and CPU milliseconds of each run, one call of each per round, in turns."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for index in range(-2, rounds):  # two rounds to warm up
        planes = frames()[index % len(frames())]
        for name, run in runs.items():
            wall, cpu = time.perf_counter(), time.process_time()
            run(planes)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            if index >= 0:
                times[name].append((wall * 1e3, cpu * 1e3))
    return times


def largest_difference(reference: Run, run: Run) -> float:
    """Over all frames and pixels, in probability."""
    pairs = [(reference(planes).ravel(), run(planes).ravel()) for planes in frames()]
    return max(float(np.abs(wanted - found).max()) for wanted, found in pairs)


def print_memory(candidates: list[Candidate], arguments: argparse.Namespace) -> None:
    print(f"\npeak memory (VmHWM) of a process with {max(arguments.threads)} threads, MB")
    command = [sys.executable, "-m", "benchmarks.cpu_engines"]
    command += ["--rewrites"] if arguments.rewrites else []
    command += ["--threads", str(max(arguments.threads)), "--memory-of"]
    for index, candidate in enumerate(candidates):
        child = subprocess.run([*command, str(index)], capture_output=True, text=True, check=False)
        lines = child.stdout.splitlines() or [f"failed: {child.stderr[-200:]}"]
        print(f"  {candidate.name:32} {lines[-1]}")


def print_own_memory(candidate: Candidate, threads: int) -> int:
    shape = (1, INPUT_CHANNELS, SIDE_PX, SIDE_PX)
    planes = np.random.default_rng(0).random(shape, np.float32)
    before = peak_mb()
    try:
        run = candidate.open(threads)
    except NotHereError as reason:
        print(reason)
        return 0
    for _ in range(5):
        run(planes)
    print(f"{peak_mb():6.0f}   (before the session {before:.0f})")
    return 0


def peak_mb() -> float:
    """VmHWM of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def cpu_name() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "unknown CPU"


def versions() -> str:
    """Of the runtimes that are here."""
    found = [f"onnxruntime {onnx_runtime().__version__}", f"onnx {onnx.__version__}"]
    from importlib.metadata import PackageNotFoundError, version

    for package in ("openvino", "ai-edge-litert"):
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


if __name__ == "__main__":
    raise SystemExit(main())
