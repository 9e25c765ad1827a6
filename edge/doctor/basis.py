"""Programs, libraries, engines, folders and memory: what every run needs."""

from __future__ import annotations

import importlib
import importlib.util
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, suppress
from io import StringIO
from pathlib import Path
from typing import Any

from edge.doctor.line import Line, State
from edge.doctor.nodes import DEV, look
from edge.engine_card import DeviceFacts, difference, judged_under
from edge.engine_folder import ModelEngines, engines_root, how_to_build
from edge.engines.cuda import has_binding
from edge.engines.this_device import l4t_release, tensorrt_version
from edge.errors import DermedgeError, ModelRefusedError
from edge.pages import page
from edge.system_packages import NEW_ENVIRONMENT
from models.manifest import Model, find_pack
from models.offline import onnx_runtime

MEMORY_NEEDED_BYTES = 700 << 20
"""The camera loop takes half of it (docs/figures.md); the camera and the screen want some too."""

_LOOP = Path("/sys/fs/cgroup/system.slice/dermedge.service/cgroup.procs")
"""Names the processes of the service where it runs."""

DISK_NEEDED_BYTES = 500 << 20
"""Room for engines of both networks in every precision, and for prepared graphs."""

SENSIBLE_YEAR = 2026
"""No clock can be right that says an earlier one: this program was not written then."""


def examine(pack: str) -> Iterator[Line]:
    """Every line about it, as it is found."""
    yield _python()
    yield _jetson()
    yield from _power()
    yield _tensorrt()
    yield from _cuda()
    yield from _opencv()
    yield _library("onnxruntime", "the CPU engine")
    yield from _engines(pack)
    yield from _folders()
    yield from _groups()
    yield _memory()
    yield _clock()


# --- programs -------------------------------------------------------------------------------------


def _python() -> Line:
    found = f"{platform.python_version()} ({sys.executable}), {platform.machine()}"
    return Line("Python", "ok", found)


def _jetson() -> Line:
    release = l4t_release()
    if release is None:
        return Line("Jetson Linux", "note", "none: this is no Jetson")
    return Line("Jetson Linux", "ok", release)


def _tensorrt() -> Line:
    if importlib.util.find_spec("tensorrt") is None:
        return Line("TensorRT", *_tensorrt_elsewhere())
    version = _version_of("tensorrt")
    if version is None:
        return Line(
            "TensorRT",
            "problem",
            _import_error("tensorrt"),
            f"apt-get install --reinstall python3-libnvinfer; {page('jetson.md')}",
        )
    if int(version.partition(".")[0]) < 10:
        step = "install JetPack 6.1 or later; until then --backend onnx"
        return Line("TensorRT", "note", f"{version}, and 10.3 is needed", step)
    return Line("TensorRT", "ok", tensorrt_version(version))


def _tensorrt_elsewhere() -> tuple[State, str, str]:
    """Where TensorRT is, if this Python does not see it."""
    system = sorted(Path("/usr/lib").glob("python3*/dist-packages/tensorrt"))
    if not system:
        return "note", "not installed: the networks run on the CPU", page("jetson.md")
    return (
        "problem",
        f"in {system[0].parent}, which this Python does not see",
        NEW_ENVIRONMENT,
    )


def _cuda() -> Iterator[Line]:
    if not has_binding():
        installed = importlib.util.find_spec("tensorrt") is not None
        yield Line(
            "CUDA",
            "problem" if installed else "note",
            "neither pycuda nor cuda-python is installed",
            "in dermedge's folder: pip install '.[jetson]', or pip install cuda-python"
            if installed
            else "",
        )
        return
    from edge.engines.cuda import open_cuda

    try:
        with open_cuda() as cuda, cuda.current():
            free, total = cuda.memory_bytes()
            kind = "shared with the host" if cuda.integrated else "its own memory"
            yield Line(
                "CUDA",
                "ok",
                f"{cuda.gpu_name}, driver {cuda.driver_version}, compute capability "
                f"{cuda.compute_capability}, "
                f"{cuda.sm_count} multiprocessors, {_size(free)} of {_size(total)} free, {kind}, "
                f"through {cuda.binding}",
            )
    except DermedgeError as error:
        yield Line("CUDA", "problem", error.got, error.next_step)


def _opencv() -> Iterator[Line]:
    numpy = _version_of("numpy") or "?"
    if importlib.util.find_spec("cv2") is None:
        step = (
            "in dermedge's folder: pip install '.[desktop]'; "
            "on a Jetson: apt-get install python3-opencv"
        )
        yield Line("OpenCV", "problem", "not installed", step)
        return
    version = _version_of("cv2")
    if version is None:
        yield Line(
            "OpenCV",
            "problem",
            f"{_import_error('cv2')} (numpy {numpy})",
            "pip install 'numpy<2' on JetPack 6, or -c docs/constraints/jetpack-6.txt",
        )
        return
    build = importlib.import_module("cv2").getBuildInformation()
    found = re.search(r"GStreamer:\s*(\w+)", build)
    # No more than a fact: cameras and displays are reached by other ways.
    has_gstreamer = "yes" if found and found[1] == "YES" else "no"
    yield Line("OpenCV", "ok", f"{version}, numpy {numpy}, GStreamer {has_gstreamer}")


def _library(name: str, purpose: str) -> Line:
    version = _version_of(name)
    if version is None:
        return Line(name, "problem", f"{_import_error(name)} ({purpose})", f"pip install {name}")
    return Line(name, "ok", version)


def _version_of(name: str) -> str | None:
    """A module's version; ``None`` where it cannot be imported."""
    try:
        return str(_module(name).__version__)
    # What a library that fits nothing raises is its own affair: ImportError, AttributeError, ...
    except Exception:
        return None


def _module(name: str) -> Any:
    if name == "onnxruntime":
        return onnx_runtime()
    # numpy prints a page about a module that was built for another numpy; the line says it, too.
    with redirect_stderr(StringIO()):
        return importlib.import_module(name)


def _import_error(name: str) -> str:
    try:
        _module(name)
    except Exception as error:  # as above
        return " ".join(f"{type(error).__name__}: {error}".split())[:160]
    return "no version"


# --- engines --------------------------------------------------------------------------------------


def _engines(name: str) -> Iterator[Line]:
    try:
        pack = find_pack(name)
    except DermedgeError as error:
        yield Line("pack", "problem", error.got, error.next_step)
        return
    device = _device_facts()
    rules = judged_under(pack)
    for part, model in (("segmenter", pack.segmenter), ("classifier", pack.classifier)):
        yield _engine(part, model, rules, device, how_to_build(name))


def _engine(part: str, model: Model, rules: str, device: DeviceFacts | None, build: str) -> Line:
    # Imported here: the composition root is the place that knows convert.
    from edge.compose import chosen_engine

    manifest = model.manifest
    try:
        model.read_onnx()
        if ModelEngines(engines_root(), manifest.name, manifest.onnx.sha256).chosen() is None:
            return Line(part, "note", f"no engine of {manifest.name}: it runs on the CPU", build)
        folder, card = chosen_engine(model, rules)
        if not card.passed:
            return Line(part, "problem", f"{card.engine.file} has not passed the gate", build)
        if device is not None and (problem := difference(card, device)):
            return Line(part, "problem", f"{card.engine.file} was {problem}", build)
        folder.check_content(card)
    except ModelRefusedError as error:
        return Line(part, "problem", error.got, error.next_step)
    found = f"{card.engine.file}, {card.precision}, built on {card.device.gpu_name}"
    return Line(part, "ok", found)


def _device_facts() -> DeviceFacts | None:
    """This device as cards describe it; ``None`` where that cannot be told."""
    version = _version_of("tensorrt") if importlib.util.find_spec("tensorrt") else None
    if version is None or not has_binding():
        return None
    from edge.engines.cuda import open_cuda
    from edge.engines.this_device import device_facts

    try:
        with open_cuda() as cuda, cuda.current():
            return device_facts(cuda, version)
    except DermedgeError:
        return None  # the line about CUDA says why


# --- the machine ----------------------------------------------------------------------------------


def _folders() -> Iterator[Line]:
    # Imported here: the composition root is the place that knows convert.
    from edge.compose import cache_folder

    for name, find in (("engines", engines_root), ("cache", cache_folder)):
        yield _folder(name, find)


def _folder(name: str, find: Callable[[], Path]) -> Line:
    try:
        folder = find()
    except ModelRefusedError as error:
        return Line(name, "problem", error.got, error.next_step)
    there = next((place for place in (folder, *folder.parents) if place.exists()), Path("/"))
    try:
        with tempfile.TemporaryFile(dir=there):
            free = shutil.disk_usage(there).free
    except OSError as error:
        words = f"{folder}: {error.strerror or error}"
        return Line(name, "problem", words, "make it writable, or name another one")
    if free < DISK_NEEDED_BYTES:
        return Line(name, "problem", f"{folder}: {_size(free)} free", "free some space")
    return Line(name, "ok", f"{folder}, {_size(free)} free")


def _groups() -> Iterator[Line]:
    """Devices that are there, and whether this user may use them."""
    wanted = {"video*": "video", "dri/renderD*": "render", "nvhost-gpu": "video"}
    for pattern, group in wanted.items():
        devices = sorted(DEV.glob(pattern))
        if devices:
            yield from look(group, devices, group)


def _power() -> Iterator[Line]:
    """The power mode of a Jetson: it decides how fast everything is."""
    if shutil.which("nvpmodel") is None:
        return
    try:
        asked = subprocess.run(
            ["nvpmodel", "-q"], capture_output=True, text=True, errors="replace", timeout=5
        )
        found = re.search(r"NV Power Mode:\s*(\S+)", asked.stdout)
    except (OSError, subprocess.TimeoutExpired):
        found = None
    if found:
        yield Line("power", "ok", f"mode {found[1]}")
    else:
        yield Line("power", "note", "nvpmodel does not tell its mode", "sudo nvpmodel -q")


def _memory(
    path: Path = Path("/proc/meminfo"), swaps_path: Path = Path("/proc/swaps"), loop: Path = _LOOP
) -> Line:
    try:
        text = path.read_text("ascii")
        swaps = swaps_path.read_text("utf-8", "replace") if swaps_path.exists() else ""
    except OSError:
        return Line("memory", "note", "unknown on this system")
    known = {name: int(kib) << 10 for name, kib in re.findall(r"(\w+):\s+(\d+) kB", text)}
    free, total = known.get("MemAvailable", 0), known.get("MemTotal", 0)
    words = f"{_size(free)} of {_size(total)} available, swap {_size(known.get('SwapTotal', 0))}"
    # In memory itself: a build that needs more than there is wants swap on a disk.
    zram = re.findall(r"^/dev/zram\S*\s+\S+\s+(\d+)", swaps, re.MULTILINE)
    if zram:
        words += f", {_size(sum(map(int, zram)) << 10)} of it zram"
    needed = MEMORY_NEEDED_BYTES
    with suppress(OSError):  # no such service, or no control groups: it does not run
        if loop.read_text("ascii").strip():
            needed //= 2
            words += ", the camera loop has its own"
    if free < needed:
        step = "stop the desktop: sudo systemctl isolate multi-user.target"
        return Line("memory", "problem", words, step)
    return Line("memory", "ok", words)


def _clock(now: Callable[[], float] = time.time) -> Line:
    stamp = time.gmtime(now())
    words = time.strftime("%Y-%m-%d %H:%M UTC", stamp)
    if stamp.tm_year < SENSIBLE_YEAR:
        step = "results carry a wrong date; durations and ages are right all the same"
        return Line("clock", "note", f"{words} cannot be right", step)
    return Line("clock", "ok", words)


def _size(number: int) -> str:
    return f"{number / (1 << 30):.1f} GB" if number >= 1 << 30 else f"{number / (1 << 20):.0f} MB"
