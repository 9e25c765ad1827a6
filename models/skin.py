"""The optics of skin colour, in numpy: the reference that every faster path is tested against.

Pixels are uint8 RGB as a camera stores them (sRGB-encoded), with the channels last and any number
of leading axes, unless a function says otherwise. Everything is computed in float32.

Sources:
    Tsumura, Haneishi, Miyake, J. Opt. Soc. Am. A 16(9):2169-2176 (1999): skin colour is linear in
    the quantities of two pigments once it is written as optical density.
    Lu, Manton, Kazmierczak, Sinclair, IEEE ICIP 2010, 2545-2548, and the code published with it:
    the pigment vectors, fitted by independent component analysis to psoriasis photographs.
    Son et al., Scientific Reports 11 (2021), doi 10.1038/s41598-021-84593-z: the same constants,
    and the two pigment images as extra input of the segmentation network.
    IEC 61966-2-1:1999 (sRGB) and CIE 15:2004 (CIELAB).
    Yamamoto, Takiwaki, Arase, Ohshima, Skin Res. Technol. 14:26-34 (2008): erythema index from a
    digital camera.
    Chardon, Cretois, Hourseau, Int. J. Cosmet. Sci. 13:191-208 (1991) and Del Bino, Bernerd,
    Br. J. Dermatol. 169 s3:33-40 (2013): individual typology angle and its groups.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Uint8 = NDArray[np.uint8]
Vector3 = tuple[float, float, float]

MELANIN_VECTOR: Vector3 = (0.0246, 0.0316, 0.0394)
"""Optical density per unit of melanin in R, G, B of an encoded picture (Lu et al. 2010)."""

HEMOGLOBIN_VECTOR: Vector3 = (0.0193, 0.0755, 0.0666)
"""Optical density per unit of hemoglobin in R, G, B of an encoded picture (Lu et al. 2010)."""

PIGMENT_OFFSET = (1.1601, 2.8347)
"""Quantity (melanin, hemoglobin) that stands for everything else in skin; it is subtracted."""

DENSITY_FLOOR = 1.0
"""Smallest 8-bit value that a density is taken of: ln(0) would poison both pigments."""

SRGB_TO_XYZ = (
    (0.4124564, 0.3575761, 0.1804375),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339, 0.1191920, 0.9503041),
)
"""Linear sRGB to CIE XYZ, D65, 2 degree observer (IEC 61966-2-1)."""

ToneGroup = Literal["very light", "light", "intermediate", "tan", "brown", "dark"]

TONE_GROUPS: tuple[tuple[float, ToneGroup], ...] = (
    (55.0, "very light"),
    (41.0, "light"),
    (28.0, "intermediate"),
    (10.0, "tan"),
    (-30.0, "brown"),
    (-math.inf, "dark"),
)
"""Each group and the angle, in degrees, that its members lie above (Del Bino 2013)."""


class Pigments(Protocol):
    """The numbers of one pigment separation; a model's manifest carries its own."""

    @property
    def melanin_vector(self) -> Vector3:
        """Density per unit of melanin, in R, G, B."""

    @property
    def hemoglobin_vector(self) -> Vector3:
        """Density per unit of hemoglobin, in R, G, B."""

    @property
    def offset(self) -> tuple[float, float]:
        """Quantities (melanin, hemoglobin) subtracted after unmixing."""

    @property
    def floor(self) -> float:
        """Smallest 8-bit value, above 0, that a density is taken of."""


@dataclass(frozen=True)
class PublishedPigments:
    """The constants of Lu 2010 and Son 2021."""

    melanin_vector: Vector3 = MELANIN_VECTOR
    hemoglobin_vector: Vector3 = HEMOGLOBIN_VECTOR
    offset: tuple[float, float] = PIGMENT_OFFSET
    floor: float = DENSITY_FLOOR


PUBLISHED = PublishedPigments()


# --- pigments -----------------------------------------------------------------------------------


def optical_density(pixels: Uint8, floor: float = DENSITY_FLOOR) -> Float32:
    """``-ln(max(value, floor) / 255)`` of each encoded channel (Tsumura 1999; Son 2021).

    Args:
        pixels: uint8 RGB, shape (..., 3).
        floor: Smallest 8-bit value that the logarithm is taken of.

    Returns:
        float32, same shape, between 0 (white) and ``-ln(floor / 255)`` (black).

    Raises:
        ValueError: ``floor`` is not above 0 and at most 255.
    """
    return _look_up(_density_table(floor), pixels)


def unmixing_matrix(pigments: Pigments = PUBLISHED) -> NDArray[np.float64]:
    """The 2x3 matrix from densities (R, G, B) to quantities (melanin, hemoglobin).

    It is the pseudo-inverse of the 3x2 matrix whose columns are the two vectors: the least squares
    solution of three densities for two pigments (Tsumura 1999).
    """
    columns = np.array([pigments.melanin_vector, pigments.hemoglobin_vector], dtype=np.float64).T
    return np.asarray(np.linalg.pinv(columns), dtype=np.float64)


def decompose(pixels: Uint8, pigments: Pigments = PUBLISHED) -> Float32:
    """Pigment quantities: ``pinv([m h]) @ density - offset`` (Lu 2010; Son 2021).

    The unit is arbitrary and the value is not a concentration: a uniform loss of light reads as
    melanin (+38.7 per unit of density) and slightly hides hemoglobin (-4.8).

    Args:
        pixels: uint8 RGB, shape (..., 3).
        pigments: The vectors, offset and floor.

    Returns:
        float32, shape (..., 2): q_mel, q_hem. May be negative. Finite for every uint8 picture.
    """
    unmixing = np.ascontiguousarray(unmixing_matrix(pigments).T, dtype=np.float32)
    offset = np.asarray(pigments.offset, dtype=np.float32)

    def quantities(block: Uint8) -> Float32:
        return np.asarray(optical_density(block, pigments.floor) @ unmixing - offset)

    return _by_blocks(quantities, pixels, np.empty((*pixels.shape[:-1], 2), dtype=np.float32))


def pigment_images(
    pixels: Uint8, pigments: Pigments = PUBLISHED, *, rounded: bool = False
) -> tuple[Float32, Float32]:
    """What the picture would look like if one pigment alone coloured it (Tsumura 1999; Son 2021).

    ``clip(exp(-vector * quantity), 0, 1)`` per channel.

    Args:
        pixels: uint8 RGB, shape (..., 3).
        pigments: The vectors, offset and floor.
        rounded: Round to steps of 1/255, for networks that were fed 8-bit pigment images.

    Returns:
        hemoglobin, melanin: float32, shape (..., 3), between 0 and 1, in the order in which the
        published network takes them.
    """
    quantities = decompose(pixels, pigments)
    melanin = _pigment_image(quantities[..., 0], pigments.melanin_vector, rounded)
    hemoglobin = _pigment_image(quantities[..., 1], pigments.hemoglobin_vector, rounded)
    return hemoglobin, melanin


def _pigment_image(quantity: Float32, vector: Vector3, rounded: bool) -> Float32:
    image = quantity[..., np.newaxis] * -np.asarray(vector, dtype=np.float32)
    np.minimum(image, np.float32(0.0), out=image)
    np.exp(image, out=image)
    if rounded:
        image *= np.float32(255.0)
        np.rint(image, out=image)
        image /= np.float32(255.0)
    return np.asarray(image, dtype=np.float32)


@lru_cache(maxsize=8)
def _density_table(floor: float) -> Float32:
    if not 0.0 < floor <= 255.0:
        raise ValueError(f"floor must be above 0 and at most 255 (an 8-bit value), got {floor}")
    values = np.maximum(np.arange(256), floor) / 255.0
    return np.asarray(-np.log(values), dtype=np.float32)


_BLOCK_PIXELS = 16384


def _by_blocks(
    function: Callable[[Uint8], NDArray[Any]], pixels: Uint8, out: NDArray[Any]
) -> NDArray[Any]:
    """Fill ``out`` with ``function`` of a few thousand pixels at a time, as rows of R, G, B.

    Intermediate arrays then stay in the cache and in the allocator's hands; over a whole frame at
    once the same arithmetic was measured at two to three times the time.
    """
    rows = pixels.reshape(-1, 3)
    results = out.reshape(rows.shape[0], *out.shape[pixels.ndim - 1 :])
    for start in range(0, rows.shape[0], _BLOCK_PIXELS):
        block = slice(start, start + _BLOCK_PIXELS)
        results[block] = function(rows[block])
    return out


def _look_up(table: Float32, values: Uint8) -> Float32:
    """``table[values]`` for a table of 256 entries; "wrap" only skips a check that cannot fail."""
    if values.dtype != np.uint8:
        raise ValueError(f"pixels must be uint8, got {values.dtype}")
    return np.asarray(np.take(table, values, mode="wrap"), dtype=np.float32)


# --- colorimetry --------------------------------------------------------------------------------


def linear_from_srgb(pixels: Uint8) -> Float32:
    """Linear light, 0 to 1, of each encoded channel (IEC 61966-2-1): float32, same shape."""
    return _look_up(_linear_table(), pixels)


def lab_from_srgb(pixels: Uint8) -> Float32:
    """CIELAB of an encoded picture, D65, 2 degree observer: float32, shape (..., 3): L*, a*, b*."""

    def lab(block: Uint8) -> Float32:
        return lab_from_linear(linear_from_srgb(block))

    return _by_blocks(lab, pixels, np.empty(pixels.shape, dtype=np.float32))


def lab_from_linear(linear: Float32) -> Float32:
    """CIELAB of linear sRGB light (CIE 15:2004), D65, 2 degree observer.

    Args:
        linear: float32, shape (..., 3), 1 is white. The white point is the matrix's own image of
            (1, 1, 1), so that grey comes out with a* = b* = 0.

    Returns:
        float32, shape (..., 3): L* in 0..100, a*, b*.
    """
    relative = linear @ _relative_matrix()
    dark = relative <= np.float32(216.0 / 24389.0)
    straight = relative[dark] * np.float32(24389.0 / 27.0 / 116.0) + np.float32(16.0 / 116.0)
    root = np.cbrt(relative, out=relative)
    root[dark] = straight
    lab = root @ _LAB_FROM_ROOT
    lab[..., 0] -= np.float32(16.0)
    return np.asarray(lab, dtype=np.float32)


_LAB_FROM_ROOT = np.array([[0, 500, 0], [116, -500, 200], [0, 0, -200]], dtype=np.float32)
"""L* + 16 = 116 fy, a* = 500 (fx - fy), b* = 200 (fy - fz), as rows fx, fy, fz."""


@lru_cache(maxsize=1)
def _relative_matrix() -> Float32:
    """Linear sRGB, as a row, to X/Xn, Y/Yn, Z/Zn."""
    matrix = np.asarray(SRGB_TO_XYZ, dtype=np.float64)
    return np.ascontiguousarray((matrix / matrix.sum(axis=1, keepdims=True)).T, dtype=np.float32)


@lru_cache(maxsize=1)
def _linear_table() -> Float32:
    encoded = np.arange(256) / 255.0
    curve = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    return np.asarray(curve, dtype=np.float32)


# --- redness and tone ---------------------------------------------------------------------------


def erythema_index(pixels: Uint8, *, linearised: bool = True) -> Float32:
    """``100 * log10(R / G)`` (Yamamoto et al. 2008; after Diffey 1984).

    On linearised sRGB by default; on encoded values it is 2.1 to 2.3 times smaller. Melanin raises
    it too (dark brown skin reads 40 with no erythema), so only the difference from the person's own
    surrounding skin means something. Values below 1 of 255 are taken as 1.

    Args:
        pixels: uint8 RGB, shape (..., 3).
        linearised: Undo the sRGB curve first.

    Returns:
        float32, shape (...). Finite for every uint8 picture.
    """
    table = _log10_table(linearised)

    def index(block: Uint8) -> Float32:
        return _look_up(table, block[:, 0]) - _look_up(table, block[:, 1])

    return _by_blocks(index, pixels, np.empty(pixels.shape[:-1], dtype=np.float32))


@lru_cache(maxsize=2)
def _log10_table(linearised: bool) -> Float32:
    values = _linear_table().astype(np.float64) if linearised else np.arange(256) / 255.0
    return np.asarray(100.0 * np.log10(np.maximum(values, values[1])), dtype=np.float32)


def ita_deg(lab: Float32, *, grey_chroma: float = 1.0) -> Float32:
    """Individual typology angle ``atan2(L* - 50, b*)`` in degrees (Chardon 1991).

    ``atan2`` and not ``atan`` of the ratio: a bluish cast (b* below 0) then still orders tones.
    Measure it on skin outside lesions: redness by itself lowers the angle. It is not a Fitzpatrick
    type.

    Args:
        lab: float32, shape (..., 3): L*, a*, b*.
        grey_chroma: Colours with less chroma than this have no hue, so no angle.

    Returns:
        float32, shape (...): degrees, higher is lighter; NaN where undefined (grey).
    """
    angle = np.degrees(np.arctan2(lab[..., 0] - np.float32(50.0), lab[..., 2]))
    chroma_squared = lab[..., 1] * lab[..., 1] + lab[..., 2] * lab[..., 2]
    grey = chroma_squared < np.float32(grey_chroma * grey_chroma)
    return np.asarray(np.where(grey, np.float32(np.nan), angle), dtype=np.float32)


def tone_group(ita: float) -> ToneGroup | None:
    """Group of an angle in degrees, in the bins of Del Bino; None where the angle is undefined."""
    if math.isnan(ita):
        return None
    return next(group for above, group in TONE_GROUPS if ita > above)


# --- where is skin? -----------------------------------------------------------------------------

RED_OVER_GREEN = (0.18, 2.2)
GREEN_OVER_BLUE = (-0.25, 2.6)
SKIN_VALUES = (35, 250)


def skin_mask(pixels: Uint8) -> NDArray[np.bool_]:
    """Which pixels can be skin, lesions included, by their colour alone.

    Both pigments take more green than red, and melanin takes more blue than green, so on any skin
    ``ln R/G`` and ``ln G/B`` of linear light are positive: the palest skin measured has 0.44 and
    0.27 (the reference colour 234, 192, 170), more pigment only adds. The rule lets the camera's
    white balance move them by about 0.25 and 0.5 (phones were seen to cool blue more than green):

    * ``0.18 <= ln R/G <= 2.2``: below is grey, green and blue; above is red dye;
    * ``-0.25 <= ln G/B <= 2.6``: below is purple and pink dye; above is yellow dye;
    * ``R >= 35`` (darker pixels have no colour to speak of) and ``G < 250`` (highlights).

    Logarithms are taken of 8-bit values of at least 8: below that, noise decides the ratio.
    It cannot tell skin from cloth, wood or paper of the colour of skin, and grey cloth under warm
    light passes for pale skin.

    Args:
        pixels: uint8 RGB, shape (..., 3).

    Returns:
        bool, shape (...).
    """
    return _by_blocks(_skin_rule, pixels, np.empty(pixels.shape[:-1], dtype=np.bool_))


def _skin_rule(pixels: Uint8) -> NDArray[np.bool_]:
    red, green, blue = pixels[:, 0], pixels[:, 1], pixels[:, 2]
    table = _ratio_table()
    log_green = _look_up(table, green)
    red_over_green = _look_up(table, red) - log_green
    green_over_blue = log_green - _look_up(table, blue)
    plausible = (red >= np.uint8(SKIN_VALUES[0])) & (green < np.uint8(SKIN_VALUES[1]))
    plausible &= red_over_green >= np.float32(RED_OVER_GREEN[0])
    plausible &= red_over_green <= np.float32(RED_OVER_GREEN[1])
    plausible &= green_over_blue >= np.float32(GREEN_OVER_BLUE[0])
    plausible &= green_over_blue <= np.float32(GREEN_OVER_BLUE[1])
    return np.asarray(plausible, dtype=np.bool_)


@lru_cache(maxsize=1)
def _ratio_table() -> Float32:
    light = _linear_table()
    return np.asarray(np.log(np.maximum(light, light[8])), dtype=np.float32)
