"""The demo camera: one large phantom under a slowly moving hand."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from models.phantom.draw import KINDS, random_spec
from models.phantom.render import render
from models.phantom.spec import PhantomSpec
from models.phantom.texture import stream

Uint8 = NDArray[np.uint8]

_MARGIN = 1.3
"""The scene is this much wider and higher than the frame, so that the hand has room to move."""

_SCENE_PIXELS = 1_300_000
"""Largest scene that is drawn; larger frames enlarge it. It bounds time and memory at the start."""

_LESIONS = 6
_JITTER_PX = 64
"""The grain of a frame is a window of a larger bank, moved by up to this much."""


@dataclass(frozen=True)
class CameraFrame:
    """One frame and the truth about it. The arrays belong to the caller.

    Attributes:
        index: Its number.
        pixels: uint8 HxWx3 RGB.
        mask: bool HxW, any lesion.
        labels: uint8 HxW, 0 for none, k for lesion k of the scene.
        ita_deg: Individual typology angle of the scene's clean skin.
    """

    index: int
    pixels: Uint8
    mask: NDArray[np.bool_]
    labels: Uint8
    ita_deg: float


class PhantomCamera:
    """A camera that looks at synthetic skin with several lesions of different kinds.

    The scene is drawn once, when the camera is made; a frame is that scene moved, turned and
    zoomed, with fresh grain. A frame depends on the seed, the size, the rate and its index alone.

    Args:
        seed: Decides skin, lesions and movement; 0 or more.
        size_wh: Size of a frame in pixels.
        fps: Frames per second: the movement is in seconds.
        lesion_count: Lesions of the scene, at least 3; the hand moves, so some may be out of sight.
    """

    def __init__(
        self,
        seed: int,
        size_wh: tuple[int, int] = (1280, 720),
        fps: float = 30.0,
        *,
        lesion_count: int = _LESIONS,
    ) -> None:
        if min(size_wh) < 16 or fps <= 0:
            raise ValueError(
                f"expected a frame of at least 16x16 and a positive rate, got {size_wh} at {fps}"
            )
        self.size_wh = size_wh
        self.fps = fps
        self.spec = scene_spec(seed, size_wh, lesion_count)
        scene = render(self.spec)
        # OpenCV warps four bytes per pixel in two thirds of the time it takes for three.
        self._scene = cv2.cvtColor(scene.pixels, cv2.COLOR_RGB2RGBA)
        self._scene_labels, self.ita_deg = scene.labels, scene.ita_deg
        rng = stream(seed, 60)
        self._phases = rng.uniform(0.0, 2.0 * np.pi, 4)
        self._periods_s = rng.uniform(9.0, 21.0, 4)
        self._offsets = rng.integers(0, _JITTER_PX, (256, 2))
        self._brighter, self._darker = _grain_bank(rng, size_wh)

    def frame(self, index: int) -> CameraFrame:
        """Frame number ``index``, counted from 0; the same one whenever it is asked for."""
        back = self._scene_from_frame(index / self.fps)
        flags = cv2.WARP_INVERSE_MAP
        border = cv2.BORDER_REFLECT_101
        moved = cv2.warpAffine(
            self._scene, back, self.size_wh, flags=flags | cv2.INTER_LINEAR, borderMode=border
        )
        labels = cv2.warpAffine(
            self._scene_labels,
            back,
            self.size_wh,
            flags=flags | cv2.INTER_NEAREST,
            borderMode=border,
        )
        pixels = cv2.cvtColor(moved, cv2.COLOR_RGBA2RGB)
        x, y = self._offsets[index % len(self._offsets)]
        window = (slice(y, y + self.size_wh[1]), slice(x, x + self.size_wh[0]))
        cv2.add(pixels, self._brighter[window], dst=pixels)
        cv2.subtract(pixels, self._darker[window], dst=pixels)
        return CameraFrame(
            index=index,
            pixels=np.asarray(pixels, dtype=np.uint8),
            mask=np.asarray(labels > 0),
            labels=np.asarray(labels, dtype=np.uint8),
            ita_deg=self.ita_deg,
        )

    def _scene_from_frame(self, seconds: float) -> NDArray[np.float64]:
        """The 2x3 matrix from frame to scene pixels: a hand that drifts, turns and comes closer."""
        swing = np.sin(2.0 * np.pi * seconds / self._periods_s + self._phases)
        width, height = self.size_wh
        scene_h, scene_w = self._scene.shape[:2]
        # Frame pixels per scene pixel: from just filling the room left by the drift to 12 % closer.
        closer = 1.06 + 0.06 * swing[2]
        pitch = scene_w / (_MARGIN * width) / closer
        angle = np.radians(3.0) * swing[3]
        cos, sin = pitch * np.cos(angle), pitch * np.sin(angle)
        room = 0.5 * (1.0 - 1.0 / _MARGIN)
        center_x = scene_w * (0.5 + 0.8 * room * swing[0])
        center_y = scene_h * (0.5 + 0.8 * room * swing[1])
        return np.array(
            [
                [cos, -sin, center_x - cos * width / 2 + sin * height / 2],
                [sin, cos, center_y - sin * width / 2 - cos * height / 2],
            ]
        )


def scene_spec(seed: int, size_wh: tuple[int, int], lesion_count: int = _LESIONS) -> PhantomSpec:
    """A large phone picture with lesions of every kind, and little in the way of seeing it."""
    width, height = size_wh
    scale = min(_MARGIN, (_SCENE_PIXELS / (width * height)) ** 0.5)
    scene_wh = (round(width * scale), round(height * scale))
    for attempt in range(1000):
        spec = random_spec(
            seed + 1_000_003 * attempt,
            scene_wh,
            lesion_count=lesion_count,
            domain="clinical",
            cloth=attempt % 2 == 0,
        )
        if {lesion.kind for lesion in spec.lesions} == set(KINDS):
            break
    calm = replace(
        spec.artefacts,
        hairs=min(spec.artefacts.hairs, 12),
        hair_width=min(spec.artefacts.hair_width, 0.004),
        glare=min(spec.artefacts.glare, 0.3),
        blur=0.0,
        motion=0.0,
        noise=0.0,
        pen_marks=0,
    )
    return replace(spec, artefacts=calm)


def _grain_bank(rng: np.random.Generator, size_wh: tuple[int, int]) -> tuple[Uint8, Uint8]:
    """Sensor grain as what is added and what is taken away: uint8, larger than the frame."""
    shape = (size_wh[1] + _JITTER_PX, size_wh[0] + _JITTER_PX, 3)
    tile = rng.standard_normal((256, 256, 3), dtype=np.float32) * np.float32(2.5)
    repeats = (-(-shape[0] // 256), -(-shape[1] // 256), 1)
    grain = np.tile(np.rint(tile).astype(np.int8), repeats)[: shape[0], : shape[1]]
    return np.maximum(grain, 0).astype(np.uint8), np.maximum(-grain, 0).astype(np.uint8)
