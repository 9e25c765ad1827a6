"""TensorRT and CUDA for tests without a GPU: genuine Python bindings on stand-ins of the libraries.

``tests/standin/libcuda`` stands in for ``libcuda``, ``tests/standin/site/tensorrt`` for what
``libnvinfer`` does, with ONNX Runtime behind it. :class:`Standin` gives both to a child process or
to this one. What the device is and what goes wrong is said by ``STANDIN_`` variables: those of
CUDA are listed in ``libcuda/libcuda.h``, those of TensorRT in ``site/tensorrt/settings.py``.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import genuine_for_tests as genuine

HERE = Path(__file__).resolve().parent / "standin"
SITE = HERE / "site"


# Two wheels name three parts; the fourth is that of JetPack 6, and of the release.
_LIBRARY_VERSIONS = {"10.3.0": "10.3.0.30", "10.7.0": "10.7.0.23"}


def default_release() -> str:
    """The oldest supported TensorRT whose bindings can be had here."""
    reasons = {r: genuine.why_no_tensorrt(r) for r in genuine.TENSORRT_RELEASES}
    here = [release for release, reason in reasons.items() if reason is None]
    return here[0] if here else genuine.TENSORRT_RELEASES[0]


def why_not(release: str | None = None) -> str | None:
    """Why there are no stand-ins here, or ``None`` where there are."""
    reason = genuine.why_no_tensorrt(release or default_release())
    if reason is None and genuine.cuda_python_folder() is None:
        reason = "the genuine cuda.bindings is not in .genuine: make test brings it"
    return reason


def why_no_pycuda() -> str | None:
    """Why the genuine pycuda is not here, or ``None`` where it is."""
    there = genuine.pycuda_folder().is_dir()
    return None if there else "pycuda is not built: make test-pycuda builds it"


@dataclass(frozen=True)
class Standin:
    """Both stand-ins, compiled into one folder."""

    folder: Path

    @classmethod
    def compile(cls, folder: Path) -> Standin:
        """Compile ``libcuda.so.1`` and the empty libraries behind every release to be had here."""
        _compile_libcuda(folder)
        for release in genuine.TENSORRT_RELEASES:
            if genuine.why_no_tensorrt(release) is None:
                (folder / release).mkdir()
                genuine.compile_empty_libraries(release, folder / release)
        return cls(folder)

    def variables(
        self, release: str | None = None, *, binding: str = "cuda-python", **settings: object
    ) -> dict[str, str]:
        """What a process needs in its environment; ``settings`` are ``STANDIN_`` variables.

        Args:
            release: Which TensorRT; :func:`default_release` unless given.
            binding: What of CUDA can be imported: ``cuda-python``, ``pycuda``, ``both`` or
                ``neither``.
            settings: Names without ``STANDIN_``, in lower case: ``fail_alloc=3``.
        """
        release = release or default_release()
        python_path = [SITE, genuine.ROOT, *_folders_of(binding)]
        if os.environ.get("PYTHONPATH"):
            python_path.append(Path(os.environ["PYTHONPATH"]))
        return {
            "PYTHONPATH": os.pathsep.join(map(str, python_path)),
            "LD_LIBRARY_PATH": str(self.folder),
            "STANDIN_TENSORRT": release,
            "STANDIN_BINDINGS": str(genuine.tensorrt_folder(release)),
            "STANDIN_LIBRARIES": str(self.folder),
            "STANDIN_LIBRARY_VERSION": _LIBRARY_VERSIONS.get(release, release),
            **{f"STANDIN_{name.upper()}": str(value) for name, value in settings.items()},
        }

    def run(
        self,
        arguments: Sequence[str],
        *,
        release: str | None = None,
        binding: str = "cuda-python",
        timeout: float = 300,
        **settings: object,
    ) -> subprocess.CompletedProcess[str]:
        """Run this interpreter with both stand-ins and wait for it; ``arguments`` follow it."""
        return subprocess.run(
            [sys.executable, *arguments],
            env={**os.environ, **self.variables(release, binding=binding, **settings)},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def enter(self, patch: pytest.MonkeyPatch, *, binding: str = "cuda-python") -> None:
        """Give both stand-ins to this process, until ``patch`` is undone.

        Nothing is alive and nothing was counted at first, and this thread has no CUDA context. The
        libraries stay loaded and TensorRT stays the release of the first call: a process can
        load the genuine module once. Other releases need a child process.
        """
        for name, value in self.variables(_loaded_release()).items():
            if name.startswith("STANDIN_"):
                patch.setenv(name, value)
        # Loaded by its full name: from here on it is the library of that name.
        ctypes.CDLL(str(self.folder / "libcuda.so.1"), mode=ctypes.RTLD_GLOBAL).standin_reset()
        for entry in (*_folders_of(binding), SITE):
            patch.syspath_prepend(str(entry))
        # A later test may be one that has no TensorRT.
        for name in [n for n in sys.modules if n.partition(".")[0] == "tensorrt"]:
            patch.delitem(sys.modules, name)

    def counters(self) -> Mapping[str, int]:
        """What is alive in this process, and what was done since :meth:`enter`.

        The names are in ``libcuda/state.c``.
        """
        library = ctypes.CDLL(str(self.folder / "libcuda.so.1"))
        buffer = ctypes.create_string_buffer(1024)
        library.standin_counters(buffer, len(buffer))
        return read_counters(buffer.value.decode())


def _folders_of(binding: str) -> list[Path]:
    """What to put on the path of Python for a binding, see :meth:`Standin.variables`."""
    cuda_python = genuine.cuda_python_folder()
    assert cuda_python is not None  # why_not() would have said so
    folders = {"cuda-python": [cuda_python], "pycuda": [genuine.pycuda_folder()], "neither": []}
    folders["both"] = folders["cuda-python"] + folders["pycuda"]
    return folders[binding]


def _compile_libcuda(folder: Path) -> None:
    options = ["-std=gnu11", "-O1", "-shared", "-fPIC", "-fvisibility=hidden", "-pthread"]
    compiler = ["gcc", *options, "-Wl,-soname,libcuda.so.1", "-o", str(folder / "libcuda.so.1")]
    sources = sorted((HERE / "libcuda").glob("*.c"))
    subprocess.run([*compiler, *map(str, sources), "-ldl"], check=True)
    for module in genuine.pycuda_folder().glob("pycuda/_driver*.so"):
        # pycuda links to all that it could ever call; what is not done here says so.
        done = genuine.defined_symbols(folder / "libcuda.so.1")
        wanted = [name for name in genuine.missing_symbols(module) if name.startswith("cu")]
        sources.append(folder / "absent.c")
        function = '__attribute__((visibility("default"))) int {}(void) {{ return 801; }}\n'
        lines = (function.format(name) for name in wanted if name not in done)
        sources[-1].write_text("".join(lines), encoding="ascii")
        subprocess.run([*compiler, *map(str, sources), "-ldl"], check=True)


def read_counters(line: str) -> dict[str, int]:
    """One line of a report, see ``STANDIN_CUDA_REPORT`` in ``libcuda.h``."""
    found: dict[str, Any] = json.loads(line)
    return found


ALIVE = (
    "contexts",
    "allocations",
    "host_allocations",
    "streams",
    "events",
    "graphs",
    "graph_execs",
)


def alive(counters: Mapping[str, int]) -> dict[str, int]:
    """What was made and not released; empty after an orderly end."""
    return {name: counters[name] for name in ALIVE if counters[name]}


def _loaded_release() -> str | None:
    loaded = sys.modules.get("tensorrt_bindings")
    return None if loaded is None else str(loaded.__version__)


def build_engine(model: bytes, *, max_batch: int = 4, **config: Any) -> bytes:
    """An engine of this process's TensorRT, as simply as it can be had; batch 1 to ``max_batch``.

    Args:
        model: An ONNX file; a first axis that is dynamic is the batch.
        max_batch: Largest batch of the only profile.
        config: Properties of ``IBuilderConfig`` to set.
    """
    import tensorrt as trt

    logger = trt.Logger(trt.Logger.INTERNAL_ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    assert parser.parse(model), [str(parser.get_error(i)) for i in range(parser.num_errors)]
    settings = builder.create_builder_config()
    for name, value in config.items():
        setattr(settings, name, value)
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        batch, *rest = tensor.shape
        sizes = (1, max_batch, max_batch) if batch == -1 else (batch,) * 3
        profile.set_shape(tensor.name, *((size, *rest) for size in sizes))
    settings.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, settings)
    assert plan is not None
    return bytes(plan)
