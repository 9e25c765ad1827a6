"""What a phantom is: a frozen description that fully determines one picture.

Lengths are fractions of the shorter side of the picture and positions are fractions of its width
and height, so one description gives the same scene at any size.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Domain = Literal["clinical", "dermoscopic"]
LesionKind = Literal["pigmented", "red", "both"]
Texture = Literal["plain", "mottled", "reticular", "globular"]
Rgb = tuple[float, float, float]


@dataclass(frozen=True)
class Lesion:
    """One lesion, as what it adds to the pigments of the skin it lies on.

    Attributes:
        kind: Which pigment the lesion is about.
        seed: Draws the outline and the inner texture.
        center_xy: Position as fractions of width and height.
        radius: Mean radius.
        aspect: Long over short axis, at least 1.
        angle_deg: Direction of the long axis.
        irregularity: 0 is an ellipse, 0.5 a map.
        softness: Width of the edge as a fraction of the radius.
        melanin: Melanin added at full strength, in optical density of linear light.
        hemoglobin: Hemoglobin added at full strength, likewise.
        clearing: How much of both is missing in the centre; 1 is a ring with a hole.
        texture: Pattern of the inside.
        contrast: Strength of that pattern.
        core: How much stronger (above 0) or weaker the pigment is in an inner zone.
        scale: Share of the inside covered with scale or crust.
        scale_color: Linear reflectance of it: white scale, yellow keratin or dry blood.
        satellites: Small lesions of the same kind around it that share its label.
    """

    kind: LesionKind
    seed: int
    center_xy: tuple[float, float]
    radius: float
    aspect: float = 1.2
    angle_deg: float = 0.0
    irregularity: float = 0.15
    softness: float = 0.15
    melanin: float = 1.0
    hemoglobin: float = 0.2
    clearing: float = 0.0
    texture: Texture = "mottled"
    contrast: float = 0.3
    core: float = 0.0
    scale: float = 0.0
    scale_color: Rgb = (0.78, 0.74, 0.66)
    satellites: int = 0


@dataclass(frozen=True)
class SkinModel:
    """The optics and the surface of the skin around the lesions.

    Attributes:
        ita_deg: Individual typology angle that the clean skin comes out at.
        melanin_vector: Unit vector of melanin's density in linear R, G, B.
        hemoglobin_vector: Unit vector of hemoglobin's density in linear R, G, B.
        hemoglobin: Density of the blood that normal skin carries.
        dermis: Linear reflectance of skin with neither pigment.
        mottling: Relative slow variation of both pigments.
        relief: Strength of skin lines and pores.
        relief_size: Distance between skin lines.
        relief_angle_deg: Direction of the skin lines.
        freckles: Number of small brown spots, which are not lesions.
        creases: Number of folds, which are not lesions.
    """

    ita_deg: float
    melanin_vector: Rgb
    hemoglobin_vector: Rgb
    hemoglobin: float = 0.25
    dermis: Rgb = (0.93, 0.77, 0.66)
    mottling: float = 0.06
    relief: float = 0.05
    relief_size: float = 0.015
    relief_angle_deg: float = 0.0
    freckles: int = 0
    creases: int = 0


@dataclass(frozen=True)
class Edge:
    """A border beyond which no skin is seen: cloth, or the table behind an arm.

    Attributes:
        angle_deg: Direction from the skin towards the cloth.
        distance: From the middle of the picture to the border.
        waviness: How far the border strays from a straight line.
        color: Linear reflectance of what lies beyond.
        weave: Strength of the weave or grain.
        weave_size: Its period.
        stripe_color: A second colour in stripes, or None.
        limb: The skin falls away before it (an arm on a table), so its rim is darker.
    """

    angle_deg: float
    distance: float
    waviness: float
    color: Rgb
    weave: float = 0.1
    weave_size: float = 0.02
    stripe_color: Rgb | None = None
    limb: bool = False


@dataclass(frozen=True)
class Artefacts:
    """What stands between the skin and a good picture. All zero is a clean one.

    Attributes:
        shading: Fall of the light across the picture.
        shading_angle_deg: Direction in which it falls.
        vignette: Loss of light in the corners.
        hairs: Number of hairs.
        hair_width: Their width.
        hair_color: Linear reflectance of a hair.
        hair_curl: How much a hair bends.
        glare: Strength of wet highlights.
        glare_size: Their size.
        blur: Sigma of defocus.
        motion: Length of the motion smear.
        noise: Sigma of sensor noise at full light, of 1.
        field_radius: Radius of a dermatoscope's round field, or None.
        bubbles: Number of gel bubbles.
        ruler: A ruler is printed in the field.
        pen_marks: Strokes of a surgical marker.
        sticker: A coloured patch at the border.
    """

    shading: float = 0.0
    shading_angle_deg: float = 0.0
    vignette: float = 0.0
    hairs: int = 0
    hair_width: float = 0.004
    hair_color: Rgb = (0.02, 0.015, 0.01)
    hair_curl: float = 0.5
    glare: float = 0.0
    glare_size: float = 0.02
    blur: float = 0.0
    motion: float = 0.0
    noise: float = 0.0
    field_radius: float | None = None
    bubbles: int = 0
    ruler: bool = False
    pen_marks: int = 0
    sticker: Rgb | None = None


@dataclass(frozen=True)
class CameraCurve:
    """From linear light to the encoded picture. The defaults are plain sRGB.

    Attributes:
        exposure: Factor on the light.
        white_balance: Factors on linear R, G, B: the colour cast.
        gamma: Exponent on the sRGB-encoded value.
        contrast: Weight of an S-shaped tone curve, as phones apply it.
        saturation: 1 keeps colours, 0 is grey.
    """

    exposure: float = 1.0
    white_balance: Rgb = (1.0, 1.0, 1.0)
    gamma: float = 1.0
    contrast: float = 0.0
    saturation: float = 1.0


@dataclass(frozen=True)
class PhantomSpec:
    """Everything that determines one phantom picture."""

    seed: int
    size_wh: tuple[int, int]
    domain: Domain
    skin: SkinModel
    lesions: tuple[Lesion, ...] = ()
    edges: tuple[Edge, ...] = ()
    artefacts: Artefacts = field(default_factory=Artefacts)
    camera: CameraCurve = field(default_factory=CameraCurve)
