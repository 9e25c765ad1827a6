"""The pigment separation of ``models.skin`` as four ONNX operators.

With ``D = -ln(max(v, floor) / 255)``, ``q = pinv([m h]) D - b`` and the image
``clip(exp(-p_k q_p), 0, 1)`` of pigment p in channel k (Tsumura 1999; Lu 2010; Son 2021), the
exponent is affine in ``L = ln(max(v, floor))``::

    -p_k q_p  =  p_k * sum_j pinv[p,j] L_j  +  p_k * (b_p - ln(255) * sum_j pinv[p,j])

so Max, Log, one 1x1 convolution, Clip to at most 0 and Exp do it all. The constants are folded in
float64; the float32 result is within 1e-5 of the reference (``tests/convert``).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from convert.graph_writer import GraphWriter
from models.manifest import Pigments, Role
from models.skin import unmixing_matrix

# exp(-80) is 2e-35, no pigment image at all, and still a normal float32. A Clip with both bounds
# is what runtimes fuse into the convolution.
_EXPONENT_MIN = -80.0


def add_density_logarithm(writer: GraphWriter, pixels: str, pigments: Pigments) -> str:
    """``ln(max(v, floor))`` of 0..255 float32 pixels in any layout."""
    floor = writer.constant(np.float32(pigments.floor))
    floored = writer.add("Max", [pixels, floor], "pigment/floor")
    return writer.add("Log", [floored], "pigment/logarithm")


def add_pigment_images(
    writer: GraphWriter,
    logarithm: str,
    roles: tuple[Role, ...],
    pigments: Pigments,
    *,
    nchw: bool,
    bgr: bool,
) -> str:
    """Pigment images 0..1, three channels for each role, stacked in the order of ``roles``.

    Args:
        writer: Takes the nodes.
        logarithm: From :func:`add_density_logarithm`, in the same layout.
        roles: ``hemoglobin``, ``melanin``, or both.
        pigments: The manifest's constants.
        nchw: Channels are axis 1 and not the last one.
        bgr: Each image's channels come out as B, G, R.
    """
    weights, bias = exponent_coefficients(roles, pigments, bgr=bgr)
    if nchw:
        kernel = writer.constant(weights.reshape(*weights.shape, 1, 1))
        inputs = [logarithm, kernel, writer.constant(bias)]
        exponent = writer.add("Conv", inputs, "pigment/exponent", kernel_shape=[1, 1])
    else:
        mixed = writer.add("MatMul", [logarithm, writer.constant(weights.T)], "pigment/mixed")
        exponent = writer.add("Add", [mixed, writer.constant(bias)], "pigment/exponent")
    bounds = [writer.constant(np.float32(_EXPONENT_MIN)), writer.constant(np.float32(0.0))]
    clipped = writer.add("Clip", [exponent, *bounds], "pigment/clipped")
    return writer.add("Exp", [clipped], "pigment/image")


def exponent_coefficients(
    roles: tuple[Role, ...], pigments: Pigments, *, bgr: bool
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weights (3 * roles, 3) and bias of the exponent as a function of ``ln(max(v, floor))``."""
    unmixing = unmixing_matrix(pigments)
    rows, biases = [], []
    for role in roles:
        index = 0 if role == "melanin" else 1
        vector = pigments.melanin_vector if role == "melanin" else pigments.hemoglobin_vector
        row = unmixing[index]
        bias = pigments.offset[index] - math.log(255.0) * float(row.sum())
        for density in reversed(vector) if bgr else vector:
            rows.append(density * row)
            biases.append(density * bias)
    return np.array(rows, np.float32), np.array(biases, np.float32)
