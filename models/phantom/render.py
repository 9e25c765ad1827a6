"""One description in, one picture with its truth out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from models.phantom import cloth, clutter, optics, surface
from models.phantom.camera import expose
from models.phantom.spec import Artefacts, CameraCurve, LesionKind, PhantomSpec
from models.phantom.texture import Float32
from models.phantom.tissue import Tissue, basal_melanin, grow, reflectance


@dataclass(frozen=True)
class LesionTruth:
    """What is known about one lesion as it is seen.

    Attributes:
        label: Its value in ``Phantom.labels``.
        kind: Which pigment it is about.
        box_xyxy: Half-open box of its visible pixels.
        area_px: Number of visible pixels.
        extra_melanin: Mean melanin above the surrounding skin, in linear optical density.
        extra_hemoglobin: Mean hemoglobin above the surrounding skin, likewise.
    """

    label: int
    kind: LesionKind
    box_xyxy: tuple[int, int, int, int]
    area_px: int
    extra_melanin: float
    extra_hemoglobin: float


@dataclass(frozen=True)
class Phantom:
    """A picture and the truth about it. All arrays belong to the caller.

    Attributes:
        spec: What it was made from.
        pixels: uint8 HxWx3 RGB.
        mask: bool HxW, any lesion (hair over a lesion does not cut it, cloth does).
        labels: uint8 HxW, 0 for none, k for lesion k.
        skin: bool HxW, skin and lesions, without cloth, table, hair, pen and dark corners.
        lesions: The lesions that can be seen.
        ita_deg: Individual typology angle of the clean skin, before light and camera.
    """

    spec: PhantomSpec
    pixels: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    labels: NDArray[np.uint8]
    skin: NDArray[np.bool_]
    lesions: tuple[LesionTruth, ...]
    ita_deg: float


def clean(spec: PhantomSpec) -> PhantomSpec:
    """The same skin and lesions under even light, without artefacts, through plain sRGB."""
    flat = replace(spec.skin, relief=0.0, creases=0)
    return replace(spec, skin=flat, edges=(), artefacts=Artefacts(), camera=CameraCurve())


def render(spec: PhantomSpec) -> Phantom:
    """Draw the picture that a description determines, at the description's own size.

    The same description gives the same bytes with one version of OpenCV; another version's
    interpolation moves pixels by a fraction of a level on average.
    """
    tissue = grow(spec)
    height = surface.relief(spec.skin, spec.seed, spec.size_wh)
    lamp = surface.illumination(spec.artefacts, spec.seed, spec.size_wh)
    lamp *= surface.relief_light(spec.skin, spec.seed, height)
    borders = [
        cloth.distance_beyond(edge, number, spec.seed, spec.size_wh)
        for number, edge in enumerate(spec.edges)
    ]
    for edge, beyond in zip(spec.edges, borders, strict=True):
        lamp *= cloth.shadow(edge, beyond)
    light = reflectance(tissue, spec.skin, lamp)
    optics.add_glare(light, spec.artefacts, spec.seed, height)
    covered = _cover(light, spec, borders)
    hidden = covered | clutter.draw_over(light, spec.artefacts, spec.seed)
    if spec.artefacts.field_radius is not None:
        covered |= optics.close_field(light, spec.artefacts.field_radius, spec.seed)
    labels = tissue.labels
    labels[covered] = 0
    light = optics.defocus(light, spec.artefacts, spec.seed)
    return Phantom(
        spec=spec,
        pixels=expose(light, spec.camera, spec.artefacts.noise, spec.seed),
        mask=labels > 0,
        labels=labels,
        skin=~(hidden | covered),
        lesions=_truths(spec, tissue),
        ita_deg=spec.skin.ita_deg,
    )


def _cover(light: Float32, spec: PhantomSpec, borders: Sequence[Float32]) -> NDArray[np.bool_]:
    """Cloth, table and sticker, laid in place; true where they hide the skin."""
    covered = np.zeros(light.shape[:2], dtype=np.bool_)
    for number, (edge, beyond) in enumerate(zip(spec.edges, borders, strict=True)):
        covered |= cloth.lay(light, edge, number, spec.seed, beyond)
    if spec.artefacts.sticker is not None:
        covered |= clutter.stick(light, spec.artefacts.sticker, spec.seed)
    return covered


def _truths(spec: PhantomSpec, tissue: Tissue) -> tuple[LesionTruth, ...]:
    """Measure every lesion on the pigment maps, against the basal pigments of the skin."""
    basal = basal_melanin(spec.skin)
    truths = []
    for label, lesion in enumerate(spec.lesions, start=1):
        inside = np.asarray(tissue.labels == label)
        area = int(np.count_nonzero(inside))
        if area == 0:
            continue
        x, y, width, height = cv2.boundingRect(inside.view(np.uint8))
        truths.append(
            LesionTruth(
                label=label,
                kind=lesion.kind,
                box_xyxy=(x, y, x + width, y + height),
                area_px=area,
                extra_melanin=float(tissue.melanin[inside].mean()) - basal,
                extra_hemoglobin=float(tissue.hemoglobin[inside].mean()) - spec.skin.hemoglobin,
            )
        )
    return tuple(truths)
