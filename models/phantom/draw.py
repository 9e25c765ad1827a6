"""Random phantoms: one seed in, one plausible description out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.phantom.spec import (
    Artefacts,
    CameraCurve,
    Domain,
    Edge,
    Lesion,
    LesionKind,
    PhantomSpec,
    Rgb,
    SkinModel,
    Texture,
)
from models.phantom.texture import stream
from models.phantom.tissue import (
    HEMOGLOBIN_PUBLISHED,
    MELANIN_PUBLISHED,
    basal_melanin,
    draw_vector,
    even_skin_color,
)

ITA_RANGE_DEG = (-60.0, 60.0)
KINDS: tuple[LesionKind, ...] = ("pigmented", "red", "both")

_CLOTH_COLORS: tuple[Rgb, ...] = (
    (0.85, 0.86, 0.88),  # white sheet
    (0.62, 0.66, 0.70),  # pale grey
    (0.30, 0.31, 0.33),  # grey
    (0.02, 0.02, 0.025),  # black
    (0.05, 0.12, 0.38),  # blue
    (0.02, 0.04, 0.12),  # navy
    (0.30, 0.55, 0.72),  # pale blue drape
    (0.06, 0.30, 0.22),  # surgical green
    (0.20, 0.50, 0.42),  # pale green
    (0.25, 0.08, 0.35),  # purple
)
_SCALE_COLORS: tuple[Rgb, ...] = (
    (0.78, 0.74, 0.66),  # dry scale
    (0.55, 0.40, 0.16),  # yellow keratin
    (0.06, 0.022, 0.018),  # dry blood
)
_STICKER_COLORS: tuple[Rgb, ...] = (
    (0.02, 0.45, 0.80),
    (0.75, 0.60, 0.05),
    (0.05, 0.40, 0.12),
    (0.45, 0.40, 0.70),
)


def random_spec(
    seed: int,
    size_wh: tuple[int, int] = (304, 304),
    *,
    ita_deg: float | None = None,
    lesion_count: int | None = None,
    kinds: Sequence[LesionKind] = KINDS,
    domain: Domain | None = None,
    cloth: bool | None = None,
) -> PhantomSpec:
    """A random phantom.

    Args:
        seed: Decides everything that is left open; 0 or more.
        size_wh: Size of the picture in pixels.
        ita_deg: Tone of the skin; drawn evenly from -60 to +60 degrees where None.
        lesion_count: Number of lesions; where None, none to six (one picture in eight has none).
        kinds: Kinds to draw lesions from.
        domain: A phone's or a dermatoscope's picture; one in three is the latter where None.
        cloth: Whether cloth or table is seen; where None, in two of five phone pictures.

    Returns:
        The description, which ``render`` draws.
    """
    rng = stream(seed, 0)
    drawn: Domain = "dermoscopic" if rng.random() < 1 / 3 else "clinical"
    domain = domain or drawn
    tone = float(rng.uniform(*ITA_RANGE_DEG))
    skin = _random_skin(stream(seed, 3), tone if ita_deg is None else ita_deg, domain)
    edges = _random_edges(stream(seed, 4), domain, cloth)
    lesions = _random_lesions(stream(seed, 5), skin, domain, lesion_count, kinds, edges, size_wh)
    artefacts = _random_artefacts(stream(seed, 6), domain)
    camera = _random_camera(stream(seed, 7), skin, domain)
    return PhantomSpec(seed, size_wh, domain, skin, lesions, edges, artefacts, camera)


def _random_skin(rng: np.random.Generator, ita_deg: float, domain: Domain) -> SkinModel:
    dermoscopic = domain == "dermoscopic"
    return SkinModel(
        ita_deg=ita_deg,
        melanin_vector=draw_vector(rng, MELANIN_PUBLISHED, towards_second=0.3, jitter=0.02),
        hemoglobin_vector=draw_vector(rng, HEMOGLOBIN_PUBLISHED, towards_second=1.0, jitter=0.02),
        hemoglobin=float(rng.uniform(0.1, 0.4)),
        mottling=float(rng.uniform(0.02, 0.12)),
        relief=float(rng.uniform(0.0, 0.04) if dermoscopic else rng.uniform(0.01, 0.13)),
        relief_size=float(np.exp(rng.uniform(np.log(0.004), np.log(0.02)))),
        relief_angle_deg=float(rng.uniform(0.0, 180.0)),
        freckles=int(rng.integers(1, 25)) if rng.random() < 0.25 else 0,
        creases=int(rng.integers(1, 6)) if not dermoscopic and rng.random() < 0.2 else 0,
    )


def _random_edges(rng: np.random.Generator, domain: Domain, cloth: bool | None) -> tuple[Edge, ...]:
    wanted = rng.random() < 0.4 and domain == "clinical" if cloth is None else cloth
    if not wanted:
        return ()
    limb = rng.random() < 0.4
    angle = float(rng.uniform(0.0, 360.0))
    count = 2 if limb or rng.random() < 0.3 else 1
    first = _random_edge(rng, angle, limb)
    if count == 1:
        return (first,)
    second_angle = angle + 180.0 if limb else angle + float(rng.uniform(60.0, 300.0))
    second = _random_edge(rng, second_angle, limb)
    if limb:  # one table on both sides of the arm
        second = Edge(
            second.angle_deg,
            second.distance,
            second.waviness,
            first.color,
            first.weave,
            first.weave_size,
            first.stripe_color,
            limb=True,
        )
    return (first, second)


def _random_edge(rng: np.random.Generator, angle_deg: float, limb: bool) -> Edge:
    base = np.array(_CLOTH_COLORS[rng.integers(len(_CLOTH_COLORS))])
    color = np.clip(base * rng.uniform(0.75, 1.15) * rng.uniform(0.9, 1.1, 3), 0.005, 0.95)
    stripe = _CLOTH_COLORS[rng.integers(len(_CLOTH_COLORS))] if rng.random() < 0.2 else None
    return Edge(
        angle_deg=angle_deg,
        distance=float(rng.uniform(0.28, 0.42) if limb else rng.uniform(0.2, 0.48)),
        waviness=float(rng.uniform(0.0, 0.03)),
        color=(float(color[0]), float(color[1]), float(color[2])),
        weave=float(rng.uniform(0.0, 0.25)),
        weave_size=float(rng.uniform(0.008, 0.04)),
        stripe_color=stripe,
        limb=limb,
    )


# --- lesions ------------------------------------------------------------------------------------


def _random_lesions(
    rng: np.random.Generator,
    skin: SkinModel,
    domain: Domain,
    count: int | None,
    kinds: Sequence[LesionKind],
    edges: tuple[Edge, ...],
    size_wh: tuple[int, int],
) -> tuple[Lesion, ...]:
    drawn = int(rng.choice((0, 1, 2, 3, 4, 6), p=(0.125, 0.5, 0.15, 0.1, 0.075, 0.05)))
    if domain == "dermoscopic":
        drawn = min(drawn, 1)
    count = drawn if count is None else count
    if rng.random() < 0.6:  # most people have one thing at a time
        kinds = (kinds[int(rng.integers(len(kinds)))],)
    fills_frame = count == 1 and rng.random() < 0.06
    lesions: list[Lesion] = []
    for _ in range(count):
        radius = _random_radius(rng, domain, count)
        if fills_frame:
            lesions.append(
                _random_lesion(rng, skin, kinds, (0.5, 0.5), float(rng.uniform(0.8, 1.1)))
            )
            continue
        center = _free_place(rng, lesions, radius, edges, size_wh)
        lesions.append(_random_lesion(rng, skin, kinds, center, radius))
    return tuple(lesions)


def _random_radius(rng: np.random.Generator, domain: Domain, count: int) -> float:
    if domain == "dermoscopic" and count <= 1:
        return float(np.exp(rng.uniform(np.log(0.1), np.log(0.42))))
    largest = 0.32 if count == 1 else 0.42 / count**0.5
    return float(np.exp(rng.uniform(np.log(0.035), np.log(largest))))


def _free_place(
    rng: np.random.Generator,
    others: Sequence[Lesion],
    radius: float,
    edges: tuple[Edge, ...],
    size_wh: tuple[int, int],
) -> tuple[float, float]:
    """A centre on visible skin; neighbours may touch but do not lie on top of each other."""
    width, height = size_wh
    short = min(size_wh)
    place = (0.5, 0.5)
    for _ in range(30):
        spread = (
            rng.uniform(0.08, 0.92, 2) if others or rng.random() < 0.4 else rng.normal(0.5, 0.1, 2)
        )
        place = (float(np.clip(spread[0], 0.05, 0.95)), float(np.clip(spread[1], 0.05, 0.95)))
        x, y = (place[0] - 0.5) * width / short, (place[1] - 0.5) * height / short
        on_skin = all(_margin(edge, x, y) > 0.5 * radius for edge in edges)
        apart = all(
            np.hypot(
                (place[0] - other.center_xy[0]) * width, (place[1] - other.center_xy[1]) * height
            )
            > 0.95 * (radius + other.radius) * short
            for other in others
        )
        if on_skin and apart:
            break
    return place


def _margin(edge: Edge, x: float, y: float) -> float:
    angle = np.radians(edge.angle_deg)
    return float(edge.distance - x * np.cos(angle) - y * np.sin(angle))


def _random_lesion(
    rng: np.random.Generator,
    skin: SkinModel,
    kinds: Sequence[LesionKind],
    center_xy: tuple[float, float],
    radius: float,
) -> Lesion:
    kind = kinds[int(rng.integers(len(kinds)))]
    melanin, hemoglobin = _random_pigments(rng, kind, basal_melanin(skin))
    textures: tuple[Texture, ...] = ("plain", "mottled", "reticular", "globular")
    red = kind == "red"
    return Lesion(
        kind=kind,
        seed=int(rng.integers(1 << 31)),
        center_xy=center_xy,
        radius=radius,
        aspect=float(1.0 + rng.exponential(0.25)),
        angle_deg=float(rng.uniform(0.0, 180.0)),
        irregularity=float(rng.uniform(0.03, 0.45)),
        softness=float(rng.uniform(0.2, 0.9) if red else np.exp(rng.uniform(-3.2, -0.5))),
        melanin=melanin,
        hemoglobin=hemoglobin,
        clearing=_random_clearing(rng, kind, radius),
        texture=textures[int(rng.integers(2 if red else 4))],
        contrast=float(rng.uniform(0.05, 0.5)),
        core=float(rng.uniform(-0.5, 0.9)) if rng.random() < 0.35 else 0.0,
        scale=float(rng.uniform(0.05, 0.5)) if rng.random() < (0.3 if red else 0.12) else 0.0,
        scale_color=_SCALE_COLORS[int(rng.choice(3, p=(0.6, 0.25, 0.15)))],
        satellites=int(rng.integers(1, 5)) if rng.random() < 0.12 else 0,
    )


def _random_clearing(rng: np.random.Generator, kind: LesionKind, radius: float) -> float:
    """A pale centre (up to 0.4) keeps the lesion whole, 0.9 and more makes it a ring."""
    if rng.random() > (0.25 if kind == "red" else 0.08) or radius < 0.07:
        return 0.0
    return float(rng.uniform(0.9, 1.0) if rng.random() < 0.5 else rng.uniform(0.1, 0.4))


def _random_pigments(
    rng: np.random.Generator, kind: LesionKind, basal: float
) -> tuple[float, float]:
    """Melanin and hemoglobin of a lesion, in linear optical density.

    On dark skin a lesion must add more to be seen at all, because the camera's curve and the
    light returned flatten there. A mole also carries a little blood: 99 in 100 nevi show a
    positive difference of the erythema index.
    """
    visible = 1.0 + 0.25 * max(basal, 0.0)
    if kind == "pigmented":
        melanin = float(np.exp(rng.uniform(np.log(0.25), np.log(3.0)))) * visible
        return melanin, float(rng.uniform(0.02, 0.12)) * melanin
    if kind == "red":
        return float(rng.uniform(-0.05, 0.08)), float(
            np.exp(rng.uniform(np.log(0.15), np.log(1.3)))
        ) * visible
    return float(rng.uniform(0.35, 1.8)) * visible, float(rng.uniform(0.3, 1.2)) * visible


# --- light, artefacts and camera ----------------------------------------------------------------


def _random_artefacts(rng: np.random.Generator, domain: Domain) -> Artefacts:
    dermoscopic = domain == "dermoscopic"
    hairy = rng.random() < 0.45
    dark_hair = rng.random() < 0.75
    tint = np.array((0.03, 0.018, 0.01) if dark_hair else (0.65, 0.55, 0.40))
    hair_color = np.clip(tint * rng.uniform(0.4, 1.4), 0.0, 1.0)
    return Artefacts(
        shading=float(abs(rng.normal(0.0, 0.1 if dermoscopic else 0.35))),
        shading_angle_deg=float(rng.uniform(0.0, 360.0)),
        vignette=float(rng.uniform(0.0, 0.7)) if rng.random() < 0.5 else 0.0,
        hairs=int(np.exp(rng.uniform(0.0, 4.6))) if hairy else 0,
        hair_width=float(rng.uniform(0.002, 0.008)),
        hair_color=(float(hair_color[0]), float(hair_color[1]), float(hair_color[2])),
        hair_curl=float(rng.uniform(0.0, 1.2)),
        glare=float(rng.uniform(0.1, 1.0)) if rng.random() < 0.22 else 0.0,
        glare_size=float(np.exp(rng.uniform(np.log(0.004), np.log(0.03)))),
        blur=float(rng.uniform(0.0, 0.008)) if rng.random() < 0.6 else 0.0,
        motion=float(rng.uniform(0.0, 0.03)) if rng.random() < 0.1 else 0.0,
        noise=float(rng.uniform(0.0, 0.04)),
        field_radius=float(rng.uniform(0.47, 0.66)) if dermoscopic and rng.random() < 0.4 else None,
        bubbles=int(rng.integers(3, 40)) if dermoscopic and rng.random() < 0.25 else 0,
        ruler=bool(dermoscopic and rng.random() < 0.25),
        pen_marks=int(rng.integers(1, 3)) if rng.random() < 0.1 else 0,
        sticker=_STICKER_COLORS[rng.integers(len(_STICKER_COLORS))]
        if dermoscopic and rng.random() < 0.08
        else None,
    )


def _random_camera(rng: np.random.Generator, skin: SkinModel, domain: Domain) -> CameraCurve:
    warmth, tint = rng.normal(0.0, 0.12), rng.normal(0.0, 0.03)
    if domain == "dermoscopic":
        warmth *= 1.5
    # Automatic exposure brightens dark skin a little and never burns light skin out by much.
    brightest = max(even_skin_color(skin, basal_melanin(skin)))
    automatic = (0.5 / brightest) ** float(rng.uniform(0.2, 0.7))
    exposure = min(automatic * float(np.exp(rng.normal(0.0, 0.18))), 1.1 / brightest)
    return CameraCurve(
        exposure=exposure,
        white_balance=(float(np.exp(warmth)), float(np.exp(tint)), float(np.exp(-warmth))),
        gamma=float(rng.uniform(0.85, 1.2)),
        contrast=float(rng.uniform(0.0, 0.35)),
        saturation=float(rng.uniform(0.8, 1.25)),
    )
