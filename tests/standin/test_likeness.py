"""The stand-in of tensorrt shows what the genuine module of each release shows, and no more."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import genuine_for_tests as genuine
from standin_for_tests import Standin

COMPARE = Path(__file__).with_name("compare_with_genuine.py")


@pytest.mark.parametrize("release", genuine.TENSORRT_RELEASES)
def test_names_properties_and_parameters_are_the_genuine_ones(
    release: str, standin: Standin
) -> None:
    reason = genuine.why_no_tensorrt(release)
    if reason is not None:
        pytest.skip(reason)
    done = standin.run([str(COMPARE)], release=release)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []


def test_a_difference_is_noticed(standin: Standin) -> None:
    code = f"""
import sys
sys.path.insert(0, {str(COMPARE.parent)!r})
import tensorrt
from compare_with_genuine import differences
Runtime = tensorrt.Runtime
Runtime.invented = lambda self: None
Runtime.deserialize_cuda_engine = lambda self, engine: None
del Runtime.max_threads
tensorrt.invented = 1
print(*differences(), sep="\\n")
"""
    done = standin.run(["-c", code])
    assert done.returncode == 0, done.stderr
    first = [line.split(" ")[0] for line in done.stdout.splitlines()]
    wanted = ["tensorrt.invented"]
    wanted += [f"Runtime.{n}" for n in ("invented", "max_threads", "deserialize_cuda_engine")]
    assert first == wanted


@pytest.mark.parametrize(
    ("release", "has"), [("10.3.0", False), ("10.7.0", True), ("11.4.0.106", True)]
)
def test_what_only_some_releases_have(release: str, has: bool, standin: Standin) -> None:
    reason = genuine.why_no_tensorrt(release)
    if reason is not None:
        pytest.skip(reason)
    code = "import tensorrt; print(hasattr(tensorrt.IBuilderConfig, 'max_num_tactics'))"
    assert standin.run(["-c", code], release=release).stdout == f"{has}\n"
