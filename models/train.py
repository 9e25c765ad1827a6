"""``dermedge-models train``: both networks from nothing, side by side, in one time box."""

from __future__ import annotations

import multiprocessing
import os
import platform
import threading
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import click
import cv2
import numpy as np
import torch

from models.data_folder import list_pictures
from models.efficientnet.train import train_classifier
from models.errors import InputError
from models.schedule import Log
from models.unet.train import train_segmenter

NETWORKS = {"segmenter": train_segmenter, "classifier": train_classifier}


def train(data: Path, out: Path, minutes: float, seed: int) -> None:
    """Train segmenter and classifier and write checkpoints and logs into ``out``.

    Each network gets a process of its own and half of the cores. On two cores that gets more done
    than two threads for one network after the other (a step of the segmenter took 0.55 s with one
    thread, 0.34 s with two), and it does not collapse when another program wants a core: two
    threads wait for each other at the end of every operation.

    Args:
        data: The data folder (``models/data_folder.py``).
        out: Folder for ``segmenter.pt``, ``classifier.pt`` and a log of JSON lines beside each.
        minutes: Wall time for everything.
        seed: Of weights and variation.

    Raises:
        InputError: The data folder is incomplete, or ``out`` cannot be written.
    """
    list_pictures(data)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"the folder {out} to be writable",
            got=error.strerror or str(error),
            next_step="give another folder with --out",
        ) from error
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(len(NETWORKS), mp_context=context) as processes:
        runs = [processes.submit(train_one, name, data, out, minutes, seed) for name in NETWORKS]
        for run in runs:
            run.result()


def train_one(name: str, data: Path | None, out: Path, minutes: float, seed: int) -> Path:
    """Train one network in this process; returns its checkpoint.

    Args:
        name: Key of :data:`NETWORKS`.
        data: The data folder, or ``None`` for a smoke test on phantoms.
        out: Folder, which exists.
        minutes: Wall time.
        seed: Of weights and variation.
    """
    end_with_parent()
    threads = max(1, (os.cpu_count() or 1) // len(NETWORKS))
    torch.set_num_threads(threads)
    cv2.setNumThreads(1)
    log = Log(out / f"{name}.jsonl")
    log.write(
        f"{name} start",
        minutes=minutes,
        seed=seed,
        torch=torch.__version__,
        numpy=np.__version__,
        opencv=cv2.__version__,
        threads=threads,
        machine=platform.machine(),
        python=platform.python_version(),
    )
    checkpoint = NETWORKS[name](data, out, 60.0 * minutes, seed, log)
    log.write(f"{name} done")
    log.close()
    return checkpoint


def end_with_parent() -> None:
    """Let this process end when the one that started it is gone, however that ended.

    A killed command would otherwise leave two trainings behind that nobody sees. Does nothing in
    a process that ``multiprocessing`` did not start.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@click.command("train")
@click.argument("data", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder for checkpoints and logs.",
)
@click.option(
    "--minutes",
    type=click.FloatRange(0.1, 6000),
    default=42.0,
    show_default=True,
    help="Wall time for both networks, which train side by side.",
)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
def command(data: Path, out: Path, minutes: float, seed: int) -> None:
    """Train both networks on the data folder DATA (layout: models/data_folder.py)."""
    train(data, out, minutes, seed)
