"""``Builder`` and what it makes: configuration, profiles, timing cache, and the engine's bytes."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from . import device, genuine, messages, plan
from .build_work import BuildFailed, Work, in_another_thread
from .parsing import INetworkDefinition, ITensor, OnnxParser, ParserError

__all__ = ["INetworkDefinition", "ITensor", "OnnxParser", "ParserError"]

_POOLS = genuine.MemoryPoolType


class IHostMemory(bytes):
    """The engine's bytes. To be a buffer takes ``bytes`` as a base before Python 3.12."""

    def __init__(self, data: bytes | None = None) -> None:
        if data is None:
            raise messages.no_constructor("IHostMemory")

    @property
    def dtype(self) -> Any:
        return genuine.DataType.INT8

    @property
    def nbytes(self) -> int:
        return memoryview(self).nbytes


class IOptimizationProfile:
    """Smallest, best and largest shape of each input."""

    def __init__(self) -> None:
        raise messages.no_constructor("IOptimizationProfile")

    @classmethod
    def _empty(cls) -> IOptimizationProfile:
        self = cls.__new__(cls)
        self._shapes: dict[str, list[list[int]]] = {}
        return self

    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:
        shapes = [list(min), list(opt), list(max)]
        ranks = {len(shape) for shape in shapes}
        ordered = all(0 <= a <= b <= c for a, b, c in zip(*shapes, strict=False))
        if len(ranks) != 1 or not ordered:
            raise ValueError("Shape provided has an inconsistent number of dimensions or order")
        self._shapes[input] = shapes

    def get_shape(self, input: str) -> list[Any]:
        return [genuine.Dims(shape) for shape in self._shapes.get(input, [])]

    def __bool__(self) -> bool:
        return bool(self._shapes)


class ITimingCache:
    """How long each layer took, on one device and version."""

    def __init__(self) -> None:
        raise messages.no_constructor("ITimingCache")

    @classmethod
    def _of(cls, origin: list[Any], layers: dict[str, float]) -> ITimingCache:
        self = cls.__new__(cls)
        self._origin, self._layers = origin, layers
        return self

    def serialize(self) -> IHostMemory:
        content = json.dumps([self._origin, self._layers], sort_keys=True).encode()
        return IHostMemory(hashlib.sha256(content).digest() + content)

    def combine(self, input_cache: ITimingCache, ignore_mismatch: bool) -> bool:
        if self._origin != input_cache._origin and not ignore_mismatch:
            return False
        self._layers.update(input_cache._layers)
        return True

    def reset(self) -> bool:
        self._layers.clear()
        return True


class IBuilderConfig:
    """How to build."""

    def __init__(self) -> None:
        raise messages.no_constructor("IBuilderConfig")

    @classmethod
    def _default(cls, voice: messages.Voice, here: device.Device) -> IBuilderConfig:
        self = cls.__new__(cls)
        self._voice, self._here = voice, here
        self._flags: set[str] = {"TF32"}
        self._pools = {"WORKSPACE": here.memory, "TACTIC_DRAM": here.memory * 3 // 4}
        self._profiles: list[IOptimizationProfile] = []
        self._cache: ITimingCache | None = None
        self._monitor: Any = None
        self._optimization_level = 3
        self._verbosity = genuine.ProfilingVerbosity.LAYER_NAMES_ONLY
        return self

    def set_flag(self, flag: Any) -> None:
        self._flags.add(flag.name)

    def clear_flag(self, flag: Any) -> None:
        self._flags.discard(flag.name)

    def get_flag(self, flag: Any) -> bool:
        return flag.name in self._flags

    @property
    def flags(self) -> int:
        return sum(1 << int(getattr(genuine.BuilderFlag, name)) for name in self._flags)

    @flags.setter
    def flags(self, value: int) -> None:
        members = genuine.BuilderFlag.__members__
        self._flags = {name for name, flag in members.items() if value >> int(flag) & 1}

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
        if not isinstance(pool, _POOLS) or isinstance(pool_size, float):
            raise TypeError("set_memory_pool_limit(): incompatible function arguments")
        self._pools[pool.name] = int(pool_size)

    def get_memory_pool_limit(self, pool: Any) -> int:
        return self._pools.get(pool.name, 0)

    def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
        if not profile:
            self._voice.error("Error Code 4: API Usage Error (the optimization profile is empty)")
            return -1
        self._profiles.append(profile)
        return len(self._profiles) - 1

    @property
    def num_optimization_profiles(self) -> int:
        return len(self._profiles)

    @property
    def builder_optimization_level(self) -> int:
        return self._optimization_level

    @builder_optimization_level.setter
    def builder_optimization_level(self, value: int) -> None:
        self._optimization_level = min(int(value), 5)

    @property
    def profiling_verbosity(self) -> Any:
        return self._verbosity

    @profiling_verbosity.setter
    def profiling_verbosity(self, value: Any) -> None:
        self._verbosity = genuine.ProfilingVerbosity(int(value))

    @property
    def progress_monitor(self) -> Any:
        return self._monitor

    @progress_monitor.setter
    def progress_monitor(self, value: Any) -> None:
        if value is not None and not isinstance(value, genuine.IProgressMonitor):
            raise TypeError(f"expected IProgressMonitor, got {value!r}")
        self._monitor = value

    def create_timing_cache(self, serialized_timing_cache: Any) -> ITimingCache | None:
        data = bytes(memoryview(serialized_timing_cache))
        if not data:
            return ITimingCache._of(self._origin(), {})
        if hashlib.sha256(data[32:]).digest() != data[:32]:
            self._voice.error("Error Code 4: Internal Error (the timing cache is corrupt)")
            return None
        return ITimingCache._of(*json.loads(data[32:]))

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        if cache._origin != self._origin() and not ignore_mismatch:
            self._voice.error(
                "Error Code 4: Internal Error (the timing cache was made on another device or by "
                "another version)"
            )
            return False
        self._cache = cache
        return True

    def get_timing_cache(self) -> ITimingCache | None:
        return self._cache

    def _origin(self) -> list[Any]:
        here = self._here
        return [plan.library_version(), here.name, here.compute, here.multiprocessors]


class Builder:
    """Makes engines out of networks."""

    def __init__(self, logger: Any) -> None:
        self._voice = messages.Voice(logger)
        here = device.device()
        if isinstance(here, int):
            self._voice.error(f"CUDA initialization failure with error: {here}")
            raise TypeError("pybind11::init(): factory function returned nullptr")
        self._here = here

    @property
    def logger(self) -> Any:
        return self._voice.logger

    @property
    def num_DLA_cores(self) -> int:
        return 0

    @property
    def platform_has_fast_fp16(self) -> bool:
        return True

    @property
    def platform_has_fast_int8(self) -> bool:
        return True

    def create_network(self, flags: int = 0) -> INetworkDefinition:
        flag = genuine.NetworkDefinitionCreationFlag.STRONGLY_TYPED
        # From 11 on there are no other networks.
        strong = not hasattr(genuine.BuilderFlag, "FP16") or bool(int(flags) >> int(flag) & 1)
        return INetworkDefinition._empty(self._voice, strong)

    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig._default(self._voice, self._here)

    def create_optimization_profile(self) -> IOptimizationProfile:
        return IOptimizationProfile._empty()

    def is_network_supported(self, network: INetworkDefinition, config: IBuilderConfig) -> bool:
        return network.num_layers > 0

    def build_serialized_network(
        self, network: INetworkDefinition, config: IBuilderConfig
    ) -> IHostMemory | None:
        work = Work(self._voice, self._here, network, config)
        try:
            return IHostMemory(in_another_thread(work))
        except BuildFailed as failure:
            self._voice.error(str(failure))
            return None

    def reset(self) -> None:
        pass
