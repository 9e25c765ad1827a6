"""ONNX Runtime, kept from reporting over the network: the device is offline, and stays silent."""

from __future__ import annotations

import os
from typing import Any

TELEMETRY_OFF = ("ORT_DISABLE_TELEMETRY", "ORT_TELEMETRY_DISABLED")
"""Environment variables that its Linux wheels read when they are loaded (names of two releases)."""


def onnx_runtime() -> Any:
    """The module ``onnxruntime``, with its telemetry switched off before it is loaded.

    Since 1.32 the wheels for Linux ask for a collector's address, and leave a device id and a
    database in the user's cache, unless the environment says no. ``disable_telemetry_events`` of
    the module itself comes too late: loading starts it.

    Raises:
        ImportError: ONNX Runtime is not installed.
    """
    for name in TELEMETRY_OFF:
        os.environ[name] = "1"
    import onnxruntime

    return onnxruntime
