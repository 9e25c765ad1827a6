"""Training runs end to end on phantoms, in seconds, and what it leaves can be exported."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra [train]")

from models.data import ClassifierData, SegmenterData  # noqa: E402
from models.efficientnet.net import EfficientNet  # noqa: E402
from models.efficientnet.train import predict_logits  # noqa: E402
from models.export import load_checkpoint  # noqa: E402
from models.schedule import AveragedWeights, Log, Phase, TimeBox, learning_rate  # noqa: E402
from models.train import train_one  # noqa: E402
from models.training_loop import Recipe, learn, train_step  # noqa: E402
from models.unet import train as unet_train  # noqa: E402

pytestmark = pytest.mark.train


def test_batches_are_the_same_for_the_same_seed() -> None:
    source = SegmenterData(None, phantoms=4)
    first, second = (source.batch(np.random.default_rng(3), 2, 64) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    inputs, masks = first
    assert (inputs.shape, inputs.dtype, masks.shape) == ((2, 9, 64, 64), np.float32, (2, 1, 64, 64))
    assert 0.0 <= inputs.min() and inputs.max() <= 1.0
    assert set(np.unique(masks)) <= {0.0, 1.0}


def test_classifier_batches_have_every_label() -> None:
    _, labels = ClassifierData(None).batch(np.random.default_rng(1), 40, 32)
    assert set(labels) == set(range(6))


def test_two_steps_of_the_segmenter_lower_the_loss() -> None:
    torch.manual_seed(1)
    inputs, masks = SegmenterData(None, phantoms=4).batch(np.random.default_rng(1), 4, 64)
    net = unet_train.ResidualUNet()
    optimiser = torch.optim.AdamW(net.parameters())
    loss = unet_train.segmentation_loss
    losses = [train_step(net, optimiser, 3e-3, loss, inputs, masks) for _ in range(3)]
    assert losses[2] < losses[0]


def test_the_loop_keeps_to_its_time_its_phases_and_its_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("models.schedule.time.monotonic", lambda: now[0])

    def batch(rng: np.random.Generator, pictures: int, size: int) -> tuple:
        inputs = rng.random((pictures, 1, size, size), np.float32)
        return inputs, np.zeros((pictures, 1, size, size), np.float32)

    def loss_that_takes_a_second(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        now[0] += 1.0
        seen.append(tuple(logits.shape))
        return (logits - targets).square().mean()

    seen: list[tuple[int, ...]] = []
    averaged = AveragedWeights(*(torch.nn.Conv2d(1, 1, 1) for _ in range(2)))
    log = Log(tmp_path / "log")
    learn(
        averaged,
        batch,
        lambda net, size: {"looked": (net is averaged.average, size)},
        TimeBox(8.0, (Phase(0.5, 4, 3), Phase(0.5, 6, 2))),
        Recipe("tiny", 0.01, 0.0, loss_that_takes_a_second, rounds=4),
        seed=1,
        log=log,
    )
    log.close()

    assert seen == [(3, 1, 4, 4)] * 4 + [(2, 1, 6, 6)] * 4
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [(line["event"], line["progress"], line["steps"]) for line in lines] == [
        ("tiny", 0.25 * n, 2 * n) for n in (1, 2, 3, 4)
    ]
    assert [line["size"] for line in lines] == [4, 4, 6, 6]
    assert [line["looked"] for line in lines] == [[True, 4]] * 2 + [[True, 6]] * 2


def test_an_empty_mask_asks_for_an_empty_answer() -> None:
    masks = torch.zeros(1, 1, 8, 8)
    empty, full = (
        unet_train.segmentation_loss(torch.full((1, 1, 8, 8), v), masks) for v in (-20.0, 20.0)
    )
    assert empty.item() < 1e-3 < 1.0 < full.item()


def test_a_training_leaves_a_checkpoint_and_a_log(tmp_path: Path) -> None:
    train_one("segmenter", None, tmp_path, 0.05, seed=1)
    checkpoint = load_checkpoint(tmp_path, "segmenter")
    assert 0.1 <= checkpoint["threshold"] <= 0.9
    lines = (tmp_path / "segmenter.jsonl").read_text(encoding="utf-8").splitlines()
    events = [json.loads(line)["event"] for line in lines]
    assert events[0] == "segmenter start" and events[-1] == "segmenter done"


def test_classifier_prediction_does_not_depend_on_the_batch() -> None:
    torch.manual_seed(1)
    classifier = EfficientNet(6)
    pixels = np.random.default_rng(1).integers(0, 256, (3, 64, 64, 3), np.uint8)
    together, alone = (predict_logits(classifier, pixels, batch=n) for n in (3, 1))
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_phases_follow_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("models.schedule.time.monotonic", lambda: now[0])
    box = TimeBox(10.0, (Phase(0.5, 128, 16), Phase(0.5, 256, 8)))
    assert (box.progress, box.phase.size) == (0.0, 128)
    now[0] = 105.0
    assert (box.progress, box.phase.size) == (0.5, 256)
    now[0] = 120.0
    assert (box.progress, box.phase.size) == (1.0, 256)
    with pytest.raises(ValueError, match="add up to 1"):
        TimeBox(10.0, (Phase(0.5, 128, 16),))


def test_learning_rate_rises_then_falls_to_a_hundredth() -> None:
    assert learning_rate(0.04, 1.0) == pytest.approx(1.0)
    assert learning_rate(0.0, 1.0) == pytest.approx(0.05)
    assert learning_rate(1.0, 1.0) == pytest.approx(0.01)
