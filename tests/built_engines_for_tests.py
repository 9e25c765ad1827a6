"""``dermedge-convert`` on the stand-in of TensorRT, until the runtime for its engines is there.

Run as a program it is ``dermedge-convert`` itself with small golden frames.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from numpy.typing import NDArray

from convert import build_process, engine_builder, golden
from convert.candidates import identity_of
from convert.engine_job import EngineJob
from edge.engine_card import DeviceFacts, EngineCard
from edge.engines.base import Engine
from edge.engines.onnx import OnnxEngine
from edge.engines.prepared import INPUT_NAME

SMALL_SIZES_WH = ((96, 72), (72, 96))


class PlanEngine(OnnxEngine):
    """An engine of the stand-in: the graph in its plan in ONNX Runtime, with what tests plant."""

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        from tensorrt import perturbations, settings

        precision = self.identity.precision
        time.sleep(settings.run_seconds(precision))
        changed = perturbations.of_inputs(dict(inputs), precision, [])
        found = super().infer({INPUT_NAME: changed[INPUT_NAME]})
        return {n: perturbations.of_output(n, array, precision) for n, array in found.items()}


@contextmanager
def open_plan(job: EngineJob, card: EngineCard) -> Iterator[Engine]:
    from tensorrt.plan import Plan

    plan = Plan.read(job.engines.check_content(card).read_bytes())
    assert plan is not None
    with tempfile.TemporaryDirectory() as folder:
        graph = Path(folder, "graph.onnx")
        graph.write_bytes(plan.onnx)
        identity = identity_of(job.model, "tensorrt", card.precision)
        with PlanEngine(graph, identity, max_batch=card.settings.max_batch) as engine:
            yield engine


def device_of_standin() -> DeviceFacts:
    import tensorrt
    from tensorrt import device, plan

    assert tensorrt.__version__
    here = device.device()
    assert isinstance(here, device.Device)
    return DeviceFacts(
        gpu_name=here.name,
        compute_capability=here.compute,
        sm_count=here.multiprocessors,
        l4t="36.4.3",
        tensorrt=plan.library_version(),
    )


_phantom = cache(golden.phantom)
"""Drawn once: most of the time of a gate goes there."""


def prepare(patch: pytest.MonkeyPatch) -> None:
    """Small golden frames, and the device and engines of the stand-in."""
    from convert.commands import build

    patch.setattr(golden, "_SIZES_WH", SMALL_SIZES_WH)
    patch.setattr(golden, "phantom", _phantom)
    patch.setattr(build_process, "device_at_hand", device_of_standin)
    patch.setattr(build, "device_at_hand", device_of_standin)
    patch.setattr(engine_builder, "_opened", open_plan)


if __name__ == "__main__":
    from convert.__main__ import main

    prepare(pytest.MonkeyPatch())
    sys.argv[0] = "dermedge-convert"
    main()
