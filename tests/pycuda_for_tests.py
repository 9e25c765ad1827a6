"""The genuine pycuda, for tests: built from its source against the stand-in of libcuda.

There is no wheel of it. NVIDIA's headers come from two small wheels; curand is left out; what is
linked is the stand-in, so that neither CUDA nor a GPU is needed. Takes about a minute:
``make test-pycuda`` does it by running this file. ``pycuda_files.txt`` holds the hashes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import genuine_for_tests as genuine
from standin_for_tests import Standin

FILES = Path(__file__).with_name("pycuda_files.txt")
SETTINGS = """\
CUDA_ROOT = "/nonexistent"
CUDA_ENABLE_CURAND = False
CUDA_INC_DIR = {headers!r}
CUDADRV_LIB_DIR = [{libraries!r}]
CXXFLAGS = ["-O0", "-g0"]
"""


def build() -> None:
    """Build pycuda into :func:`genuine.pycuda_folder` unless it is there."""
    target = genuine.pycuda_folder()
    if target.is_dir():
        return
    files = genuine.wheels(FILES)
    (source,) = (file for file in files if file.file.endswith(".tar.gz"))
    headers = [file for file in files if file != source and file.fits_here]
    genuine.bring(headers)
    with tempfile.TemporaryDirectory(dir=genuine.GENUINE) as name:
        here = Path(name)
        genuine.download(source, here, "--no-binary=pycuda")
        with tarfile.open(here / source.file) as archive:
            archive.extractall(here)
        Standin.compile(here)
        (here / "libcuda.so").symlink_to("libcuda.so.1")
        unpacked = here / source.file.removesuffix(".tar.gz")
        folders = [str(p) for f in headers for p in genuine.folder_of(f).glob("nvidia/*/include")]
        settings = SETTINGS.format(headers=folders, libraries=str(here))
        (unpacked / "siteconf.py").write_text(settings, encoding="utf-8")
        print(f"building {source.file}", flush=True)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        into = ["--no-deps", "--target", str(here / "built"), str(unpacked)]
        # It is built for the numpy that the tests run with.
        constraints = {"PIP_CONSTRAINT": str(genuine.ROOT / "constraints.txt")}
        subprocess.run([*pip, *into], check=True, env={**os.environ, **constraints})
        (here / "built").rename(target)


if __name__ == "__main__":
    missing = [tool for tool in ("gcc", "g++") if shutil.which(tool) is None]
    if missing:
        sys.exit(f"no {', no '.join(missing)}: apt-get install g++")
    build()
