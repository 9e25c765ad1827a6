"""What the library says on its logger, as far as it is known word for word."""

from __future__ import annotations

import os
import traceback
from typing import Any

from . import genuine

Severity = genuine.ILogger.Severity


def wrong_version(expected: str, got: str) -> str:
    """Also for files that are no engine: the version is empty then."""
    return (
        "IRuntime::deserializeCudaEngine: Error Code 6: API Usage Error (The engine plan file is "
        "not compatible with this version of TensorRT, expecting library version "
        f"{expected} got {got}, please rebuild.)"
    )


def wrong_device(expected: str, got: str) -> str:
    """Another compute capability."""
    return (
        "IRuntime::deserializeCudaEngine: Error Code 6: API Usage Error (The engine plan file is "
        f"generated on an incompatible device, expecting compute {expected} got compute {got}, "
        "please rebuild.)"
    )


OTHER_MODEL = (
    "Using an engine plan file across different models of devices is not recommended and is "
    "likely to affect performance or even cause errors."
)
NOT_DESERIALIZED = (
    "[runtime.cpp::deserializeCudaEngine::50] Error Code 4: Internal Error "
    "(Engine deserialization failed.)"
)


class Voice:
    """Speaks on a logger that a caller gave."""

    def __init__(self, logger: Any) -> None:
        if not isinstance(logger, genuine.ILogger):
            raise TypeError(f"incompatible constructor arguments: expected ILogger, got {logger!r}")
        self.logger = logger

    def error(self, message: str) -> None:
        """An error."""
        self._say(Severity.ERROR, message)

    def warning(self, message: str) -> None:
        """A warning."""
        self._say(Severity.WARNING, message)

    def _say(self, severity: Any, message: str) -> None:
        try:
            self.logger.log(severity, message)
        except BaseException:  # C++ calls it where nothing may be thrown: the process ends
            traceback.print_exc()
            os.abort()


def no_constructor(name: str) -> TypeError:
    """What the bindings raise for a class that only factories make."""
    return TypeError(f"tensorrt_bindings.tensorrt.{name}: No constructor defined!")
