"""``dermedge analyze``: every frame of every picture and video that is named."""

from __future__ import annotations

import importlib.util
import logging
import os
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from edge.commands.batch import Batch, Options
from edge.commands.batch_plan import plan_batch
from edge.commands.printing import ComplainingHandler
from edge.compose import check_backend, open_analyzer
from edge.errors import RequestError
from edge.frame import Frame
from edge.overlay.overlay import Overlay
from edge.result import Result
from edge.sinks.partial import remove_dead_partials
from edge.sinks.whole_file import check_writable
from edge.stop import Stop, stop_on_signals
from models.manifest import find_pack


class _NamedPath(click.Path):
    """A path that was named: an empty one would mean the current folder, which nobody asked for."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Path:
        """The path.

        Raises:
            RequestError: It is empty.
        """
        if value == "":
            raise RequestError(
                "a path" if param is None else f"a path as {param.human_readable_name}",
                got="an empty one",
                next_step="name it, or type . for the current folder",
            )
        return Path(os.fsdecode(super().convert(value, param, ctx)))


def _tell_backend() -> None:
    """Let the one line that says what runs the networks, and why, reach stderr.

    Where TensorRT is not installed there is nothing to wonder about.
    """
    if importlib.util.find_spec("tensorrt") is None:
        return
    log = logging.getLogger("dermedge.backend")
    if not log.handlers:
        log.addHandler(ComplainingHandler())
        log.setLevel(logging.INFO)
        log.propagate = False


@click.command()
@click.argument("paths", nargs=-1, required=True, type=_NamedPath(), metavar="PATH...")
@click.option(
    "--out",
    required=True,
    metavar="DIR",
    type=_NamedPath(),
    help="Folder for the results; it mirrors each input folder.",
)
@click.option("--pack", default="reference", show_default=True, help="Pack by name or folder.")
@click.option(
    "--backend",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "onnx", "openvino", "tensorrt"]),
    help="What runs the networks.",
)
@click.option(
    "--threads", type=click.IntRange(1, 64), help="CPU threads of the networks [default: all]."
)
@click.option("--png", is_flag=True, help="Overlay and mask PNG for each frame of a video, too.")
@click.option("--overwrite", is_flag=True, help="Replace the results of an earlier run.")
@click.option("--verbose", is_flag=True, help="A summary of each picture instead of one line.")
@click.pass_obj
def analyze(
    obj: dict[str, bool] | None,
    paths: tuple[Path, ...],
    out: Path,
    pack: str,
    backend: str,
    threads: int | None,
    png: bool,
    overwrite: bool,
    verbose: bool,
) -> int:
    """Analyze pictures, folders and videos.

    A picture skin.jpg gives skin.jpg.json, skin.jpg.overlay.png and skin.jpg.mask.png; a video
    clip.mp4 gives clip.mp4/000000.json ... and clip.mp4/overlay.webm. Results of an earlier run
    are kept; a refused model or a failed analysis is none. Research prototype. Not for diagnosis.
    """
    # Pillow logs its remarks on odd files, and unconfigured logging would print them.
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    _tell_backend()
    check_backend(backend)
    plan = plan_batch(paths, out)
    check_writable(out)
    for folder in plan.folders:
        remove_dead_partials(folder)
    loaded = find_pack(pack)
    validated = loaded.classifier.manifest.validated
    decision = loaded.classifier.manifest.decision
    is_one_still = [job.media.kind for job in plan.jobs] == ["picture"]
    options = Options(
        png=png,
        overwrite=overwrite,
        verbose=verbose or is_one_still,
        validated=validated,
        abstain_below=decision.abstain_below if decision else 0.0,
        debug=bool(obj and obj["debug"]),
        model_sha256={
            "segmenter": loaded.segmenter.manifest.onnx.sha256,
            "classifier": loaded.classifier.manifest.onnx.sha256,
        },
    )
    # Beside the picture: a still is looked at for long, and nothing of it may be hidden.
    overlay = Overlay(validated=validated, placement="beside")

    def draw(frame: Frame, result: Result) -> NDArray[np.uint8]:
        # A named view tells the overlay that pictures follow each other, and steadies it.
        view = None if frame.captured_ns is None else "paired"
        return overlay.draw(frame.pixels, result, view=view)

    stop = Stop()
    # Until the engines are open there is nothing to finish: a stop signal ends the program there.
    with open_analyzer(loaded, backend, threads) as analyzer, stop_on_signals(stop):
        return Batch(plan, analyzer, draw, stop, options).run()
