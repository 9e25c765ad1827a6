"""A build in its own process: limits, retries, words; on the stand-in of TensorRT."""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from prepared_graphs_for_tests import HEIGHT, WIDTH, write_segmenter

import genuine_for_tests as genuine
from convert import build_process
from convert.build_memory import MIB, Memory
from convert.build_process import Compiled, compile_engine, engine_layers
from convert.compiler_link import Order, Uplink
from convert.timing_cache import read_timing_cache
from edge.engine_card import BuilderSettings
from edge.errors import DermedgeError, ModelRefusedError, RequestError
from standin_for_tests import Standin

SETTINGS = BuilderSettings(max_batch=8, opt_batch=4, workspace_mib=64)
ROOMY = Memory(total_bytes=8192 * MIB, available_bytes=6000 * MIB)

pytestmark = pytest.mark.usefixtures("compiler")


@pytest.fixture
def graph(tmp_path: Path) -> bytes:
    return write_segmenter(tmp_path / "graph.onnx").read_bytes()


@pytest.fixture
def file(tmp_path: Path) -> Iterator[BinaryIO]:
    with (tmp_path / "made.engine").open("wb") as opened:
        yield opened


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch) -> Any:
    """``plant(build_fails="words")`` sets a variable of the stand-in."""

    def set_(**settings: object) -> None:
        for name, value in settings.items():
            monkeypatch.setenv(f"STANDIN_{name.upper()}", str(value))

    return set_


def compile_it(graph: bytes, file: BinaryIO, settings: BuilderSettings = SETTINGS) -> Compiled:
    return compile_engine(
        graph,
        file,
        settings,
        timing_cache=timing_cache(file),
        title="segmenter tiny",
        memory=ROOMY,
    )


def timing_cache(file: BinaryIO) -> Path:
    return Path(file.name).with_name("timing.cache")


def plan_of(file: BinaryIO) -> Any:
    from tensorrt.plan import Plan

    return Plan.read(Path(file.name).read_bytes())


# --- what comes out -------------------------------------------------------------------------------


def test_an_engine_is_written_and_told(graph: bytes, file: BinaryIO) -> None:
    compiled = compile_it(graph, file)
    content = Path(file.name).read_bytes()
    assert compiled.sha256 == hashlib.sha256(content).hexdigest()
    assert compiled.size_bytes == len(content) > len(graph)
    assert (compiled.attempts, compiled.limits.workspace_bytes) == (1, 64 * MIB)
    assert compiled.seconds > 0
    plan = plan_of(file)
    assert plan.onnx == onnx.load_model_from_string(graph).SerializeToString()
    assert plan.verbosity == "DETAILED"
    shapes = [[batch, HEIGHT, WIDTH, 3] for batch in (1, 4, 8)]
    assert plan.profiles == [{"rgb": shapes}]


@pytest.mark.parametrize("release", genuine.TENSORRT_RELEASES)
def test_every_release_compiles(
    compiler: Standin, graph: bytes, file: BinaryIO, monkeypatch: pytest.MonkeyPatch, release: str
) -> None:
    reason = genuine.why_no_tensorrt(release)
    if reason is not None:
        pytest.skip(reason)
    for name, value in compiler.variables(release).items():
        if name.startswith("STANDIN_"):
            monkeypatch.setenv(name, value)
    compile_it(graph, file)
    assert plan_of(file).version.startswith(release)
    assert len(engine_layers(Path(file.name))) == 3


def test_a_fixed_batch_stays_one(tmp_path: Path, file: BinaryIO) -> None:
    graph = write_segmenter(tmp_path / "one.onnx", batch=1).read_bytes()
    compile_it(graph, file)
    assert plan_of(file).profiles == [{"rgb": [[1, HEIGHT, WIDTH, 3]] * 3}]


def test_the_file_holds_nothing_of_an_attempt_before(graph: bytes, file: BinaryIO) -> None:
    file.write(b"half an engine" * 10_000)
    file.flush()
    compiled = compile_it(graph, file)
    assert Path(file.name).stat().st_size == compiled.size_bytes


def test_layers_are_told(graph: bytes, file: BinaryIO) -> None:
    compile_it(graph, file)
    layers = engine_layers(Path(file.name))
    assert [layer["LayerType"] for layer in layers] == ["Cast", "ReduceMean", "Div"]
    compile_it(graph, file, SETTINGS.model_copy(update={"detailed": False}))
    assert [set(layer) for layer in engine_layers(Path(file.name))] == [{"Name"}] * 3


@pytest.mark.parametrize("content", [b"", b"no engine at all"])
def test_layers_of_what_is_no_engine(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.engine"
    path.write_bytes(content)
    with pytest.raises(ModelRefusedError, match="not compatible with this version") as caught:
        engine_layers(path)
    assert "dermedge-convert build PACK" in caught.value.next_step


def test_settings_reach_tensorrt(compiler: Standin, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process, where a configuration can be looked into."""
    import tensorrt as trt

    from convert import build

    monkeypatch.delitem(sys.modules, "convert.build")
    config = trt.Builder(trt.Logger()).create_builder_config()
    order = Order(
        work="build",
        parent_pid=os.getpid(),
        events_fd=-1,
        optimization_level=5,
        workspace_bytes=MIB,
        tactic_bytes=1 << 60,
    )
    everything = config.get_memory_pool_limit(trt.MemoryPoolType.TACTIC_DRAM)
    build._configure(config, order, Uplink(order))
    assert not config.get_flag(trt.BuilderFlag.TF32)
    assert config.flags == 0
    assert config.builder_optimization_level == 5
    assert config.get_memory_pool_limit(trt.MemoryPoolType.WORKSPACE) == MIB
    # Never more than TensorRT would take by itself: a card of its own has less than the board.
    assert config.get_memory_pool_limit(trt.MemoryPoolType.TACTIC_DRAM) == everything
    assert build._network_flags() == 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)


# --- memory ---------------------------------------------------------------------------------------


def test_out_of_memory_is_tried_again_with_less(
    graph: bytes, file: BinaryIO, plant: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    plant(build_oom_above=20 * MIB)
    compiled = compile_it(graph, file)
    assert (compiled.attempts, compiled.limits.workspace_bytes) == (3, 16 * MIB)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2 and all("OutOfMemory" in line for line in said)
    assert said[0].endswith("trying again with half of the memory, 32 MiB of workspace")


def test_after_three_attempts_it_is_over(graph: bytes, file: BinaryIO, plant: Any) -> None:
    plant(build_oom_above=1)
    with pytest.raises(DermedgeError, match="OutOfMemory.* after 3 attempts") as caught:
        compile_it(graph, file)
    assert caught.value.exit_code == 5
    assert "16 MiB of workspace" in str(caught.value) and "swap" in caught.value.next_step


@pytest.mark.parametrize(
    ("by_kernel", "left_mib", "words"),
    [
        (True, 4000, "out of memory: the kernel killed the compiler"),
        (False, 100, "out of memory, most likely: the compiler was killed with 100 of 8192 MiB"),
        (False, 4000, "was killed, as the kernel does for lack of memory, with 4000 of 8192 MiB"),
    ],
)
def test_a_killed_compiler_is_named_and_tried_again(
    graph: bytes,
    file: BinaryIO,
    plant: Any,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    by_kernel: bool,
    left_mib: int,
    words: str,
) -> None:
    """Whose kill it was, the kernel's files say, which a test cannot write."""
    monkeypatch.setattr(build_process.KernelKills, "happened", lambda self: by_kernel)
    memory = Memory(ROOMY.total_bytes, left_mib * MIB)
    monkeypatch.setattr(build_process, "read_memory", lambda: memory)
    plant(build_kill_above=40 * MIB)
    compiled = compile_it(graph, file)
    assert (compiled.attempts, compiled.limits.workspace_bytes) == (2, 32 * MIB)
    assert words in capsys.readouterr().err


def test_too_little_memory_to_begin_with(graph: bytes, file: BinaryIO) -> None:
    with pytest.raises(DermedgeError, match="expected 768 MiB of free memory.*got 300 of 4096"):
        compile_engine(
            graph,
            file,
            SETTINGS,
            timing_cache=timing_cache(file),
            title="t",
            memory=Memory(4096 * MIB, 300 * MIB),
        )


def test_too_little_workspace_is_not_tried_again(graph: bytes, file: BinaryIO, plant: Any) -> None:
    plant(build_needs=65 * MIB)
    with pytest.raises(DermedgeError, match="64 MiB of workspace.*Could not find any impl") as e:
        compile_it(graph, file)
    assert "--workspace-mib" in e.value.next_step


# --- refusals -------------------------------------------------------------------------------------


def test_the_logger_says_why_there_is_no_engine(graph: bytes, file: BinaryIO, plant: Any) -> None:
    plant(build_fails="Error Code 9: of a test")
    with pytest.raises(ModelRefusedError, match="compile segmenter tiny; got Error Code 9: of a"):
        compile_it(graph, file)
    assert Path(file.name).stat().st_size == 0


def graph_of(nodes: list[Any], *weights: Any, batch: Any = "N", width: Any = WIDTH) -> bytes:
    shape = [batch, HEIGHT, width, 3]
    picture = helper.make_tensor_value_info("rgb", TensorProto.UINT8, shape)
    answer = helper.make_tensor_value_info("out", TensorProto.FLOAT, shape)
    made = helper.make_graph(nodes, "g", [picture], [answer], list(weights))
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    content: bytes = model.SerializeToString()
    return content


CAST = helper.make_node("Cast", ["rgb"], ["out"], to=TensorProto.FLOAT)


def test_an_operator_that_tensorrt_lacks_is_named(file: BinaryIO) -> None:
    nodes = [
        helper.make_node("Cast", ["rgb"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Odd", ["f"], ["out"], name="the odd one", domain="nobody"),
    ]
    with pytest.raises(ModelRefusedError, match=r"node the odd one \(Odd\):.*Plugin not") as e:
        compile_it(graph_of(nodes), file)
    assert "dermedge-convert check PACK" in e.value.next_step


def test_of_many_errors_three_are_told(file: BinaryIO) -> None:
    names = ["rgb", "a", "b", "c", "d", "out"]
    nodes = [
        helper.make_node("Odd", [x], [y], name=y, domain="nobody")
        for x, y in zip(names, names[1:], strict=False)
    ]
    with pytest.raises(ModelRefusedError, match=r"node a .*node b .*node c .*; and 2 more"):
        compile_it(graph_of(nodes), file)


def test_external_data_that_are_missing(tmp_path: Path, file: BinaryIO) -> None:
    weights = numpy_helper.from_array(np.ones((HEIGHT, WIDTH, 3), np.float32), "w")
    nodes = [
        helper.make_node("Cast", ["rgb"], ["f"], to=1),
        helper.make_node("Mul", ["f", "w"], ["out"]),
    ]
    model = onnx.load_model_from_string(graph_of(nodes, weights))
    path = tmp_path / "m.onnx"
    onnx.save(model, path, save_as_external_data=True, size_threshold=0)
    with pytest.raises(ModelRefusedError, match="Failed to import initializer w"):
        compile_it(path.read_bytes(), file)


@pytest.mark.parametrize(
    ("batch", "width", "shape"),
    [(3, WIDTH, rf"\[3, {HEIGHT}, {WIDTH}, 3\]"), ("N", "W", rf"\[-1, {HEIGHT}, -1, 3\]")],
)
def test_a_shape_that_no_profile_fits(file: BinaryIO, batch: Any, width: Any, shape: str) -> None:
    with pytest.raises(ModelRefusedError, match=f"input rgb has shape {shape}: only the batch"):
        compile_it(graph_of([CAST], batch=batch, width=width), file)


@pytest.mark.parametrize("content", [b"", b"no graph"])
def test_what_is_no_graph(file: BinaryIO, content: bytes) -> None:
    with pytest.raises(ModelRefusedError, match="Failed to parse"):
        compile_it(content, file)


# --- the machine ----------------------------------------------------------------------------------


def test_no_gpu(graph: bytes, file: BinaryIO, plant: Any) -> None:
    plant(fail_init=100)
    with pytest.raises(DermedgeError, match="a GPU that TensorRT can use.*failure with error: 100"):
        compile_it(graph, file)


def test_no_tensorrt(graph: bytes, file: BinaryIO, monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n: None if n == "tensorrt" else find_spec(n)
    )
    with pytest.raises(RequestError, match="the module tensorrt; got none.*python3-libnvinfer"):
        compile_it(graph, file)


def test_a_tensorrt_that_does_not_load(
    graph: bytes, file: BinaryIO, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STANDIN_BINDINGS", str(tmp_path))
    with pytest.raises(RequestError, match="a TensorRT that loads; got ModuleNotFoundError"):
        compile_it(graph, file)


def test_a_compiler_that_crashes(
    graph: bytes, file: BinaryIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    crash = "import os, signal; print('last words'); os.kill(os.getpid(), signal.SIGSEGV)"
    # What print holds back dies with the process.
    monkeypatch.setattr(build_process, "_CHILD", crash.replace("words')", "words', flush=True)"))
    with pytest.raises(DermedgeError, match=r"got signal SIGSEGV \(last words\)"):
        compile_it(graph, file)


def test_an_engine_that_cannot_be_written(graph: bytes, tmp_path: Path) -> None:
    with pytest.raises(OSError) as caught, open(tmp_path / "graph.onnx", "rb") as file:
        compile_it(graph, file)
    assert caught.value.errno in (errno.EBADF, errno.EINVAL)


# --- the timing cache -----------------------------------------------------------------------------


def test_what_was_timed_is_not_timed_again(graph: bytes, file: BinaryIO, plant: Any) -> None:
    compile_it(graph, file)
    plant(build_seconds=100_000)
    compile_it(graph, file)


def test_a_damaged_timing_cache_is_dropped(
    graph: bytes, file: BinaryIO, capsys: pytest.CaptureFixture[str]
) -> None:
    timing_cache(file).write_bytes(b"damaged")
    compile_it(graph, file)
    assert "timing.cache is dropped: it is damaged" in capsys.readouterr().err
    assert read_timing_cache(timing_cache(file))[1] == ""


def test_a_timing_cache_of_another_device_is_dropped(
    graph: bytes, file: BinaryIO, plant: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    compile_it(graph, file)
    plant(gpu_name="Thor")
    compile_it(graph, file)
    assert "the timing cache is dropped: TensorRT does not take it" in capsys.readouterr().err


def test_a_timing_cache_that_cannot_be_kept(
    graph: bytes, file: BinaryIO, capsys: pytest.CaptureFixture[str]
) -> None:
    timing_cache(file).mkdir()
    compile_it(graph, file)
    said = capsys.readouterr().err
    assert "is dropped: Is a directory" in said and "is not kept: Is a directory" in said
