"""The stand-in of tensorrt does what tests of build, gate and runtime rely on."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from prepared_graphs_for_tests import HEIGHT, WIDTH, segmenter_answer, write_segmenter

import genuine_for_tests as genuine
from standin_for_tests import Standin, alive, build_engine


@pytest.fixture
def trt(standin_here: Standin) -> Any:
    import tensorrt

    return tensorrt


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_segmenter(tmp_path_factory.mktemp("model") / "s.onnx").read_bytes()


class Heard:
    """A logger, and what was said on it."""

    def __init__(self, trt: Any) -> None:
        self.said: list[tuple[str, str]] = []
        said = self.said

        class Logger(trt.ILogger):
            def __init__(self) -> None:
                super().__init__()

            def log(self, severity: Any, msg: str) -> None:
                said.append((severity.name, msg))

        self.logger = Logger()

    def of(self, severity: str) -> str:
        return "\n".join(text for name, text in self.said if name == severity)


@pytest.fixture
def heard(trt: Any) -> Heard:
    return Heard(trt)


# --- building -------------------------------------------------------------------------------------


class Build:
    """One build, every step of which a test may change."""

    def __init__(self, trt: Any, heard: Heard, model: bytes) -> None:
        self.trt, self.heard = trt, heard
        self.builder = trt.Builder(heard.logger)
        strong = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        self.network = self.builder.create_network(strong)
        self.parser = trt.OnnxParser(self.network, heard.logger)
        self.parsed = self.parser.parse(model)
        self.config = self.builder.create_builder_config()
        self.profile = self.builder.create_optimization_profile()
        self.profile.set_shape("rgb", *((n, HEIGHT, WIDTH, 3) for n in (1, 4, 4)))

    def run(self) -> bytes | None:
        self.config.add_optimization_profile(self.profile)
        plan = self.builder.build_serialized_network(self.network, self.config)
        return None if plan is None else bytes(plan)


@pytest.fixture
def build(trt: Any, heard: Heard, model: bytes) -> Build:
    return Build(trt, heard, model)


def test_the_network_shows_its_inputs_and_outputs(build: Build) -> None:
    tensor = build.network.get_input(0)
    assert (tensor.name, tuple(tensor.shape)) == ("rgb", (-1, HEIGHT, WIDTH, 3))
    assert tensor.dtype == build.trt.uint8
    assert build.network.get_output(0).name == "probability"
    assert build.network.get_output(1) is None


def monitored(build: Build, go_on: Any) -> list[tuple[Any, ...]]:
    """Everything that a progress monitor is told, and the thread of the first call."""
    told: list[tuple[Any, ...]] = []

    class Monitor(build.trt.IProgressMonitor):
        def __init__(self) -> None:
            super().__init__()

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            told.append(("start", phase_name, parent_phase, num_steps, threading.get_ident()))

        def step_complete(self, phase_name: str, step: int) -> bool:
            told.append(("step", phase_name, step))
            return bool(go_on(phase_name, step))

        def phase_finish(self, phase_name: str) -> None:
            told.append(("finish", phase_name))

    build.config.progress_monitor = Monitor()
    return told


def test_progress_comes_in_nested_phases_from_another_thread(build: Build) -> None:
    told = monitored(build, lambda phase, step: True)
    assert build.run() is not None
    starts = [entry for entry in told if entry[0] == "start"]
    assert {entry[4] for entry in starts} != {threading.get_ident()}
    assert starts[1][2] == starts[0][1] and starts[0][2] is None
    for _, phase, _, steps, _ in starts:
        assert [e[2] for e in told if e[:2] == ("step", phase)] == list(range(steps))
    assert [e[1] for e in told if e[0] == "finish"] == [starts[1][1], starts[0][1]]


def test_a_monitor_that_says_no_ends_the_build(build: Build) -> None:
    told = monitored(build, lambda phase, step: step < 1)
    assert build.run() is None
    assert "cancelled" in build.heard.of("ERROR")
    assert [e[0] for e in told[-2:]] == ["finish", "finish"]


def test_a_monitor_that_raises_says_no(build: Build, capsys: pytest.CaptureFixture[str]) -> None:
    monitored(build, lambda phase, step: 1 / 0)
    assert build.run() is None
    assert "Exception caught in step_complete(): division by zero" in capsys.readouterr().err


def test_a_logger_that_raises_ends_the_process(standin: Standin) -> None:
    code = """
        import tensorrt
        class Logger(tensorrt.ILogger):
            def log(self, severity, msg):
                raise ValueError("of a test")
        tensorrt.Runtime(Logger()).deserialize_cuda_engine(b"no engine")
    """
    ended = standin.run(["-c", dedent(code)])
    assert ended.returncode == -signal.SIGABRT and "of a test" in ended.stderr


def test_no_profile_for_a_dynamic_input(build: Build) -> None:
    assert build.builder.build_serialized_network(build.network, build.config) is None
    assert "no optimization profile" in build.heard.of("ERROR")


def test_a_profile_that_does_not_fit(build: Build) -> None:
    build.profile.set_shape("rgb", *((n, HEIGHT, WIDTH + 1, 3) for n in (1, 4, 4)))
    assert build.run() is None
    with pytest.raises(ValueError, match="inconsistent"):
        build.profile.set_shape("rgb", *((n, HEIGHT, WIDTH, 3) for n in (4, 1, 4)))


def test_precision_flags_and_strong_typing_exclude_each_other(build: Build) -> None:
    if not hasattr(build.trt.BuilderFlag, "FP16"):
        pytest.skip("this release has no precision flags")
    build.config.set_flag(build.trt.BuilderFlag.FP16)
    assert build.run() is None


def test_flags(build: Build) -> None:
    tf32 = build.trt.BuilderFlag.TF32
    assert build.config.get_flag(tf32) and build.config.flags == 1 << int(tf32)
    build.config.clear_flag(tf32)
    assert not build.config.get_flag(tf32) and build.config.flags == 0
    build.config.flags = 1 << int(tf32)
    assert build.config.get_flag(tf32)


@pytest.mark.parametrize(
    ("setting", "value", "workspace", "said"),
    [
        ("BUILD_OOM_ABOVE", "1000", 1001, "OutOfMemory"),
        ("BUILD_OOM_ABOVE", "1000", 1000, None),
        ("BUILD_NEEDS", "1000", 999, "Could not find any implementation"),
        ("BUILD_NEEDS", "1000", 1000, None),
        ("BUILD_FAILS", "Error Code 9: of a test", 1, "Error Code 9: of a test"),
    ],
)
def test_planted_failures(
    build: Build, monkeypatch: Any, setting: str, value: str, workspace: int, said: str | None
) -> None:
    monkeypatch.setenv(f"STANDIN_{setting}", value)
    build.config.set_memory_pool_limit(build.trt.MemoryPoolType.WORKSPACE, workspace)
    built = build.run()
    assert (built is None) == (said is not None)
    assert (said or "") in build.heard.of("ERROR")


BUILD_IN_A_CHILD = """
    import signal, sys, time
    import standin_for_tests
    from prepared_graphs_for_tests import write_segmenter
    from pathlib import Path
    signal.signal(signal.SIGINT, lambda *_: print("handled", flush=True))
    model = write_segmenter(Path(sys.argv[1])).read_bytes()
    print("building", flush=True)
    standin_for_tests.build_engine(model)
    print("built", flush=True)
"""


def started(standin: Standin, folder: Path, **settings: object) -> subprocess.Popen[str]:
    """A child that builds; its first line is out."""
    variables = standin.variables(**settings)
    variables["PYTHONPATH"] += os.pathsep + str(Path(__file__).parent.parent)
    child = subprocess.Popen(
        [sys.executable, "-c", dedent(BUILD_IN_A_CHILD), str(folder / "model.onnx")],
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None and child.stdout.readline() == "building\n"
    return child


def test_a_build_can_be_killed_for_its_memory(standin: Standin, tmp_path: Path) -> None:
    with started(standin, tmp_path, build_kill_above=1000) as child:
        assert child.communicate()[0] == ""
    assert child.returncode == -signal.SIGKILL


def test_signal_handlers_run_when_the_build_is_over(standin: Standin, tmp_path: Path) -> None:
    with started(standin, tmp_path, build_seconds=2) as child:
        time.sleep(0.3)  # into the build; a signal before it would make the same two lines
        child.send_signal(signal.SIGINT)
        lines = child.communicate()[0].split()
    assert sorted(lines) == ["built", "handled"] and child.returncode == 0


def test_a_timing_cache_saves_the_time(build: Build, monkeypatch: Any, model: bytes) -> None:
    cache = build.config.create_timing_cache(b"")
    assert build.config.set_timing_cache(cache, ignore_mismatch=False)
    assert build.run() is not None
    kept = bytes(build.config.get_timing_cache().serialize())

    monkeypatch.setenv("STANDIN_BUILD_SECONDS", "1000")
    again = Build(build.trt, build.heard, model)
    again.config.set_timing_cache(again.config.create_timing_cache(kept), False)
    assert again.run() is not None
    assert again.config.create_timing_cache(kept[:-1]) is None

    monkeypatch.setenv("STANDIN_GPU_NAME", "Thor")
    other = Build(build.trt, build.heard, model)
    foreign = other.config.create_timing_cache(kept)
    assert not other.config.set_timing_cache(foreign, ignore_mismatch=False)
    assert other.config.set_timing_cache(foreign, ignore_mismatch=True)


# --- parsing --------------------------------------------------------------------------------------


def graph_of(nodes: list[onnx.NodeProto], *constants: onnx.TensorProto) -> onnx.ModelProto:
    picture = helper.make_tensor_value_info("rgb", TensorProto.UINT8, ["N", HEIGHT, WIDTH, 3])
    plane = helper.make_tensor_value_info("out", TensorProto.FLOAT, ["N", HEIGHT, WIDTH, 3])
    graph = helper.make_graph(nodes, "g", [picture], [plane], list(constants))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=10)


def quantizing(zero_point: np.ndarray[Any, Any]) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Cast", ["rgb"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("QuantizeLinear", ["f", "scale", "zero"], ["q"], name="quantize"),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["out"]),
    ]
    scale = numpy_helper.from_array(np.array(2.0, np.float32), "scale")
    return graph_of(nodes, scale, numpy_helper.from_array(zero_point, "zero"))


@pytest.mark.parametrize(
    ("model", "node", "operator", "code"),
    [
        (
            graph_of(
                [
                    helper.make_node("Cast", ["rgb"], ["f"], to=1),
                    helper.make_node("Odd", ["f"], ["out"], name="odd", domain="nobody"),
                ]
            ),
            "odd",
            "Odd",
            "UNSUPPORTED_NODE",
        ),
        (quantizing(np.array(3, np.int8)), "quantize", "QuantizeLinear", "UNSUPPORTED_NODE"),
        (
            quantizing(np.array(0, np.uint8)),
            "quantize",
            "QuantizeLinear",
            "UNSUPPORTED_NODE_DATATYPE",
        ),
    ],
)
def test_parser_errors_name_the_node(
    trt: Any, heard: Heard, model: onnx.ModelProto, node: str, operator: str, code: str
) -> None:
    build = Build(trt, heard, model.SerializeToString())
    assert not build.parsed
    error = build.parser.get_error(0)
    assert (error.node_name(), error.node_operator()) == (node, operator)
    assert error.code() == getattr(trt.ErrorCode, code)
    assert node in heard.of("ERROR")


def test_quantized_as_decided_is_taken(trt: Any, heard: Heard) -> None:
    assert Build(trt, heard, quantizing(np.array(0, np.int8)).SerializeToString()).parsed


@pytest.mark.parametrize("content", [b"", b"no model", b"\x08\x07"])
def test_what_is_no_model(trt: Any, heard: Heard, content: bytes) -> None:
    build = Build(trt, heard, content)
    assert not build.parsed and build.parser.num_errors == 1
    assert build.parser.get_error(0).code() == trt.ErrorCode.MODEL_DESERIALIZE_FAILED


def test_external_data_are_read_beside_the_model(trt: Any, heard: Heard, tmp_path: Path) -> None:
    weights = numpy_helper.from_array(np.ones((HEIGHT, WIDTH, 3), np.float32), "w")
    nodes = [
        helper.make_node("Cast", ["rgb"], ["f"], to=1),
        helper.make_node("Mul", ["f", "w"], ["out"]),
    ]
    path = tmp_path / "m.onnx"
    onnx.save(graph_of(nodes, weights), path, save_as_external_data=True, size_threshold=0)
    build = Build(trt, heard, path.read_bytes())
    assert not build.parsed
    assert build.parser.parse(path.read_bytes(), str(path))
    assert build.parser.parse_from_file(str(path))
    next(p for p in tmp_path.iterdir() if p != path).unlink()
    assert not build.parser.parse_from_file(str(path))


def test_uint8_is_for_one_cast(trt: Any, heard: Heard) -> None:
    transposed = helper.make_node("Transpose", ["rgb"], ["t"], perm=[0, 1, 2, 3], name="turn")
    model = graph_of([transposed, helper.make_node("Cast", ["t"], ["out"], to=1)])
    build = Build(trt, heard, model.SerializeToString())
    assert build.parsed and build.run() is None
    assert "turn" in heard.of("ERROR")


# --- reading engines ------------------------------------------------------------------------------


@pytest.fixture
def plan(trt: Any, model: bytes) -> bytes:
    return build_engine(model)


def read(trt: Any, heard: Heard, data: bytes) -> Any:
    return trt.Runtime(heard.logger).deserialize_cuda_engine(data)


@pytest.mark.parametrize("keep", [0, 1, 20, 30, 200, -1])
def test_truncated_and_foreign_engines(trt: Any, heard: Heard, plan: bytes, keep: int) -> None:
    assert read(trt, heard, plan[:keep]) is None
    assert "expecting library version" in heard.of("ERROR")
    assert "Engine deserialization failed" in heard.of("ERROR")


def test_a_changed_byte(trt: Any, heard: Heard, plan: bytes) -> None:
    broken = bytearray(plan)
    broken[-5] ^= 1
    assert read(trt, heard, bytes(broken)) is None


@pytest.mark.parametrize(
    ("setting", "value", "severity", "said"),
    [
        ("LIBRARY_VERSION", "10.99.0.1", "ERROR", "expecting library version 10.99.0.1 got "),
        ("GPU_COMPUTE", "11.0", "ERROR", "expecting compute 11.0 got compute 8.7, please rebuild"),
        ("GPU_SMS", "16", "WARNING", "across different models of devices"),
        ("GPU_NAME", "Thor", "WARNING", "across different models of devices"),
    ],
)
def test_engines_of_others(
    trt: Any,
    heard: Heard,
    plan: bytes,
    monkeypatch: Any,
    setting: str,
    value: str,
    severity: str,
    said: str,
) -> None:
    monkeypatch.setenv(f"STANDIN_{setting}", value)
    engine = read(trt, heard, plan)
    assert (engine is None) == (severity == "ERROR")
    assert said in heard.of(severity)


def test_the_engine_shows_its_tensors(trt: Any, heard: Heard, plan: bytes) -> None:
    engine = read(trt, heard, plan)
    names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
    assert names == ["rgb", "probability"]
    modes = [engine.get_tensor_mode(name) for name in names]
    assert modes == [trt.TensorIOMode.INPUT, trt.TensorIOMode.OUTPUT]
    assert engine.get_tensor_dtype("rgb") == trt.uint8
    assert tuple(engine.get_tensor_shape("probability")) == (-1, HEIGHT, WIDTH)
    profile = engine.get_tensor_profile_shape("rgb", 0)
    assert [tuple(shape)[0] for shape in profile] == [1, 4, 4]
    assert read(trt, heard, engine.serialize()) is not None


def test_the_inspector_says_as_much_as_was_asked_for(trt: Any, heard: Heard, model: bytes) -> None:
    form = trt.LayerInformationFormat.JSON

    def layers(verbosity: Any) -> list[Any]:
        engine = read(trt, heard, build_engine(model, profiling_verbosity=verbosity))
        found = engine.create_engine_inspector().get_engine_information(form)
        return list(json.loads(found)["Layers"])

    assert all(isinstance(e, str) for e in layers(trt.ProfilingVerbosity.LAYER_NAMES_ONLY))
    detailed = layers(trt.ProfilingVerbosity.DETAILED)
    assert [e["LayerType"] for e in detailed] == ["Cast", "ReduceMean", "Div"]


# --- running --------------------------------------------------------------------------------------


class Run:
    """An engine with memory, a stream and a context, as a runtime has them."""

    def __init__(self, trt: Any, heard: Heard, data: bytes) -> None:
        from cuda.bindings import driver

        self.driver = driver
        done(driver.cuInit(0))
        self.device = done(driver.cuDeviceGet(0))
        done(driver.cuCtxPushCurrent(done(driver.cuDevicePrimaryCtxRetain(self.device))))
        self.stream = done(driver.cuStreamCreate(1))
        self.memory = [done(driver.cuMemAlloc(4 * HEIGHT * WIDTH * 4)) for _ in range(2)]
        self.engine = read(trt, heard, data)
        self.context = self.engine.create_execution_context()

    def addresses(self) -> None:
        for name, memory in zip(("rgb", "probability"), self.memory, strict=True):
            assert self.context.set_tensor_address(name, int(memory))

    def __call__(self, pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        self.addresses()
        assert self.context.set_input_shape("rgb", pixels.shape)
        result = np.empty(tuple(self.context.get_tensor_shape("probability")), np.float32)
        source, target = self.memory
        call = self.driver.cuMemcpyHtoDAsync
        done(call(source, pixels.ctypes.data, pixels.nbytes, self.stream))
        assert self.context.execute_async_v3(int(self.stream))
        done(self.driver.cuStreamSynchronize(self.stream))
        done(self.driver.cuMemcpyDtoH(result.ctypes.data, target, result.nbytes))
        return result

    def close(self) -> None:
        del self.context, self.engine
        for memory in self.memory:
            self.driver.cuMemFree(memory)
        self.driver.cuStreamDestroy(self.stream)
        done(self.driver.cuCtxPopCurrent())
        done(self.driver.cuDevicePrimaryCtxRelease(self.device))


def done(answer: tuple[Any, ...]) -> Any:
    assert answer[0] == 0, answer
    return answer[1] if len(answer) == 2 else answer[1:]


@pytest.fixture
def run(trt: Any, heard: Heard, plan: bytes, standin_here: Standin) -> Iterator[Run]:
    made = Run(trt, heard, plan)
    yield made
    made.close()
    assert alive(standin_here.counters()) == {}


def pixels(batch: int) -> np.ndarray[Any, Any]:
    shape = (batch, HEIGHT, WIDTH, 3)
    return np.random.default_rng(batch).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize("batch", [1, 4])
def test_a_run_gives_what_the_network_computes(run: Run, batch: int) -> None:
    np.testing.assert_allclose(run(pixels(batch)), segmenter_answer(pixels(batch)), atol=1e-6)


def test_shapes_outside_the_profile(run: Run, heard: Heard) -> None:
    for shape in ((5, HEIGHT, WIDTH, 3), (1, HEIGHT, WIDTH + 1, 3), (1, HEIGHT)):
        assert not run.context.set_input_shape("rgb", shape)
        assert "API Usage Error" in heard.said.pop()[1]
    assert run.context.infer_shapes() == ["rgb"]
    run.addresses()
    assert not run.context.execute_async_v3(int(run.stream))
    assert "not specified" in heard.of("ERROR")


def test_addresses_are_wanted(run: Run, heard: Heard) -> None:
    assert run.context.set_input_shape("rgb", (1, HEIGHT, WIDTH, 3))
    assert not run.context.execute_async_v3(int(run.stream))
    assert "['rgb', 'probability'] are not set" in heard.of("ERROR")
    assert not run.context.set_tensor_address("rgb", int(run.memory[0]) + 1)
    assert not run.context.set_tensor_address("other", int(run.memory[0]))


def test_memory_that_is_too_small_fails_when_somebody_waits(run: Run, heard: Heard) -> None:
    run.addresses()
    small = done(run.driver.cuMemAlloc(16))
    run.context.set_input_shape("rgb", (1, HEIGHT, WIDTH, 3))
    run.context.set_tensor_address("probability", int(small))
    assert run.context.execute_async_v3(int(run.stream))
    assert run.driver.cuStreamSynchronize(run.stream)[0] == 719
    assert "probability: no" in heard.of("ERROR")
    run.driver.cuMemFree(small)


def test_a_planted_launch_failure(run: Run, monkeypatch: Any) -> None:
    monkeypatch.setenv("STANDIN_FAIL_LAUNCH", "2")
    run(pixels(1))
    assert run.context.execute_async_v3(int(run.stream))
    assert run.driver.cuStreamSynchronize(run.stream)[0] == 719


def test_without_a_current_context_nothing_is_launched(run: Run, heard: Heard) -> None:
    run.addresses()
    run.context.set_input_shape("rgb", (1, HEIGHT, WIDTH, 3))
    current = done(run.driver.cuCtxPopCurrent())
    assert not run.context.execute_async_v3(int(run.stream))
    assert "CUDA error 201" in heard.of("ERROR")
    done(run.driver.cuCtxPushCurrent(current))


def test_a_captured_run_replays_with_new_pixels(run: Run) -> None:
    driver, stream = run.driver, run.stream
    mode = driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
    run.addresses()
    run.context.set_input_shape("rgb", (2, HEIGHT, WIDTH, 3))
    done(driver.cuStreamBeginCapture(stream, mode))
    assert not run.context.execute_async_v3(int(stream)), "the first run of a shape"
    done(driver.cuGraphDestroy(done(driver.cuStreamEndCapture(stream))))

    run(pixels(2))
    done(driver.cuStreamBeginCapture(stream, mode))
    assert run.context.execute_async_v3(int(stream))
    graph = done(driver.cuStreamEndCapture(stream))
    executable = done(driver.cuGraphInstantiate(graph, 0))
    done(driver.cuGraphDestroy(graph))
    other = 255 - pixels(2)
    result = np.zeros((2, HEIGHT, WIDTH), np.float32)
    done(driver.cuMemcpyHtoD(run.memory[0], other.ctypes.data, other.nbytes))
    done(driver.cuGraphLaunch(executable, stream))
    done(driver.cuStreamSynchronize(stream))
    done(driver.cuMemcpyDtoH(result.ctypes.data, run.memory[1], result.nbytes))
    done(driver.cuGraphExecDestroy(executable))
    np.testing.assert_allclose(result, segmenter_answer(other), atol=1e-6)


def test_a_profiler_hears_of_every_layer(run: Run, trt: Any) -> None:
    heard_of = []

    class Profiler(trt.IProfiler):
        def __init__(self) -> None:
            super().__init__()

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            heard_of.append(layer_name)

    run.context.profiler = Profiler()
    run(pixels(1))
    assert len(heard_of) == run.engine.num_layers


def test_two_threads_run_at_the_same_time(
    trt: Any, heard: Heard, plan: bytes, standin_here: Standin
) -> None:
    wrong: list[object] = []

    def work(batch: int) -> None:
        own = Run(trt, heard, plan)
        for _ in range(30):
            if not np.allclose(own(pixels(batch)), segmenter_answer(pixels(batch)), atol=1e-6):
                wrong.append(batch)
        own.close()

    threads = [threading.Thread(target=work, args=(batch,), daemon=True) for batch in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads) and not wrong
    assert alive(standin_here.counters()) == {}


PERTURBED = {
    "float16": lambda right, got: 0 < np.abs(got - right).max() < 1e-3,
    "blank": lambda right, got: not got.any(),
    "nan": lambda right, got: np.isnan(got).any() and not np.isnan(got).all(),
    "shift:3": lambda right, got: np.allclose(got[..., 3:], right[..., :-3], atol=1e-6),
    "bad_tactic": lambda right, got: 0.2 < (np.abs(got - right) > 1e-3).mean() < 0.3,
    "blank@int8": lambda right, got: np.allclose(got, right, atol=1e-6),
    "blank@fp32@probability": lambda right, got: not got.any(),
}


@pytest.mark.parametrize("what", PERTURBED)
def test_perturbations(run: Run, monkeypatch: Any, what: str) -> None:
    monkeypatch.setenv("STANDIN_PERTURB", what)
    assert PERTURBED[what](segmenter_answer(pixels(2)), run(pixels(2)))


def test_exchanged_channels(
    trt: Any, heard: Heard, monkeypatch: Any, standin_here: Standin, tmp_path: Path
) -> None:
    """The mean of three channels does not notice; the second one minus the first would."""
    nodes = [
        helper.make_node("Cast", ["rgb"], ["f"], to=1),
        helper.make_node("Gather", ["f", "red"], ["probability"], axis=3),
    ]
    red = numpy_helper.from_array(np.array(0, np.int64), "red")
    model = graph_of(nodes, red)
    model.graph.output[0].CopyFrom(
        helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["N", HEIGHT, WIDTH])
    )
    monkeypatch.setenv("STANDIN_PERTURB", "swap")
    run = Run(trt, heard, build_engine(model.SerializeToString()))
    assert (run(pixels(1)) == pixels(1)[..., 2]).all()
    run.close()


def test_an_unknown_perturbation_is_no_silent_one(run: Run, monkeypatch: Any) -> None:
    monkeypatch.setenv("STANDIN_PERTURB", "blnak")
    run.addresses()
    run.context.set_input_shape("rgb", (1, HEIGHT, WIDTH, 3))
    assert run.context.execute_async_v3(int(run.stream))
    assert run.driver.cuStreamSynchronize(run.stream)[0] == 719


# --- the device and the releases ------------------------------------------------------------------


def test_without_a_device_nothing_starts(trt: Any, heard: Heard, monkeypatch: Any) -> None:
    monkeypatch.setenv("STANDIN_GPU_COUNT", "0")
    for made in (trt.Builder, trt.Runtime):
        with pytest.raises(TypeError, match="factory function returned nullptr"):
            made(heard.logger)
    assert "CUDA initialization failure with error: 100" in heard.of("ERROR")


def test_a_context_keeps_the_primary_one_where_none_is_current(
    standin: Standin, tmp_path: Path
) -> None:
    """As CUDA's runtime API does, which the genuine library uses: the leak shows."""
    report = tmp_path / "report.jsonl"
    code = f"""
        import sys
        sys.path.insert(0, {str(Path(__file__).parent.parent)!r})
        import standin_for_tests, tensorrt
        from pathlib import Path
        from prepared_graphs_for_tests import write_segmenter
        model = write_segmenter(Path({str(tmp_path / "m.onnx")!r})).read_bytes()
        runtime = tensorrt.Runtime(tensorrt.Logger())
        engine = runtime.deserialize_cuda_engine(standin_for_tests.build_engine(model))
        engine.create_execution_context()
    """
    ended = standin.run(["-c", dedent(code)], cuda_report=report)
    assert ended.returncode == 0, ended.stderr
    assert alive(json.loads(report.read_text())) == {"contexts": 1}


@pytest.mark.parametrize("release", genuine.TENSORRT_RELEASES)
def test_every_release_builds_and_reads(release: str, standin: Standin, tmp_path: Path) -> None:
    reason = genuine.why_no_tensorrt(release)
    if reason is not None:
        pytest.skip(reason)
    code = f"""
        import sys
        sys.path.insert(0, {str(Path(__file__).parent.parent)!r})
        import standin_for_tests, tensorrt
        from pathlib import Path
        from prepared_graphs_for_tests import write_segmenter
        model = write_segmenter(Path({str(tmp_path / "m.onnx")!r})).read_bytes()
        plan = standin_for_tests.build_engine(model)
        runtime = tensorrt.Runtime(tensorrt.Logger())
        assert runtime.deserialize_cuda_engine(plan).num_io_tensors == 2
        print(tensorrt.__version__)
    """
    ended = standin.run(["-c", dedent(code)], release=release)
    assert (ended.stdout, ended.returncode) == (f"{release}\n", 0), ended.stderr


def test_the_library_tells_its_four_parts(trt: Any, monkeypatch: Any) -> None:
    library = ctypes.CDLL(f"libnvinfer.so.{trt.__version__.partition('.')[0]}")
    monkeypatch.setenv("STANDIN_LIBRARY_VERSION", "10.3.0.30")
    names = ("Major", "Minor", "Patch", "Build")
    parts = [getattr(library, f"getInferLib{name}Version")() for name in names]
    assert (parts, library.getInferLibVersion()) == ([10, 3, 0, 30], 100300)


def test_without_its_variables_there_is_no_tensorrt(standin: Standin) -> None:
    code = f"""
        import sys
        sys.path.insert(0, {str(Path(__file__).parent / "site")!r})
        try:
            import tensorrt
        except ModuleNotFoundError as error:
            print(error.name)
    """
    ended = subprocess.run(
        [sys.executable, "-c", dedent(code)], capture_output=True, text=True, check=True
    )
    assert ended.stdout == "tensorrt\n"
