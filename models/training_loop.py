"""The loop of both trainings: step after step until the time is up, and looks on the way"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.data import Prefetch
from models.schedule import AveragedWeights, Log, TimeBox, learning_rate

MakeBatch = Callable[[np.random.Generator, int, int], tuple[Any, Any]]
"""From generator, pictures in the batch and side in pixels to the network's inputs and targets."""

Look = Callable[[nn.Module, int], Mapping[str, Any]]
"""From a network and the side in pixels at which it learns to figures for the log."""

_LARGEST_GRADIENT = 2.0
"""Longer gradients (Euclidean norm over all weights) are shortened to this."""


@dataclass(frozen=True)
class Recipe:
    """How a network learns, and how often it is looked at.

    Attributes:
        event: What its lines in the log are called.
        peak_rate: Highest learning rate.
        weight_decay: Of AdamW, as a share of the learning rate.
        loss: From logits in float32 and the batch's targets to a scalar.
        rounds: Looks at the tuning side during the training; figures to follow, nothing is chosen
            by them.
    """

    event: str
    peak_rate: float
    weight_decay: float
    loss: Callable[[Tensor, Tensor], Tensor]
    rounds: int


def learn(
    averaged: AveragedWeights,
    make_batch: MakeBatch,
    look: Look,
    box: TimeBox,
    recipe: Recipe,
    *,
    seed: int,
    log: Log,
) -> None:
    """Train a network until its time is up.

    Args:
        averaged: The network that learns, and its average, which is what ``look`` is given.
        make_batch: Makes the batches, in a thread of its own.
        look: Called ``recipe.rounds`` times, at even distances.
        box: The time, and the phases that it is cut into.
        recipe: How it learns.
        seed: Of the data's variation.
        log: Takes a line for each look.
    """
    optimiser = torch.optim.AdamW(
        averaged.net.parameters(), lr=recipe.peak_rate, weight_decay=recipe.weight_decay
    )
    rng = np.random.default_rng(seed)
    steps, losses, next_look = 0, [], 1
    while box.progress < 1.0:
        phase = box.phase
        with closing(Prefetch(partial(make_batch, rng, phase.batch, phase.size))) as batches:
            for inputs, targets in batches:
                rate = learning_rate(box.progress, recipe.peak_rate)
                losses.append(
                    train_step(averaged.net, optimiser, rate, recipe.loss, inputs, targets)
                )
                averaged.update()
                steps += 1
                if box.progress * recipe.rounds >= next_look:
                    next_look += 1
                    log.write(
                        recipe.event,
                        progress=box.progress,
                        steps=steps,
                        size=phase.size,
                        loss=float(np.mean(losses)),
                        **look(averaged.average, phase.size),
                    )
                    losses = []
                if box.phase is not phase or box.progress >= 1.0:
                    break


def train_step(
    net: nn.Module,
    optimiser: torch.optim.Optimizer,
    rate: float,
    loss_of: Callable[[Tensor, Tensor], Tensor],
    inputs: np.ndarray,
    targets: np.ndarray,
) -> float:
    """One step, computed in bfloat16 where autocast holds that to be safe.

    Args:
        net: Takes ``inputs`` and gives logits.
        optimiser: Of the network's weights.
        rate: Learning rate of this step.
        loss_of: From logits in float32 and ``targets`` to a scalar.
        inputs: float32 [N, C, H, W].
        targets: Masks or labels, one for each input.

    Returns:
        The loss before the step.
    """
    for group in optimiser.param_groups:
        group["lr"] = rate
    net.train()
    with torch.autocast("cpu", torch.bfloat16):
        logits = net(torch.from_numpy(inputs))
    loss = loss_of(logits.float(), torch.from_numpy(targets))
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(net.parameters(), _LARGEST_GRADIENT)
    optimiser.step()
    return float(loss.item())


def answers(
    net: nn.Module, pixels: np.ndarray, batch: int, answer: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """What a network says of pictures, a few at a time, in float32 arithmetic.

    Args:
        net: Put into its evaluation mode.
        pixels: uint8 [N, H, W, 3], N at least 1.
        batch: Pictures at a time.
        answer: Asks ``net`` about uint8 [n, H, W, 3] and gives an array of n rows.
    """
    net.eval()
    with torch.inference_mode():
        parts = [answer(pixels[i : i + batch]) for i in range(0, len(pixels), batch)]
    return np.concatenate(parts)
