"""Training pictures in memory, and endless batches of them.

The data folder's layout is in ``models/data_folder.py``, who is on which side in
``models/splits.csv``. The segmenter learns from four sources:

    dermoscopy   ISIC 2017 training side, with the masks of the challenge
    phantom      synthetic skin of every tone with none to six lesions, brown and red, cloth, hair
    pasted       lesions of ISIC 2017 put on lesion-free skin (patches and phantoms), some reddened
    normal       lesion-free patches of PAD-UFES-20, with an empty mask

The classifier learns from the close-ups of PAD-UFES-20 and, where the label exists there, from
ISIC 2017. Whatever a network is fed is made by ``models.resize`` and ``models.skin``, as at work.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from models.augment import (
    Donor,
    View,
    donor_from_picture,
    paste,
    random_colour,
    random_damage,
    random_view,
)
from models.data_folder import read_mask, read_rgb
from models.manifest import ResizeRule
from models.phantom import clean, random_spec, render
from models.resize import fit_image
from models.skin import pigment_images
from models.splits import pictures_of_side

FILL = (128, 128, 128)
"""Grey around letterboxed pictures of both reference networks, RGB."""

RESIZE = ResizeRule(fit="letterbox", interpolation="linear", antialias=True, fill=FILL)
"""How the reference pack fits pictures into its networks' inputs."""

LABELS = ("ACK", "BCC", "MEL", "NEV", "SCC", "SEK")
"""PAD-UFES-20: actinic keratosis, basal cell carcinoma, melanoma, nevus, squamous cell carcinoma,
seborrheic keratosis; the order of the classifier's outputs."""

LABEL_OF_ISIC = {"nevus": "NEV", "melanoma": "MEL", "seborrheic_keratosis": "SEK"}

CLASSIFIER_MEAN, CLASSIFIER_STD = 0.5, 0.25
"""The classifier is fed (RGB / 255 - mean) / std."""

MIX = {"dermoscopy": 0.60, "phantom": 0.21, "pasted": 0.13, "normal": 0.06}
"""Share of each source in the segmenter's batches."""

PHANTOM_SIDE = 304
PHANTOM_SEED_TRAIN, PHANTOM_SEED_TUNE = 1_000_000, 9_000_000
"""First seeds of the phantoms of either side, so that no phantom is on both."""

CLINICAL_SHARE = 0.75
"""Share of PAD-UFES-20 in the classifier's batches; the rest is ISIC 2017."""


@dataclass(frozen=True)
class Example:
    """A picture (HxWx3 uint8 RGB) with its lesion mask (HxW uint8, 0 or 255)."""

    pixels: np.ndarray
    mask: np.ndarray


def network_input(pixels: np.ndarray) -> np.ndarray:
    """What the reference segmenter is fed: RGB, hemoglobin and melanin image, stacked.

    Args:
        pixels: uint8 [N, H, W, 3] RGB.

    Returns:
        float32 [N, 9, H, W], 0..1.
    """
    hemoglobin, melanin = pigment_images(pixels)
    rgb = pixels.astype(np.float32) / np.float32(255.0)
    stacked = np.concatenate((rgb, hemoglobin, melanin), axis=-1)
    return np.ascontiguousarray(stacked.transpose(0, 3, 1, 2))


def classifier_input(pixels: np.ndarray) -> np.ndarray:
    """uint8 [N, H, W, 3] RGB to float32 [N, 3, H, W] as the reference classifier is fed."""
    scaled = (pixels.astype(np.float32) / 255.0 - CLASSIFIER_MEAN) / CLASSIFIER_STD
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2), dtype=np.float32)


def phantom_examples(first_seed: int, count: int) -> list[Example]:
    """Phantoms of consecutive seeds, with their masks."""
    phantoms = (
        render(random_spec(first_seed + i, (PHANTOM_SIDE, PHANTOM_SIDE))) for i in range(count)
    )
    return [Example(p.pixels, p.mask.astype(np.uint8) * 255) for p in phantoms]


class SegmenterData:
    """The segmenter's training side, decoded.

    Args:
        data: The data folder, or ``None`` for phantoms alone (a smoke test).
        phantoms: How many phantoms to draw.
    """

    def __init__(self, data: Path | None, phantoms: int = 800) -> None:
        self.examples = {"phantom": phantom_examples(PHANTOM_SEED_TRAIN, phantoms)}
        self.backgrounds = [
            render(clean(random_spec(PHANTOM_SEED_TRAIN + i, (PHANTOM_SIDE, PHANTOM_SIDE)))).pixels
            for i in range(phantoms, phantoms + phantoms // 4)
        ]
        self.donors: list[Donor] = []
        if data is None:
            return
        pictures = pictures_of_side(data, "train")
        self.examples["dermoscopy"] = [
            Example(read_rgb(p.path), read_mask(p.mask_path).astype(np.uint8) * 255)
            for p in pictures
            if p.folder == "dermoscopy" and p.mask_path is not None
        ]
        patches = [read_rgb(p.path) for p in pictures if p.folder == "normal_skin"]
        self.examples["normal"] = [Example(p, np.zeros(p.shape[:2], np.uint8)) for p in patches]
        self.backgrounds += patches * 3
        cut = (donor_from_picture(e.pixels, e.mask) for e in self.examples["dermoscopy"][::2])
        self.donors = [donor for donor in cut if donor is not None]
        self.examples["pasted"] = []

    def batch(self, rng: np.random.Generator, count: int, size: int) -> tuple:
        """Augmented inputs float32 [count, 9, size, size] and masks float32 [count, 1, ...]."""
        names = [name for name in MIX if name in self.examples]
        shares = np.array([MIX[name] for name in names])
        drawn = rng.choice(len(names), count, p=shares / shares.sum())
        pairs = [self._example(rng, names[i], size) for i in drawn]
        pixels = np.stack([pair[0] for pair in pairs])
        masks = np.stack([pair[1] for pair in pairs])
        return network_input(pixels), (masks[:, None] > 0).astype(np.float32)

    def _example(self, rng: np.random.Generator, name: str, size: int) -> tuple:
        view = View(fill=FILL)
        if name == "pasted":
            background = self.backgrounds[rng.integers(len(self.backgrounds))]
            background = cv2.resize(background, (256, 256), interpolation=cv2.INTER_LINEAR)
            count = int(rng.integers(1, 6))
            chosen = [self.donors[rng.integers(len(self.donors))] for _ in range(count)]
            pixels, mask = paste(rng, background, chosen)
        else:
            source = self.examples[name]
            example = source[rng.integers(len(source))]
            pixels, mask = example.pixels, example.mask
        pixels, mask = random_view(rng, pixels, mask, size, view)
        return random_damage(rng, random_colour(rng, pixels)), mask


class ClassifierData:
    """The classifier's training side, decoded, by label.

    Args:
        data: The data folder, or ``None`` for phantoms in place of photographs (a smoke test).
    """

    def __init__(self, data: Path | None) -> None:
        self.clinical: dict[str, list[np.ndarray]] = {label: [] for label in LABELS}
        self.dermoscopy: dict[str, list[Example]] = {}
        if data is None:
            for i, example in enumerate(phantom_examples(PHANTOM_SEED_TRAIN, 2 * len(LABELS))):
                self.clinical[LABELS[i % len(LABELS)]].append(example.pixels)
            return
        for picture in pictures_of_side(data, "train"):
            if picture.folder == "clinical":
                self.clinical[picture.label].append(read_rgb(picture.path))
            elif picture.folder == "dermoscopy" and picture.mask_path is not None:
                label = LABEL_OF_ISIC[picture.label]
                mask = read_mask(picture.mask_path).astype(np.uint8) * 255
                example = Example(read_rgb(picture.path), mask)
                self.dermoscopy.setdefault(label, []).append(example)

    def batch(self, rng: np.random.Generator, count: int, size: int) -> tuple:
        """Augmented inputs float32 [count, 3, size, size] and labels int64 [count].

        Labels come equally often within each of the two sources.
        """
        pictures, labels = [], []
        for _ in range(count):
            label, pixels = self._draw(rng)
            # A region with its padding: now the whole close-up, now a part of it.
            view = View(zoom=(0.9, 1.7), shift=0.12, stretch=0.2, letterbox=0.4, fill=FILL)
            pixels, _ = random_view(rng, pixels, None, size, view)
            pictures.append(random_damage(rng, random_colour(rng, pixels)))
            labels.append(LABELS.index(label))
        return classifier_input(np.stack(pictures)), np.asarray(labels, np.int64)

    def _draw(self, rng: np.random.Generator) -> tuple[str, np.ndarray]:
        if not self.dermoscopy or rng.random() < CLINICAL_SHARE:
            label = LABELS[rng.integers(len(LABELS))]
            source = self.clinical[label]
            return label, source[rng.integers(len(source))]
        label = sorted(self.dermoscopy)[rng.integers(len(self.dermoscopy))]
        example = self.dermoscopy[label][rng.integers(len(self.dermoscopy[label]))]
        padding = float(rng.uniform(0.0, 0.5))
        return label, crop_around(example, padding)


def crop_around(example: Example, padding: float) -> np.ndarray:
    """The lesion's box, widened on each side by ``padding`` times its longer side."""
    x, y, width, height = cv2.boundingRect(example.mask)
    if width == 0:
        return example.pixels
    pad = round(padding * max(width, height))
    rows = slice(max(0, y - pad), y + height + pad)
    return example.pixels[rows, max(0, x - pad) : x + width + pad]


@dataclass(frozen=True)
class TuneMasks:
    """Tuning pictures with masks, fitted to ``size``: uint8 [N, size, size, 3] and bool."""

    pixels: np.ndarray
    masks: np.ndarray


def fit_examples(examples: Sequence[Example], size: int) -> TuneMasks:
    """Fit pictures and masks as the product does, without variation."""
    pixels = [fit_image(e.pixels, (size, size), RESIZE)[0] for e in examples]
    rule = RESIZE.model_copy(update={"fill": (0, 0, 0)})
    masks = [fit_image(e.mask[..., None], (size, size), rule)[0][..., 0] for e in examples]
    return TuneMasks(np.stack(pixels), np.stack(masks) > 127)


def tune_dermoscopy(data: Path) -> list[Example]:
    """ISIC 2017 pictures of the tuning side."""
    return [
        Example(read_rgb(p.path), read_mask(p.mask_path).astype(np.uint8) * 255)
        for p in pictures_of_side(data, "tune")
        if p.folder == "dermoscopy" and p.mask_path is not None
    ]


def tune_clinical(data: Path, size: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Whole PAD-UFES-20 close-ups of the tuning side.

    Returns:
        uint8 [N, size, size, 3], labels int64 [N], patients.
    """
    pictures = [p for p in pictures_of_side(data, "tune") if p.folder == "clinical"]
    pixels = [fit_image(read_rgb(p.path), (size, size), RESIZE)[0] for p in pictures]
    labels = np.array([LABELS.index(p.label) for p in pictures])
    return np.stack(pixels), labels, [p.patient for p in pictures]


class Prefetch:
    """Batches made in one background thread, in a fixed order, while the network learns.

    OpenCV and numpy release the interpreter lock, so one thread overlaps with torch.

    Args:
        make: Makes one batch.
        depth: How many batches to keep ready.
    """

    def __init__(self, make: Callable[[], tuple], depth: int = 3) -> None:
        self._queue: queue.Queue = queue.Queue(depth)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(make,), daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[tuple]:
        while True:
            item = self._queue.get()
            if isinstance(item, Exception):
                raise item
            yield item

    def close(self) -> None:
        """Stop the thread."""
        self._stop.set()
        while self._thread.is_alive():
            try:
                self._queue.get(timeout=0.1)
            except queue.Empty:
                continue

    def _run(self, make: Callable[[], tuple]) -> None:
        while not self._stop.is_set():
            try:
                item = make()
            except Exception as error:  # handed to the thread that trains, which raises it
                item = error
            self._queue.put(item)
