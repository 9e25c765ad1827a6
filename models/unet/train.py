"""Train the segmenter inside a time box: 128, then 256, then 304 pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.data import (
    PHANTOM_SEED_TUNE,
    Example,
    SegmenterData,
    fit_examples,
    network_input,
    phantom_examples,
    tune_dermoscopy,
)
from models.measures import dice_per_picture
from models.schedule import AveragedWeights, Log, Phase, TimeBox, save_checkpoint
from models.training_loop import Recipe, answers, learn
from models.unet.net import ResidualUNet

PHASES = (Phase(0.34, 128, 16), Phase(0.26, 256, 8), Phase(0.40, 304, 6))
SIZE = 304
TUNE_PHANTOMS = 100
LOOK_AT = 60
"""Tuning pictures per source in each look during the training; the last one takes all."""

LAST_LOOK_S = 80.0

THRESHOLDS = np.arange(0.10, 0.91, 0.05)


def train_segmenter(data: Path | None, out: Path, seconds: float, seed: int, log: Log) -> Path:
    """Train, choose the threshold on the tuning side, and write ``segmenter.pt``.

    Args:
        data: The data folder, or ``None`` for phantoms alone (a smoke test).
        out: Folder of the checkpoint.
        seconds: Wall time for everything here.
        seed: Of the weights and of the data's variation.
        log: Takes the figures.

    Returns:
        The checkpoint: ``state`` (weights), ``threshold`` and ``tune`` (figures).
    """
    torch.manual_seed(seed)
    # The rest is for the last look at the tuning side.
    box = TimeBox(seconds - min(LAST_LOOK_S, 0.2 * seconds), PHASES)
    source = SegmenterData(data) if data is not None else SegmenterData(None, phantoms=16)
    tune = {"phantom": phantom_examples(PHANTOM_SEED_TUNE, TUNE_PHANTOMS if data else 4)}
    if data is not None:
        tune["dermoscopy"] = tune_dermoscopy(data)
    averaged = AveragedWeights(ResidualUNet(), ResidualUNet())

    def look(net: nn.Module, size: int) -> dict:
        return {"tune_dice": {name: _tune_dice(net, found, size) for name, found in tune.items()}}

    recipe = Recipe(
        "segmenter", peak_rate=3e-3, weight_decay=1e-3, loss=segmentation_loss, rounds=10
    )
    learn(averaged, source.batch, look, box, recipe, seed=seed, log=log)
    figures = _final_figures(averaged.average, tune)
    log.write("segmenter tuned", **figures)
    path = out / "segmenter.pt"
    save_checkpoint(
        path,
        {
            "state": averaged.average.state_dict(),
            "threshold": figures["threshold"],
            "tune": figures,
        },
    )
    return path


def segmentation_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Cross-entropy plus one minus the soft Dice of each picture.

    The Dice term is smoothed by half a percent of the picture, so that a picture without a lesion
    asks for an empty mask without a jump.

    Args:
        logits: float [N, 1, H, W].
        masks: float [N, 1, H, W], 0 or 1.
    """
    entropy = F.binary_cross_entropy_with_logits(logits, masks)
    probability = torch.sigmoid(logits)
    both = (probability * masks).sum(dim=(1, 2, 3))
    sizes = probability.sum(dim=(1, 2, 3)) + masks.sum(dim=(1, 2, 3))
    smooth = 0.005 * masks[0].numel()
    return entropy + (1.0 - (2.0 * both + smooth) / (sizes + smooth)).mean()


def predict(net: nn.Module, pixels: np.ndarray, batch: int = 8) -> np.ndarray:
    """Probabilities float32 [N, H, W] of pictures uint8 [N, H, W, 3], in float32 arithmetic."""

    def answer(some: np.ndarray) -> np.ndarray:
        return torch.sigmoid(net(torch.from_numpy(network_input(some))))[:, 0].numpy()

    return answers(net, pixels, batch, answer)


def _tune_dice(net: nn.Module, examples: list[Example], size: int) -> float:
    fitted = fit_examples(examples[:: max(1, len(examples) // LOOK_AT)], size)
    return float(dice_per_picture(predict(net, fitted.pixels), fitted.masks, 0.5).mean())


def _final_figures(net: nn.Module, tune: dict[str, list[Example]]) -> dict:
    """The threshold with the best mean Dice, and the Dice of each source at it.

    Photographs choose; phantoms do so only where there are no photographs (a smoke test).
    """
    fitted = {name: fit_examples(examples, SIZE) for name, examples in tune.items()}
    found = {name: predict(net, pictures.pixels) for name, pictures in fitted.items()}
    chooser = "dermoscopy" if "dermoscopy" in fitted else "phantom"
    by_threshold = {
        round(float(t), 2): dice_per_picture(found[chooser], fitted[chooser].masks, t).mean()
        for t in THRESHOLDS
    }
    threshold = max(by_threshold, key=by_threshold.get)
    figures: dict = {"threshold": threshold, "size": SIZE}
    for name, pictures in fitted.items():
        dice = dice_per_picture(found[name], pictures.masks, threshold)
        figures[f"{name}_pictures"] = len(dice)
        figures[f"{name}_dice_mean"] = float(dice.mean())
        figures[f"{name}_dice_median"] = float(np.median(dice))
    return figures
