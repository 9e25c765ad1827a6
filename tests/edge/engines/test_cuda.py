"""Both bindings on the stand-in of libcuda: the same checks as on a GPU, and what goes wrong."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cuda_checks_for_tests as checks
import pytest

from edge.engines import cuda as interface
from edge.engines import gpu_thread
from edge.engines.cuda import Cuda, CudaError, open_cuda
from edge.engines.gpu_thread import GpuThread
from edge.errors import ModelRefusedError, RequestError
from standin_for_tests import Standin, alive


@pytest.fixture(params=["cuda-python", "pycuda"])
def gpu_here(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Standin]:
    """Both bindings in turn; whatever a test made on the GPU is gone at its end."""
    names = {"cuda-python": "standin_here", "pycuda": "pycuda_here"}
    standin: Standin = request.getfixturevalue(names[request.param])
    # An earlier test may have loaded the other one.
    other = {"cuda-python": "pycuda", "pycuda": "cuda"}[request.param]
    monkeypatch.setitem(sys.modules, other, None)
    yield standin
    assert alive(standin.counters()) == {}


@pytest.fixture
def cuda(gpu_here: Standin) -> Iterator[Cuda]:
    with open_cuda() as opened, opened.current():
        yield opened


@pytest.mark.parametrize(
    "check",
    [
        checks.check_facts,
        checks.check_replay,
        checks.check_failed_capture,
        checks.check_current,
        checks.check_too_much,
    ],
)
def test_a_binding_does_what_the_engines_need(cuda: Cuda, check: Callable[[Cuda], None]) -> None:
    check(cuda)


@pytest.mark.parametrize("mapped", [False, True])
def test_bytes_go_there_and_back(cuda: Cuda, mapped: bool) -> None:
    checks.check_copies(cuda, mapped=mapped)


# --- what goes wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("STANDIN_GPU_COUNT", "0", "no cuda|no device"),
        ("STANDIN_FAIL_INIT", "100", "check the board"),
        ("STANDIN_FAIL_INIT", "803", "does not fit the driver"),
    ],
)
def test_no_gpu_and_no_driver_are_told_apart(
    gpu_here: Standin, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, words: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(CudaError, match=f"(?i){words}") as caught:
        open_cuda()
    assert caught.value.exit_code == 4


def test_a_gpu_of_another_number_is_none(gpu_here: Standin) -> None:
    with pytest.raises(CudaError, match="(?i)invalid device"):
        open_cuda(7)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_memory_that_ends_half_way_is_given_back(
    cuda: Cuda, gpu_here: Standin, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    before = gpu_here.counters()["all_allocations"]
    monkeypatch.setenv("STANDIN_FAIL_ALLOC", f"{before + number}+")
    with pytest.raises(CudaError, match="close what else uses the GPU"):
        checks.check_copies(cuda, mapped=False)
    monkeypatch.delenv("STANDIN_FAIL_ALLOC")
    checks.check_copies(cuda, mapped=False)


def test_closing_twice_is_harmless_and_the_thread_keeps_no_context(gpu_here: Standin) -> None:
    opened = open_cuda()
    with opened.current():
        checks.check_copies(opened, mapped=True)
        with opened.current():
            assert opened.memory_bytes()[1] > 0
    with pytest.raises(CudaError):
        opened.memory_bytes()
    opened.close()
    opened.close()
    assert gpu_here.counters()["contexts"] == 0


# --- which binding --------------------------------------------------------------------------------


def test_neither_is_a_wrong_request(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pycuda", "cuda"):
        monkeypatch.setitem(sys.modules, name, None)
    assert not interface.has_binding()
    with pytest.raises(RequestError, match="got neither; in dermedge.s folder") as caught:
        open_cuda()
    assert caught.value.exit_code == 2


@pytest.fixture
def broken_pycuda(
    standin_here: Standin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Standin:
    """A pycuda that was built for another CUDA, in front of whatever else is here."""
    package = tmp_path / "pycuda"
    package.mkdir()
    (package / "__init__.py").write_text("")
    words = "libcurand.so.10: cannot open shared object file"
    (package / "driver.py").write_text(f"raise ImportError({words!r})\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [n for n in sys.modules if n.partition(".")[0] == "pycuda"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "edge.engines.cuda_pycuda", raising=False)
    return standin_here


def test_one_that_does_not_load_leaves_the_other(broken_pycuda: Standin) -> None:
    with open_cuda() as opened:
        assert opened.binding == "cuda-python"


def test_one_that_does_not_load_is_one_line(
    broken_pycuda: Standin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cuda", None)
    with pytest.raises(RequestError, match="pycuda: libcurand") as caught:
        open_cuda()
    assert "\n" not in str(caught.value)


# --- the thread -----------------------------------------------------------------------------------


def test_everything_is_done_in_one_thread(gpu_here: Standin) -> None:
    with GpuThread() as gpu:
        names = {gpu.call(lambda _: threading.current_thread().name) for _ in range(3)}
        assert names == {"gpu"}
        with pytest.raises(KeyError, match="it"):
            gpu.call(lambda _: {}["it"])
        assert gpu.call(lambda cuda: cuda.memory_bytes()[1]) > 0
    gpu.close()
    with pytest.raises(ModelRefusedError, match="closed before"):
        gpu.call(lambda cuda: cuda.gpu_name)


def test_ctrl_c_while_the_gpu_opens_ends_the_thread(gpu_here: Standin) -> None:
    opening, go_on = threading.Event(), threading.Event()

    def slowly() -> Cuda:
        opening.set()
        go_on.wait()
        return open_cuda()

    def press() -> None:
        opening.wait()
        # Again and again: a signal that comes just before the main thread waits does not wake it.
        while not go_on.wait(0.05):
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    def pressed(number: int, frame: object) -> None:
        if not go_on.is_set():
            go_on.set()
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, pressed)
    try:
        with pytest.raises(KeyboardInterrupt):
            threading.Thread(target=press).start()
            GpuThread(slowly)
    finally:
        signal.signal(signal.SIGINT, before)
    for thread in [thread for thread in threading.enumerate() if thread.name == "gpu"]:
        thread.join(30)
        assert not thread.is_alive()


def test_a_gpu_that_never_answers_does_not_hold_up_the_end(
    gpu_here: Standin, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(gpu_thread, "CLOSE_WITHIN_S", 0.2)
    go_on, given_back = threading.Event(), []
    gpu = GpuThread()
    threading.Thread(target=lambda: gpu.call(lambda _: go_on.wait(60)), daemon=True).start()
    time.sleep(0.1)
    began_s = time.monotonic()
    for _ in range(3):
        gpu.call_at_the_end(lambda _: given_back.append(True))
    gpu.close()
    gpu.close()
    assert time.monotonic() - began_s < 5.0 and given_back == []
    assert caplog.text.count("its thread is left behind") == 1
    go_on.set()
    for thread in [thread for thread in threading.enumerate() if thread.name == "gpu"]:
        thread.join(30)  # it comes back after all, and gives back what it holds


def test_what_is_given_back_at_the_end_is_waited_for(gpu_here: Standin) -> None:
    given_back = []
    with GpuThread() as gpu:
        gpu.call_at_the_end(lambda _: (time.sleep(0.1), given_back.append(True)))
        assert given_back == [True]
        with pytest.raises(KeyError):
            gpu.call_at_the_end(lambda _: {}["it"])
    gpu.call_at_the_end(lambda _: given_back.append(False))
    assert given_back == [True]
