"""What many tests share: one small pack, written once."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import standin_for_tests
from packs_for_tests import write_pack
from standin_for_tests import Standin


def pytest_configure() -> None:
    """Ctrl-C reaches the tests that send it, where a shell has started them in its background, too.

    Such a shell lets a command and all of its children ignore SIGINT.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def tiny_pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a pack with arithmetic networks at 96x96; read it, do not change it."""
    return write_pack(tmp_path_factory.mktemp("packs") / "tiny")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or fills the user's cache of prepared graphs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DERMEDGE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def standin(tmp_path_factory: pytest.TempPathFactory) -> Standin:
    """Stand-ins of libnvinfer and libcuda for child processes: ``standin.run``, ``.variables``."""
    reason = standin_for_tests.why_not()
    if reason is not None:
        pytest.skip(reason)
    return Standin.compile(tmp_path_factory.mktemp("standin"))


@pytest.fixture
def standin_here(standin: Standin, monkeypatch: pytest.MonkeyPatch) -> Iterator[Standin]:
    """The same in this process: ``import tensorrt`` and ``import cuda.bindings`` work."""
    standin.enter(monkeypatch)
    yield standin
    _forget_tensorrt()


@pytest.fixture
def pycuda_here(standin: Standin, monkeypatch: pytest.MonkeyPatch) -> Iterator[Standin]:
    """Both stand-ins in this process, and the genuine pycuda on them; cuda-python is not there."""
    reason = standin_for_tests.why_no_pycuda()
    if reason is not None:
        pytest.skip(reason)
    standin.enter(monkeypatch, binding="pycuda")
    yield standin
    _forget_tensorrt()


def _forget_tensorrt() -> None:
    """To the next test TensorRT is not installed."""
    for name in [n for n in sys.modules if n.partition(".")[0] == "tensorrt"]:
        del sys.modules[name]
    sys.modules.pop("edge.engines.tensorrt", None)
