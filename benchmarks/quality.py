"""Do the prompts for the operator come when they should: ``python -m benchmarks.quality``.

False alarms on pictures nobody spoiled (phantoms of every tone, and with ``DERMEDGE_DATA`` naming
the folder of real pictures, those), hits on the same pictures spoiled by a known amount, and both
on streams of the phantom camera, where blur is judged against the seconds before. A picture of a
set is shown to a guard of its own for two seconds, as a stream that stands still.

The sets are pictures that people took, so some of their false alarms are true.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from edge.analysis.light import LightMeter, is_grey, overview
from edge.analysis.quality import measure_quality
from edge.analysis.stamp import stamp_of
from edge.frame import Frame
from edge.guards.quality import PROMPT_WORDS, QualityGuard
from edge.result import Result
from models import skin
from models.data_folder import list_pictures, read_rgb
from models.phantom import Edge, PhantomCamera, clean, random_spec, render

Uint8 = NDArray[np.uint8]

TONES_DEG = (-60, -45, -30, 0, 30, 60)
PHANTOM_WH = (320, 240)
STREAM_WH = (1280, 720)
FOLDERS = {"clinical": 2, "dermoscopy": 10, "dermoscopy_full": 1, "normal_skin": 1, "erythema": 1}
"""Every how many pictures of a folder are judged."""

STEP_S = 0.2
LOOK_S = 2.0
SMEARED_WH = (640, 360)
MOTION_STEPS = 32
EXPOSURE_S = 0.033
CLOTH_COLORS = {
    "white": (0.85, 0.86, 0.88),
    "grey": (0.30, 0.31, 0.33),
    "black": (0.02, 0.02, 0.025),
    "navy": (0.02, 0.04, 0.12),
    "pale blue": (0.30, 0.55, 0.72),
    "green": (0.06, 0.30, 0.22),
    "purple": (0.25, 0.08, 0.35),
}


@click.command()
@click.option("--pictures", default=30, show_default=True, help="Phantoms of each tone.")
@click.option("--streams", default=6, show_default=True, help="Seeds of the phantom camera.")
def main(pictures: int, streams: int) -> None:
    """Measure and print the tables."""
    sets = phantom_sets(pictures) | real_sets()
    print("Pictures nobody spoiled: share that asks for a prompt")
    for name, taken in sets.items():
        print(_row(name, [prompts_of(picture) for picture in taken]))
    print("\nThe same, spoiled: share that asks for a prompt")
    for name, taken in sets.items():
        for spoiled, spoil in SPOILED.items():
            print(_row(f"{name}, {spoiled}", [prompts_of(spoil(picture)) for picture in taken]))
    print("\nHighlights on phantoms (glare=1.0, no cloth)")
    for tone in TONES_DEG:
        print(_row(f"ITA {tone:+d}", [prompts_of(p) for p in _with_glare(tone, pictures)]))
    print("\nCloth, and nothing else")
    for name, color in CLOTH_COLORS.items():
        print(_row(name, [prompts_of(_cloth(color, seed)) for seed in range(5)]))
    print("\nThe phantom camera, 10 s each: share of the time that a prompt is shown")
    _print_streams(streams)


def prompts_of(pixels: Uint8) -> Counter[str]:
    """What a picture asks for after two seconds of it."""
    guard, shown = QualityGuard(), ()
    for step in range(round(LOOK_S / STEP_S)):
        frame = frame_of(pixels, step)
        shown = guard.observe(frame, result_of(frame), now_ns(step))
    return Counter(prompt.kind for prompt in shown)


def frame_of(pixels: Uint8, step: int) -> Frame:
    """A frame as a live camera would give it at a step of a stream."""
    return Frame(pixels, step, "benchmark", now_ns(step), "monotonic", "driver")


def now_ns(step: int) -> int:
    """Instant of a step."""
    return round((1000.0 + step * STEP_S) * 1e9)


def result_of(frame: Frame) -> Result:
    """A Result without regions: the prompts read its quality."""
    light = LightMeter().reduce(frame.pixels)
    quality = measure_quality(light, overview(light), grey=is_grey(frame.pixels))
    stamp = stamp_of(frame)
    return Result("benchmark", "nothing_found", (), stamp, 0.5, (), 0, None, quality, {}, {})


def _row(name: str, counts: Iterable[Counter[str]]) -> str:
    counts = list(counts)
    shares = {k: sum(c[k] for c in counts) / max(1, len(counts)) for k in PROMPT_WORDS}
    told = ", ".join(f"{kind} {share:.0%}" for kind, share in shares.items() if share > 0.0)
    return f"  {name:42} {len(counts):4}  {told or '-'}"


# --- pictures -----------------------------------------------------------------------------------


def phantom_sets(count: int) -> dict[str, list[Uint8]]:
    """Random phantoms through random phones, without blur and glare, by tone."""
    return {
        f"phantom ITA {tone:+d}": [_phantom(tone, seed, glare=0.0) for seed in range(count)]
        for tone in TONES_DEG
    }


def real_sets() -> dict[str, list[Uint8]]:
    """Pictures of the data folder, if there is one."""
    folder = os.environ.get("DERMEDGE_DATA")
    if not folder:
        print("DERMEDGE_DATA names no folder of real pictures")
        return {}
    pictures = list_pictures(Path(folder))
    return {
        name: [read_rgb(p.path) for p in [p for p in pictures if p.folder == name][::every]]
        for name, every in FOLDERS.items()
    }


def _phantom(tone: float, seed: int, *, glare: float, cloth: bool | None = None) -> Uint8:
    spec = random_spec(seed, PHANTOM_WH, ita_deg=tone, domain="clinical", cloth=cloth)
    calm = replace(spec.artefacts, blur=0.0, motion=0.0, glare=glare, glare_size=0.02)
    return render(replace(spec, artefacts=calm)).pixels


def _with_glare(tone: float, count: int) -> list[Uint8]:
    return [_phantom(tone, seed, glare=1.0, cloth=False) for seed in range(count)]


def _cloth(color: tuple[float, float, float], seed: int) -> Uint8:
    """Cloth all over the frame."""
    spec = clean(random_spec(seed, PHANTOM_WH, lesion_count=0))
    edge = Edge(angle_deg=0.0, distance=-2.0, waviness=0.0, color=color)
    noisy = replace(spec.artefacts, noise=0.01)
    return render(replace(spec, edges=(edge,), artefacts=noisy)).pixels


def exposed(pixels: Uint8, factor: float) -> Uint8:
    """The same picture with so many times the light."""
    light = skin.linear_from_srgb(pixels) * np.float32(factor)
    encoded = np.where(
        light <= 0.0031308, 12.92 * light, 1.055 * np.power(light, 1.0 / 2.4) - 0.055
    )
    return np.asarray(np.clip(encoded * 255.0 + 0.5, 0.0, 255.0), np.uint8)


def defocused(pixels: Uint8, sigma_share: float, grain: float = 2.0) -> Uint8:
    """Blurred by a Gaussian of this share of the short side, with fresh grain of the sensor."""
    blurred = cv2.GaussianBlur(pixels, (0, 0), sigma_share * min(pixels.shape[:2]))
    noise = np.random.default_rng(0).normal(0.0, grain, pixels.shape)
    return np.asarray(np.clip(np.rint(blurred + noise), 0, 255), np.uint8)


SPOILED: dict[str, Callable[[Uint8], Uint8]] = {
    "1/16 of the light": lambda pixels: exposed(pixels, 1 / 16),
    "1/32 of the light": lambda pixels: exposed(pixels, 1 / 32),
    "1/64 of the light": lambda pixels: exposed(pixels, 1 / 64),
    "4 times the light": lambda pixels: exposed(pixels, 4.0),
    "blur of 0.8 % from the start": lambda pixels: defocused(pixels, 0.008),
    "blur of 1.6 % from the start": lambda pixels: defocused(pixels, 0.016),
}


# --- streams ------------------------------------------------------------------------------------


def _print_streams(count: int) -> None:
    seeds = range(1, count + 1)
    print(_stream_row("as it is", [shown_share(_moving(s, 1.0)) for s in seeds]))
    for percent in (0.4, 0.8, 1.6):
        spoil = [lambda p, k=percent: defocused(p, k / 100.0)] * count
        rows = [shown_share(_moving(s, 0.1, blur)) for s, blur in zip(seeds, spoil, strict=True)]
        print(_stream_row(f"still view, then blur of {percent} %", rows))
    for faster in (10.0, 30.0):
        rows = [shown_share(_smeared(s, faster)) for s in seeds]
        print(_stream_row(f"then a hand {faster:g} times as fast, 33 ms", rows))


def shown_share(stream: Iterable[tuple[Uint8, bool]]) -> Counter[str]:
    """Share of the steps to be judged, in percent, at which each prompt is shown."""
    guard, counts, steps = QualityGuard(), Counter[str](), 0
    for step, (pixels, judged) in enumerate(stream):
        frame = frame_of(pixels, step)
        shown = guard.observe(frame, result_of(frame), now_ns(step))
        if judged:
            steps += 1
            counts.update(prompt.kind for prompt in shown)
    return Counter({kind: round(100 * n / steps) for kind, n in counts.items()})


def _stream_row(name: str, shares: Sequence[Counter[str]]) -> str:
    told = {k: [share[k] for share in shares] for k in PROMPT_WORDS}
    words = [f"{k} {' '.join(f'{n}%' for n in ns)}" for k, ns in told.items() if any(ns)]
    return f"  {name:42} {len(shares):4}  {'; '.join(words) or '-'}"


def _moving(
    seed: int, speed: float, spoil: Callable[[Uint8], Uint8] | None = None
) -> Iterable[tuple[Uint8, bool]]:
    """Ten seconds of a stream; its second half spoiled, and judged from a second later on."""
    camera = PhantomCamera(seed, STREAM_WH, 1.0 / (STEP_S * speed))
    steps = round(10.0 / STEP_S)
    for step in range(steps):
        pixels = camera.frame(step).pixels
        if spoil is not None and step >= steps // 2:
            pixels = spoil(pixels)
        yield pixels, spoil is None or step >= steps // 2 + round(1.0 / STEP_S)


def _smeared(seed: int, faster: float) -> Iterable[tuple[Uint8, bool]]:
    """Five seconds of a calm hand, then five of a fast one, exposed for 33 ms."""
    per_second = MOTION_STEPS / EXPOSURE_S
    calm = PhantomCamera(seed, SMEARED_WH, per_second)
    fast = PhantomCamera(seed, SMEARED_WH, per_second / faster)
    half = round(5.0 / STEP_S)
    for step in range(2 * half):
        camera = calm if step < half else fast
        first = round(step * STEP_S * per_second)
        parts = (camera.frame(first + part).pixels for part in range(MOTION_STEPS))
        smeared = sum(part.astype(np.float32) for part in parts) / MOTION_STEPS
        grained = smeared + np.random.default_rng(step).normal(0, 2.0, np.shape(smeared))
        yield np.asarray(np.clip(grained, 0, 255), np.uint8), step >= half + round(1.0 / STEP_S)


if __name__ == "__main__":
    main()
