"""Train the classifier inside a time box: 128, then 176, then 224 pixels."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from models.data import LABELS, ClassifierData, classifier_input, tune_clinical
from models.efficientnet.net import EfficientNet
from models.measures import (
    balanced_accuracy,
    bootstrap_interval,
    choose_abstention,
    fit_temperature,
    softmax,
)
from models.schedule import AveragedWeights, Log, Phase, TimeBox, save_checkpoint
from models.training_loop import Recipe, answers, learn

PHASES = (Phase(0.45, 128, 24), Phase(0.25, 176, 20), Phase(0.30, 224, 16))
SIZE = 224
LEAST_CASES = 5
"""A class with fewer tuning cases gets no figure of its own."""


def train_classifier(data: Path | None, out: Path, seconds: float, seed: int, log: Log) -> Path:
    """Train, fit temperature and abstention on the tuning side, and write ``classifier.pt``.

    Args:
        data: The data folder, or ``None`` for phantoms alone (a smoke test, nothing is tuned).
        out: Folder of the checkpoint.
        seconds: Wall time for everything here.
        seed: Of the weights and of the data's variation.
        log: Takes the figures.

    Returns:
        The checkpoint: ``state`` (weights), ``temperature``, ``abstain_below``, ``tune``.
    """
    torch.manual_seed(seed)
    box = TimeBox(seconds * 0.98, PHASES)  # the rest is the last look at the tuning side
    source = ClassifierData(data)
    tune = tune_clinical(data, SIZE) if data is not None else None
    net = EfficientNet(len(LABELS), dropout=0.3)
    averaged = AveragedWeights(net, EfficientNet(len(LABELS)), decay=0.998)

    def look(net: nn.Module, size: int) -> dict:
        return {"tune_balanced_accuracy": _tune_accuracy(net, tune)}

    loss = partial(F.cross_entropy, label_smoothing=0.05)
    recipe = Recipe("classifier", peak_rate=2e-3, weight_decay=2e-2, loss=loss, rounds=8)
    learn(averaged, source.batch, look, box, recipe, seed=seed, log=log)
    figures = _final_figures(averaged.average, tune) if tune else {}
    log.write("classifier tuned", **figures)
    path = out / "classifier.pt"
    save_checkpoint(
        path,
        {
            "state": averaged.average.state_dict(),
            "temperature": figures.get("temperature", 1.0),
            "abstain_below": figures.get("abstain_below", 0.0),
            "tune": figures,
        },
    )
    return path


def predict_logits(net: nn.Module, pixels: np.ndarray, batch: int = 16) -> np.ndarray:
    """Logits float64 [N, C] of pictures uint8 [N, H, W, 3], in float32 arithmetic."""

    def answer(some: np.ndarray) -> np.ndarray:
        return net(torch.from_numpy(classifier_input(some))).double().numpy()

    return answers(net, pixels, batch, answer)


def _tune_accuracy(net: nn.Module, tune: tuple | None) -> float | None:
    if tune is None:
        return None
    pixels, labels, _ = tune
    return balanced_accuracy(labels, predict_logits(net, pixels).argmax(axis=1))


def _final_figures(net: nn.Module, tune: tuple) -> dict:
    pixels, labels, patients = tune
    logits = predict_logits(net, pixels)
    guess = logits.argmax(axis=1)
    temperature = fit_temperature(logits, labels)
    probabilities = softmax(logits, temperature)
    abstain_below = choose_abstention(probabilities, labels)
    named = probabilities.max(axis=1) >= abstain_below
    interval = bootstrap_interval(lambda i: balanced_accuracy(labels[i], guess[i]), patients)
    per_class = {
        label: {"cases": int((labels == i).sum()), "right": float((guess[labels == i] == i).mean())}
        for i, label in enumerate(LABELS)
        if (labels == i).sum() >= LEAST_CASES
    }
    return {
        "pictures": len(labels),
        "balanced_accuracy": balanced_accuracy(labels, guess),
        "interval_95": list(interval),
        "per_class": per_class,
        "temperature": round(temperature, 3),
        "abstain_below": abstain_below,
        "named_share": float(named.mean()),
        "named_right": float((guess == labels)[named].mean()),
    }
