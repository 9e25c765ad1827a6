"""Proves that a board can install us: every runtime dependency has an aarch64 wheel.

JetPack 6 runs Python 3.10, JetPack 7 runs 3.12, both with glibc of at least 2.35; Raspberry Pi OS
Bookworm runs 3.11 with glibc 2.36. Asks the configured package index through pip, downloads
nothing, installs nothing. TensorRT and OpenCV come with JetPack, so that only a Pi is asked for
OpenCV. pycuda has no wheel anywhere, it is built on the board; cuda-python, which stands in for
it, has, and is asked for here.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TARGETS = {"jetpack-6": "3.10", "jetpack-7": "3.12", "pi-bookworm": "3.11"}
CONSTRAINTS = Path("docs/constraints")
BESIDE_THE_BASE = {
    "jetpack-6": ("cuda-python",),
    "jetpack-7": ("cuda-python",),
    "pi-bookworm": ("opencv-python",),
}
PLATFORMS = ("manylinux_2_34", "manylinux_2_31", "manylinux_2_28", "manylinux_2_27",
             "manylinux_2_26", "manylinux_2_17", "manylinux2014")  # fmt: skip


def requirements(python: str) -> list[str]:
    """The base requirements that hold for ``python``; pip evaluates markers for itself only."""
    content = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
    wanted = []
    for text in content["project"]["dependencies"]:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"python_version": python}):
            wanted.append(f"{requirement.name}{requirement.specifier}")
    return wanted


def resolve(board: str, python: str) -> list[str]:
    """Names and versions of the wheels that pip would install; exits if there is no such set."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--ignore-installed"]
    command += ["--only-binary=:all:", "--python-version", python, "--implementation", "cp"]
    for platform in PLATFORMS:
        command += ["--platform", f"{platform}_aarch64"]
    command += ["--target", "unused", "--report", "-"]
    command += ["-c", str(CONSTRAINTS / f"{board}.txt")]
    command += [*requirements(python), *BESIDE_THE_BASE[board]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"no set of aarch64 wheels for {board}, Python {python}:\n{done.stderr}")
    installs = json.loads(done.stdout)["install"]
    return sorted(f"{i['metadata']['name']}=={i['metadata']['version']}" for i in installs)


def main() -> None:
    """Print one line for each target."""
    for board, python in TARGETS.items():
        print(f"{board} (Python {python}, aarch64): {', '.join(resolve(board, python))}")


if __name__ == "__main__":
    main()
