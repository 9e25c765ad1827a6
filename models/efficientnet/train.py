"""Train the classifier inside a time box: 128, then 176, then 224 pixels."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from models.data import (
    LABELS,
    ClassifierData,
    Prefetch,
    classifier_input,
    tune_clinical,
)
from models.efficientnet.net import EfficientNet
from models.measures import (
    balanced_accuracy,
    bootstrap_interval,
    choose_abstention,
    fit_temperature,
    softmax,
)
from models.schedule import AveragedWeights, Log, Phase, TimeBox, learning_rate

PHASES = (Phase(0.45, 128, 24), Phase(0.25, 176, 20), Phase(0.30, 224, 16))
SIZE = 224
PEAK_RATE = 2e-3
ROUNDS = 8
LABEL_SMOOTHING = 0.05
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
    _learn(net, averaged, source, tune, box, seed, log)
    figures = _final_figures(averaged.average, tune) if tune else {}
    log.write("classifier tuned", **figures)
    path = out / "classifier.pt"
    torch.save(
        {
            "state": averaged.average.state_dict(),
            "temperature": figures.get("temperature", 1.0),
            "abstain_below": figures.get("abstain_below", 0.0),
            "tune": figures,
        },
        path,
    )
    return path


def _learn(
    net: nn.Module,
    averaged: AveragedWeights,
    source: ClassifierData,
    tune: tuple | None,
    box: TimeBox,
    seed: int,
    log: Log,
) -> None:
    optimiser = torch.optim.AdamW(net.parameters(), lr=PEAK_RATE, weight_decay=2e-2)
    rng = np.random.default_rng(seed)
    steps, losses, next_look = 0, [], 1
    while box.progress < 1.0:
        phase = box.phase
        batches = Prefetch(partial(source.batch, rng, phase.batch, phase.size))
        for inputs, labels in batches:
            losses.append(_step(net, optimiser, inputs, labels, box.progress))
            averaged.update()
            steps += 1
            if box.progress * ROUNDS >= next_look:
                next_look += 1
                log.write(
                    "classifier",
                    progress=box.progress,
                    steps=steps,
                    size=phase.size,
                    loss=float(np.mean(losses)),
                    tune_balanced_accuracy=_tune_accuracy(averaged.average, tune),
                )
                losses = []
            if box.phase is not phase or box.progress >= 1.0:
                break
        batches.close()


def _step(
    net: nn.Module,
    optimiser: torch.optim.Optimizer,
    inputs: np.ndarray,
    labels: np.ndarray,
    progress: float,
) -> float:
    for group in optimiser.param_groups:
        group["lr"] = learning_rate(progress, PEAK_RATE)
    net.train()
    with torch.autocast("cpu", torch.bfloat16):
        logits = net(torch.from_numpy(inputs))
    loss = F.cross_entropy(
        logits.float(), torch.from_numpy(labels), label_smoothing=LABEL_SMOOTHING
    )
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(net.parameters(), 2.0)
    optimiser.step()
    return loss.item()


def predict_logits(net: nn.Module, pixels: np.ndarray, batch: int = 16) -> np.ndarray:
    """Logits float64 [N, C] of pictures uint8 [N, H, W, 3], in float32 arithmetic."""
    net.eval()
    parts = []
    with torch.inference_mode():
        for start in range(0, len(pixels), batch):
            inputs = torch.from_numpy(classifier_input(pixels[start : start + batch]))
            parts.append(net(inputs).double().numpy())
    return np.concatenate(parts)


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
