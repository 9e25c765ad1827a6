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
    Yamamoto, Takiwaki, Arase, Ohshima, Skin Res. Technol. 14:26-34 (2008): erythema and melanin
    index from a digital camera.
    Chardon, Cretois, Hourseau, Int. J. Cosmet. Sci. 13:191-208 (1991) and Del Bino, Bernerd,
    Br. J. Dermatol. 169 s3:33-40 (2013): individual typology angle and its groups.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Uint8 = NDArray[np.uint8]

MELANIN_VECTOR = (0.0246, 0.0316, 0.0394)
"""Optical density per unit of melanin in R, G, B of an encoded picture (Lu et al. 2010)."""

HEMOGLOBIN_VECTOR = (0.0193, 0.0755, 0.0666)
"""Optical density per unit of hemoglobin in R, G, B of an encoded picture (Lu et al. 2010)."""

PIGMENT_OFFSET = (1.1601, 2.8347)
"""Quantity (melanin, hemoglobin) that stands for everything else in skin; it is subtracted."""

DENSITY_FLOOR = 1.0 / 255.0
"""Smallest encoded value, of 1, that a density is taken of: ln(0) would poison both pigments."""

SRGB_TO_XYZ = (
    (0.4124564, 0.3575761, 0.1804375),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339, 0.1191920, 0.9503041),
)
"""Linear sRGB to CIE XYZ, D65, 2 degree observer (IEC 61966-2-1)."""


@dataclass(frozen=True)
class PigmentConstants:
    """The numbers of one pigment separation; the defaults are those of Lu 2010 and Son 2021.

    Attributes:
        melanin_vector: Density per unit of melanin, in R, G, B.
        hemoglobin_vector: Density per unit of hemoglobin, in R, G, B.
        offset: Quantities (melanin, hemoglobin) subtracted after unmixing.
        floor: Smallest encoded value, between 0 and 1, that a density is taken of.
    """

    melanin_vector: tuple[float, float, float] = MELANIN_VECTOR
    hemoglobin_vector: tuple[float, float, float] = HEMOGLOBIN_VECTOR
    offset: tuple[float, float] = PIGMENT_OFFSET
    floor: float = DENSITY_FLOOR

    def unmixing(self) -> NDArray[np.float64]:
        """The 2x3 matrix from densities (R, G, B) to quantities (melanin, hemoglobin).

        It is the pseudo-inverse of the 3x2 matrix whose columns are the two vectors: the least
        squares solution of three densities for two pigments (Tsumura 1999).
        """
        columns = np.array([self.melanin_vector, self.hemoglobin_vector], dtype=np.float64).T
        return np.asarray(np.linalg.pinv(columns), dtype=np.float64)


DEFAULT_CONSTANTS = PigmentConstants()


# --- pigments -----------------------------------------------------------------------------------


def optical_density(pixels: Uint8, floor: float = DENSITY_FLOOR) -> Float32:
    """``-ln(max(value / 255, floor))`` of each encoded channel (Tsumura 1999; Son 2021).

    Args:
        pixels: uint8 RGB, shape (..., 3).
        floor: Smallest value, of 1, that the logarithm is taken of.

    Returns:
        float32, same shape, between 0 (white) and ``-ln(floor)`` (black).
    """
    return _density_table(floor)[pixels]


def decompose(pixels: Uint8, constants: PigmentConstants = DEFAULT_CONSTANTS) -> Float32:
    """Pigment quantities: ``pinv([m h]) @ density - offset`` (Lu 2010; Son 2021).

    The unit is arbitrary and the value is not a concentration: a uniform loss of light reads as
    melanin (+38.7 per unit of density) and slightly hides hemoglobin (-4.8).

    Args:
        pixels: uint8 RGB, shape (..., 3).
        constants: The vectors, offset and floor.

    Returns:
        float32, shape (..., 2): q_mel, q_hem. May be negative. Finite for every uint8 picture.
    """
    unmixing = constants.unmixing().astype(np.float32)
    density = optical_density(pixels, constants.floor)
    return density @ unmixing.T - np.asarray(constants.offset, dtype=np.float32)


def pigment_images(
    pixels: Uint8, constants: PigmentConstants = DEFAULT_CONSTANTS, *, rounded: bool = False
) -> tuple[Float32, Float32]:
    """What the picture would look like if one pigment alone coloured it (Tsumura 1999; Son 2021).

    ``clip(exp(-vector * quantity), 0, 1)`` per channel.

    Args:
        pixels: uint8 RGB, shape (..., 3).
        constants: The vectors, offset and floor.
        rounded: Round to steps of 1/255, as a network was fed that stored them as 8 bit.

    Returns:
        hemoglobin, melanin: float32, shape (..., 3), between 0 and 1, in the order in which the
        published network takes them.
    """
    quantities = decompose(pixels, constants)
    melanin = _pigment_image(quantities[..., 0], constants.melanin_vector)
    hemoglobin = _pigment_image(quantities[..., 1], constants.hemoglobin_vector)
    if rounded:
        return _round_to_8_bit(hemoglobin), _round_to_8_bit(melanin)
    return hemoglobin, melanin


def _pigment_image(quantity: Float32, vector: tuple[float, float, float]) -> Float32:
    exponent = -quantity[..., np.newaxis] * np.asarray(vector, dtype=np.float32)
    return np.exp(np.minimum(exponent, np.float32(0.0)))


def _round_to_8_bit(image: Float32) -> Float32:
    return np.rint(image * np.float32(255.0)) / np.float32(255.0)


@lru_cache(maxsize=8)
def _density_table(floor: float) -> Float32:
    if not 0.0 < floor < 1.0:
        raise ValueError(f"floor must be between 0 and 1, got {floor}")
    values = np.maximum(np.arange(256) / 255.0, floor)
    return (-np.log(values)).astype(np.float32)


# --- colorimetry --------------------------------------------------------------------------------


def linear_from_srgb(pixels: Uint8) -> Float32:
    """Linear light, 0 to 1, of each encoded channel (IEC 61966-2-1). float32, same shape."""
    return _linear_table()[pixels]


def lab_from_srgb(pixels: Uint8) -> Float32:
    """CIELAB of an encoded picture, D65, 2 degree observer. float32, shape (..., 3): L*, a*, b*."""
    return lab_from_linear(linear_from_srgb(pixels))


def lab_from_linear(linear: Float32) -> Float32:
    """CIELAB of linear sRGB light (CIE 15:2004), D65, 2 degree observer.

    Args:
        linear: float, shape (..., 3), 1 is white. The white point is the matrix's own image of
            (1, 1, 1), so that grey comes out with a* = b* = 0.

    Returns:
        float32, shape (..., 3): L* in 0..100, a*, b*.
    """
    matrix = np.asarray(SRGB_TO_XYZ, dtype=np.float64)
    matrix = (matrix / matrix.sum(axis=1, keepdims=True)).astype(np.float32)
    ratio = np.asarray(linear, dtype=np.float32) @ matrix.T
    epsilon, kappa = np.float32(216.0 / 24389.0), np.float32(24389.0 / 27.0)
    root = np.where(ratio > epsilon, np.cbrt(ratio), (kappa * ratio + 16.0) / np.float32(116.0))
    lightness = 116.0 * root[..., 1] - 16.0
    a_star = 500.0 * (root[..., 0] - root[..., 1])
    b_star = 200.0 * (root[..., 1] - root[..., 2])
    return np.stack((lightness, a_star, b_star), axis=-1).astype(np.float32, copy=False)


@lru_cache(maxsize=1)
def _linear_table() -> Float32:
    encoded = np.arange(256) / 255.0
    curve = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    return curve.astype(np.float32)


def ita_deg(lab: Float32, *, grey_chroma: float = 1.0) -> Float32:
    """Individual typology angle ``atan2(L* - 50, b*)`` in degrees (Chardon 1991).

    ``atan2`` and not ``atan`` of the ratio: a bluish cast (b* below 0) then still orders tones.
    Measure it on skin outside lesions: redness by itself lowers the angle.

    Args:
        lab: float, shape (..., 3): L*, a*, b*.
        grey_chroma: Colours with less chroma than this have no hue, so no angle.

    Returns:
        float32, shape (...): degrees, higher is lighter; NaN where undefined (grey).
    """
    lab = np.asarray(lab, dtype=np.float32)
    angle = np.degrees(np.arctan2(lab[..., 0] - 50.0, lab[..., 2]))
    grey = np.hypot(lab[..., 1], lab[..., 2]) < grey_chroma
    return np.where(grey, np.float32(np.nan), angle).astype(np.float32, copy=False)
