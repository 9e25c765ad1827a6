"""Every answer stands on the picture, whole: with the released pack's own words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from overlay_for_tests import ellipses, make_result, region_from_mask

from edge.overlay import badges, legend
from edge.overlay.fonts import Fonts
from edge.overlay.overlay import Overlay
from edge.overlay.text import TextPatch, Typesetter
from edge.result import Region
from models.manifest import find_pack
from models.phantom import PhantomCamera

SCREENS = [(800, 480), (640, 480), (480, 640), (1280, 720), (1280, 960), (3840, 2160)]

Scene = Callable[[tuple[int, int], int, int], list[NDArray[np.bool_]]]


@pytest.fixture(scope="module")
def label_text() -> Mapping[str, str]:
    """Display names of the released pack."""
    return find_pack("reference").classifier.manifest.label_text


class Recorder(Typesetter):
    """Keeps what was really set."""

    def __init__(self, fonts: Fonts | None = None) -> None:
        super().__init__(fonts)
        self.shown: list[str] = []

    def line(self, text: str, size_px: int, **how: object) -> TextPatch:  # type: ignore[override]
        patch = super().line(text, size_px, **how)  # type: ignore[arg-type]
        self.shown.append(patch.text)
        return patch


def drawn_texts(overlay: Overlay) -> Recorder:
    recorder = Recorder()
    overlay._typesetter = recorder
    overlay._legend = legend.LegendPainter(overlay._painter, recorder)
    return recorder


def regions_named(masks: list[NDArray[np.bool_]], codes: list[str]) -> list[Region]:
    return [
        region_from_mask(mask, i, abstained=i % 5 == 3, classes=((codes[i % len(codes)], 0.999),))
        for i, mask in enumerate(masks)
    ]


@pytest.mark.parametrize("size_wh", SCREENS)
@pytest.mark.parametrize("placement", [None, "beside"])
def test_the_released_names_are_never_shortened(
    size_wh: tuple[int, int], placement: None, label_text: Mapping[str, str], noto: Fonts
) -> None:
    """``squamous cell ca...`` once stood on every screen."""
    frame = np.full((size_wh[1], size_wh[0], 3), 160, np.uint8)
    overlay = Overlay(placement=placement)
    recorder = drawn_texts(overlay)
    for code, text in label_text.items():
        classes = ((code, 0.999), *((other, 0.0001) for other in label_text if other != code))
        masks = ellipses(size_wh, 2)
        found = [region_from_mask(m, i, classes=classes) for i, m in enumerate(masks)]
        recorder.shown.clear()
        overlay.draw(frame, make_result(size_wh, found, label_text=label_text), age_ms=40.0)
        assert recorder.shown.count(text) >= 4  # twice in badges, twice in the legend
        assert not [shown for shown in recorder.shown if "…" in shown]


@lru_cache(maxsize=1)
def phantom_camera(size_wh: tuple[int, int]) -> PhantomCamera:
    return PhantomCamera(1, size_wh, 30)


def phantom_masks(size_wh: tuple[int, int], count: int, seed: int) -> list[NDArray[np.bool_]]:
    mask = phantom_camera(size_wh).frame(40 * seed).mask
    labels_n, labels = cv2.connectedComponents(mask.astype(np.uint8))
    masks = [labels == index for index in range(1, labels_n)]
    return sorted((m for m in masks if m.sum() > 30), key=lambda m: -int(m.sum()))[:count]


def random_boxes(size_wh: tuple[int, int], count: int, seed: int) -> list[NDArray[np.bool_]]:
    """Boxes of any size anywhere; they may overlap, as the regions of a bad model might."""
    rng = np.random.default_rng(seed)
    masks = []
    for _ in range(count):
        mask = np.zeros((size_wh[1], size_wh[0]), bool)
        x, y = (int(rng.integers(0, side - 20)) for side in size_wh)
        width, height = (int(rng.integers(8, side // 3)) for side in size_wh)
        mask[y : y + height, x : x + width] = True
        masks.append(mask)
    return masks


@pytest.mark.parametrize("size_wh", [(800, 480), (1280, 720), (3840, 2160)])
@pytest.mark.parametrize("scene", [phantom_masks, random_boxes])
def test_every_answer_is_in_the_legend_and_hides_no_lesion(
    size_wh: tuple[int, int], scene: Scene, label_text: Mapping[str, str]
) -> None:
    """On 22 of 40 frames with six regions the legend once said no class at all."""
    overlay, codes = Overlay(), list(label_text)
    frame = np.full((size_wh[1], size_wh[0], 3), 160, np.uint8)
    for count in range(1, 9):
        masks = scene(size_wh, count, count)
        found = regions_named(masks, codes)
        drawn = overlay.draw(
            frame, make_result(size_wh, found, label_text=label_text), age_ms=40.0, view="paired"
        )
        assert (drawn.shape[1], drawn.shape[0]) == overlay.size_for(size_wh)
        parts = overlay.drawn
        assert parts is not None
        named = {row.letter: row.text for row, _ in parts.rows if row.kind == "region"}
        for region in found:
            assert region.classes is not None
            first = label_text[region.classes[0].label]
            assert named[region.letter] == (badges.UNCERTAIN if region.abstained else first)
        assert parts.layout.legend[1] >= parts.layout.picture[3]
