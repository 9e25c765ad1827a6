"""Genuine vendors' packages, for tests: which files, how they come here, how they load.

NVIDIA's wheels hold the true modules of TensorRT and CUDA, but neither ``libnvinfer`` nor
``libcuda``. Of picamera2 there is the source, which cannot run without libcamera. ``make test``
brings them by running this file: it downloads the files that fit this interpreter, checks them
against ``genuine_wheels.txt`` and unpacks them into ``.genuine/``. Nothing of them is committed.
"""

from __future__ import annotations

import ctypes
import importlib
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
GENUINE = ROOT / ".genuine"
TABLE = Path(__file__).with_name("genuine_wheels.txt")

TENSORRT_RELEASES = ("10.3.0", "10.7.0", "10.13.3.9", "10.16.1.11", "11.4.0.106")
"""The releases that the product is held to, oldest first."""

# The bindings call none of these; the product asks the library itself for its four parts.
_VERSION_FUNCTIONS = """
#include <stdio.h>
#include <stdlib.h>
static int part(int index)
{
    int parts[4] = {0};
    const char *version = getenv("STANDIN_LIBRARY_VERSION");
    if (version)
        sscanf(version, "%d.%d.%d.%d", parts, parts + 1, parts + 2, parts + 3);
    return parts[index];
}
int getInferLibMajorVersion(void) { return part(0); }
int getInferLibMinorVersion(void) { return part(1); }
int getInferLibPatchVersion(void) { return part(2); }
int getInferLibBuildVersion(void) { return part(3); }
int getInferLibVersion(void) { return part(0) * 10000 + part(1) * 100 + part(2); }
"""


@dataclass(frozen=True)
class Wheel:
    """One line of ``genuine_wheels.txt``."""

    file: str
    sha256: str

    @property
    def project(self) -> str:
        """Name on the package index."""
        return self.file.split("-")[0].replace("_", "-")

    @property
    def version(self) -> str:
        """Release, as in ``10.3.0``."""
        return self.file.removesuffix(".tar.gz").split("-")[1]

    @property
    def fits_here(self) -> bool:
        """Is it for this interpreter and this kind of processor? A source is for all."""
        if self.file.endswith(".tar.gz"):
            return True
        interpreter = f"cp{sys.version_info.major}{sys.version_info.minor}"
        python, _, kind = self.file.removesuffix(".whl").split("-")[2:5]
        machine = kind == "any" or kind.endswith(platform.machine())
        return python in (interpreter, "py3") and machine and sys.platform == "linux"


def wheels(table: Path = TABLE) -> list[Wheel]:
    """All lines of a table."""
    lines = table.read_text(encoding="utf-8").splitlines()
    return [Wheel(file, sha256) for sha256, file in (line.split() for line in lines)]


def tensorrt_wheels(release: str) -> list[Wheel]:
    """Every wheel of one TensorRT release, one per interpreter and kind of processor."""
    of_release = [w for w in wheels() if w.version == release and w.file.startswith("tensorrt_")]
    if not of_release:
        raise ValueError(f"expected one of {', '.join(TENSORRT_RELEASES)}, got {release!r}")
    return of_release


def folder_of(wheel: Wheel) -> Path:
    """Where a wheel is unpacked; one folder per wheel, to be put on ``sys.path``."""
    return GENUINE / wheel.file.removesuffix(".whl").removesuffix(".tar.gz")


def why_no_tensorrt(release: str) -> str | None:
    """Why the bindings of a release cannot be had here, or ``None`` where they can."""
    fitting = [wheel for wheel in tensorrt_wheels(release) if wheel.fits_here]
    if not fitting:
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        return f"NVIDIA has no TensorRT {release} for Python {python} on {platform.machine()}"
    if not folder_of(fitting[0]).is_dir():
        return f"TensorRT {release} is not in .genuine: make test brings it"
    return why_no_compiler()


def cuda_python_folder() -> Path | None:
    """The folder that holds the genuine ``cuda.bindings``, or ``None`` where it is not here."""
    fitting = [w for w in wheels() if w.file.startswith("cuda_bindings-") and w.fits_here]
    return next((folder_of(w) for w in fitting if folder_of(w).is_dir()), None)


def pycuda_folder() -> Path:
    """The folder that holds the genuine pycuda, once ``make test-pycuda`` has built it."""
    return GENUINE / f"pycuda-cp{sys.version_info.major}{sys.version_info.minor}"


def why_no_compiler() -> str | None:
    """Why nothing can be compiled here, or ``None``."""
    missing = [tool for tool in ("gcc", "nm", "readelf") if shutil.which(tool) is None]
    return f"no {', no '.join(missing)}: apt-get install gcc libc6-dev" if missing else None


def tensorrt_folder(release: str) -> Path:
    """The folder that holds the package ``tensorrt_bindings`` of a release."""
    return next(folder_of(w) for w in tensorrt_wheels(release) if w.fits_here)


def compile_empty_libraries(release: str, folder: Path) -> list[Path]:
    """Make the libraries that the bindings link to, with every function of theirs returning null.

    Importing the bindings calls none of these functions; calling one later (``Builder(...)``)
    fails as it does where the real library finds no device.

    Returns:
        The libraries, to be loaded before the bindings are imported.
    """
    module = next(tensorrt_folder(release).glob("tensorrt_bindings/tensorrt.so"))
    source = folder / "empty.c"
    lines = (f"void *{name}(void) {{ return 0; }}\n" for name in missing_symbols(module))
    source.write_text(_VERSION_FUNCTIONS + "".join(lines), encoding="ascii")
    libraries = []
    for name in re.findall(r"\(NEEDED\).*\[(libnv.+?)\]", _output("readelf", "-d", module)):
        libraries.append(folder / name)
        _output("gcc", "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", libraries[-1], source)
    return libraries


def import_tensorrt(release: str) -> ModuleType:
    """Import the genuine bindings; one release in one process, since they register types."""
    with tempfile.TemporaryDirectory() as folder:
        for library in compile_empty_libraries(release, Path(folder)):
            ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    sys.path.insert(0, str(tensorrt_folder(release)))
    return importlib.import_module("tensorrt_bindings")


def missing_symbols(module: Path) -> list[str]:
    """What a module wants and neither Python nor the C and C++ libraries have."""
    loaded = ctypes.CDLL(None)
    lines = map(str.split, _output("nm", "-D", "--undefined-only", module).splitlines())
    names = [fields[1] for fields in lines if fields[0] == "U" and "@" not in fields[1]]
    return [n for n in names if not n.startswith(("Py", "_Py")) and not hasattr(loaded, n)]


def defined_symbols(library: Path) -> set[str]:
    """The functions that a library gives to others."""
    return {
        line.split()[2]
        for line in _output("nm", "-D", "--defined-only", library).splitlines()
        if line.split()[1] == "T"
    }


def _output(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def bring(wanted: Iterable[Wheel]) -> None:
    """Download, check and unpack wheels that are not yet here."""
    GENUINE.mkdir(exist_ok=True)
    for wheel in wanted:
        if folder_of(wheel).is_dir():
            continue
        print(f"bringing {wheel.file}", flush=True)
        with tempfile.TemporaryDirectory(dir=GENUINE) as name:
            here = Path(name)
            if wheel.file.endswith(".tar.gz"):
                download(wheel, here, f"--no-binary={wheel.project}")
                with tarfile.open(here / wheel.file) as source:
                    modules = [m for m in source.getmembers() if m.name.endswith(".py")]
                    source.extractall(here, modules)
                (here / folder_of(wheel).name).rename(folder_of(wheel))
                continue
            download(wheel, here, "--only-binary=:all:")
            with zipfile.ZipFile(here / wheel.file) as archive:
                # Some hold the C++ that their modules were made from, ten times their size.
                names = [n for n in archive.namelist() if not n.endswith((".cpp", ".pyx", ".pxd"))]
                archive.extractall(here / "unpacked", names)
            (here / "unpacked").rename(folder_of(wheel))


def download(file: Wheel, folder: Path, *options: str) -> None:
    """Download one file of a table into a folder; pip checks its hash."""
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{file.project}=={file.version} --hash=sha256:{file.sha256}\n")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    exact = ["--no-deps", "--require-hashes", "-d", str(folder), "-r", str(wanted)]
    subprocess.run([*pip, *options, *exact], check=True)


if __name__ == "__main__":
    bring(wheel for wheel in wheels() if wheel.fits_here)
