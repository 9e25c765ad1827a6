"""What a device is: from the driver, from Jetson Linux, and from TensorRT itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.engines.cuda import cuda_failed, open_cuda
from edge.engines.this_device import (
    device_facts,
    l4t_release,
    refuse_old_tensorrt,
    tensorrt_version,
)
from standin_for_tests import Standin


@pytest.mark.parametrize(
    ("text", "release"),
    [
        ("# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64", "36.4.3"),
        ("# R38 (release), REVISION: 2.0, GCID: 1", "38.2.0"),
        ("something else", None),
        ("", None),
    ],
)
def test_the_release_of_jetson_linux(tmp_path: Path, text: str, release: str | None) -> None:
    path = tmp_path / "nv_tegra_release"
    path.write_text(text)
    assert l4t_release(path) == release
    assert l4t_release(tmp_path / "none") is None


def test_the_facts_of_a_device(standin_here: Standin, tmp_path: Path) -> None:
    import tensorrt as trt

    release = tmp_path / "nv_tegra_release"
    release.write_text("# R36 (release), REVISION: 4.3, GCID: 1")
    with open_cuda() as cuda, cuda.current():
        facts = device_facts(cuda, trt.__version__, release)
    assert (facts.gpu_name, facts.compute_capability, facts.sm_count) == ("Orin", "8.7", 8)
    assert facts.l4t == "36.4.3"
    assert facts.tensorrt.count(".") == 3 and facts.tensorrt.startswith(trt.__version__)


def test_a_library_of_another_version_is_not_believed(
    standin_here: Standin, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorrt as trt

    assert trt.__version__
    monkeypatch.setenv("STANDIN_LIBRARY_VERSION", "9.1.2.3")
    assert tensorrt_version("10.3.0") == "10.3.0"
    monkeypatch.setenv("STANDIN_LIBRARY_VERSION", "10.3.0.30")
    assert tensorrt_version("10.3.0") == "10.3.0.30"


def test_an_old_tensorrt_is_refused() -> None:
    for version in ("10.3.0", "10.16.2.10", "11.4.0.106"):
        refuse_old_tensorrt(version)
    for version in ("8.6.2.3", "10.0.1"):
        with pytest.raises(ImportError, match="older than 10.3"):
            refuse_old_tensorrt(version)


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("no device (CUDA_ERROR_NO_DEVICE)", "check the board"),
        ("cuMemAlloc failed: out of memory", "close what else uses the GPU"),
        ("call requires newer driver", "does not fit the driver"),
        ("launch failed", "dermedge doctor"),
    ],
)
def test_every_failure_has_a_next_step(reason: str, words: str) -> None:
    assert words in str(cuda_failed("a GPU", reason))
