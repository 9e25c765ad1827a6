"""One build: its checks, its phases, and what tests let happen to it."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from . import device, graph, messages, plan, settings

if TYPE_CHECKING:
    from .building import IBuilderConfig
    from .parsing import INetworkDefinition

_WEAK = {"FP16", "BF16", "INT8", "FP8", "INT4"}


class BuildFailed(Exception):
    """The builder returns None, with this text on its logger."""


class Work:
    """What one call of ``build_serialized_network`` does."""

    def __init__(
        self,
        voice: messages.Voice,
        here: device.Device,
        network: INetworkDefinition,
        config: IBuilderConfig,
    ) -> None:
        self._voice, self._here, self._network, self._config = voice, here, network, config
        self._model = network._model

    def __call__(self) -> bytes:
        """The engine's bytes.

        Raises:
            BuildFailed: There is no engine.
        """
        self._check()
        self._phase("Building the engine", None, 3, self._steps)
        config = self._config
        return plan.Plan(
            version=plan.library_version(),
            device=self._here,
            precision=graph.precision(self._model),
            profiles=[profile._shapes for profile in config._profiles] or [self._static_shapes()],
            verbosity=config.profiling_verbosity.name,
            onnx=self._model.SerializeToString(),
        ).write()

    def _static_shapes(self) -> dict[str, list[list[int]]]:
        return {t.name: [list(t.shape)] * 3 for t in graph.tensors(self._model.graph.input)}

    def _check(self) -> None:
        if settings.text("BUILD_FAILS"):
            raise BuildFailed(str(settings.text("BUILD_FAILS")))
        if not self._model.graph.node:
            raise BuildFailed(
                "Error Code 4: API Usage Error (Network must have at least one output)"
            )
        if self._network._strongly_typed and self._config._flags & _WEAK:
            raise BuildFailed(
                "Error Code 3: API Usage Error (precision flags and strongly typed networks "
                "exclude each other)"
            )
        misused = graph.misused_uint8(self._model)
        if misused is not None:
            raise BuildFailed(
                f"Error Code 4: API Usage Error ({misused}: UINT8 is for inputs and outputs)"
            )
        for tensor in graph.tensors(self._model.graph.input):
            self._check_profiles(tensor)
        self._check_memory()

    def _check_profiles(self, tensor: graph.Tensor) -> None:
        if -1 in tensor.shape and not self._config._profiles:
            raise BuildFailed(
                "Error Code 4: Internal Error (Network has dynamic or shape inputs, but no "
                "optimization profile has been defined.)"
            )
        for profile in self._config._profiles:
            shapes = profile._shapes.get(tensor.name, [list(tensor.shape)] * 3)
            for shape in shapes:
                fits = len(shape) == len(tensor.shape) and all(
                    wanted in (-1, given) for given, wanted in zip(shape, tensor.shape, strict=True)
                )
                if not fits or -1 in shape:
                    raise BuildFailed(
                        f"Error Code 4: Internal Error (input {tensor.name}: the profile does not "
                        f"fit {list(tensor.shape)})"
                    )

    def _check_memory(self) -> None:
        workspace = self._config._pools["WORKSPACE"]
        above, needs = settings.number("BUILD_OOM_ABOVE"), settings.number("BUILD_NEEDS")
        if above is not None and workspace > above:
            raise BuildFailed(f"Error Code 2: OutOfMemory (Requested size was {workspace} bytes.)")
        if needs is not None and workspace < needs:
            name = self._model.graph.node[0].name or self._model.graph.node[0].op_type
            raise BuildFailed(
                "Error Code 10: Internal Error (Could not find any implementation for node "
                f"{name}.)"
            )

    def _steps(self) -> None:
        self._step("Building the engine", 0)
        names = [f"{index}:{n.op_type}" for index, n in enumerate(self._model.graph.node)]
        key = hashlib.sha256(self._model.SerializeToString()).hexdigest()
        cache = self._config._cache._layers if self._config._cache is not None else {}
        each = (settings.number("BUILD_SECONDS") or 0) / len(names)
        kill = settings.number("BUILD_KILL_ABOVE")

        def time_tactics() -> None:
            for step, name in enumerate(names):
                if kill is not None and self._config._pools["WORKSPACE"] > kill:
                    if step == len(names) // 2:
                        os.kill(os.getpid(), signal.SIGKILL)
                if f"{key}/{name}" not in cache:
                    time.sleep(each)
                    cache[f"{key}/{name}"] = 1.0
                self._step("Timing tactics", step)

        self._phase("Timing tactics", "Building the engine", len(names), time_tactics)
        self._step("Building the engine", 1)
        self._step("Building the engine", 2)

    def _phase(self, name: str, parent: str | None, steps: int, work: Any) -> None:
        self._tell("phase_start", name, parent, steps)
        try:
            work()
        finally:
            self._tell("phase_finish", name)

    def _step(self, phase: str, step: int) -> None:
        if not self._tell("step_complete", phase, step):
            raise BuildFailed("The build was cancelled by its progress monitor.")

    def _tell(self, what: str, *arguments: Any) -> Any:
        if self._config._monitor is None:
            return True
        try:
            return getattr(self._config._monitor, what)(*arguments)
        except Exception as error:  # C++ cannot throw it on
            print(f"[ERROR] Exception caught in {what}(): {error}", file=sys.stderr)
            return False


def in_another_thread(work: Work) -> bytes:
    """Do the work as the library does: callbacks come from a thread of its own, and no Python
    signal handler runs in the caller's thread until it is done."""
    outcome: list[bytes | BaseException] = []

    def body() -> None:
        try:
            outcome.append(work())
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=body, name="stand-in builder")
    thread.start()  # before the signals are blocked, so that this thread takes them
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        thread.join()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    (result,) = outcome
    if isinstance(result, BaseException):
        raise result
    return result
