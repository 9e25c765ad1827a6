"""How long `dermedge --help` takes, and what importing the packages loads.

    python -m benchmarks.startup

The time is the median of ten runs, each a process of its own, after one that warms the disk's
cache. The limit is 0.3 s.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

RUNS = 10
LIMIT_S = 0.3

HEAVY = ("torch", "onnx", "onnxruntime", "openvino", "cv2", "PIL", "tensorrt", "pycuda")
"""Nothing of these is loaded by importing the packages or by --help."""

_HELP = [sys.executable, "-m", "edge", "--help"]
_LIST_MODULES = "import sys, edge, edge.__main__; print(' '.join(sorted(sys.modules)))"


def help_seconds() -> float:
    """Wall time of one `dermedge --help`."""
    began_s = time.perf_counter()
    subprocess.run(_HELP, check=True, capture_output=True)
    return time.perf_counter() - began_s


def heavy_modules_loaded() -> list[str]:
    """Those of :data:`HEAVY` that importing ``edge`` and its command line loads."""
    child = subprocess.run(
        [sys.executable, "-c", _LIST_MODULES], check=True, capture_output=True, text=True
    )
    loaded = {name.partition(".")[0] for name in child.stdout.split()}
    return sorted(loaded.intersection(HEAVY))


def main() -> int:
    """Print the figures; 1 where a limit is broken."""
    help_seconds()
    times_s = sorted(help_seconds() for _ in range(RUNS))
    median_s = statistics.median(times_s)
    loaded = heavy_modules_loaded()
    print(
        f"dermedge --help: median {median_s:.3f} s of {RUNS} runs "
        f"({times_s[0]:.3f} to {times_s[-1]:.3f}), limit {LIMIT_S} s"
    )
    print(f"import edge loads of {', '.join(HEAVY)}: {', '.join(loaded) or 'none'}")
    return int(median_s > LIMIT_S or bool(loaded))


if __name__ == "__main__":
    sys.exit(main())
