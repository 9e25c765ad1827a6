"""The nodes in front of a network: from the camera's uint8 pixels to every tensor it takes.

``rgb`` uint8 [N,H,W,3] is read by exactly one Cast (TensorRT takes uint8 only as a network input
that is cast at once). From there each input tensor is made of parts, one per role or, where
pigment roles are neighbours, one for both; parts are scaled, stacked and brought to the layout
and type that the manifest names.

A network that is fed NHWC and begins with a Transpose to NCHW gets its parts in NCHW and one
Transpose to NHWC, which :func:`convert.rewrites.cancel_transposes` then removes with its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from convert.graph_writer import GraphWriter
from convert.pigment_graph import add_density_logarithm, add_pigment_images
from models.manifest import InputTensor, Manifest, Role

Layout = Literal["NCHW", "NHWC"]

TO_NCHW = [0, 3, 1, 2]
TO_NHWC = [0, 2, 3, 1]
_ELEMENT = {"float16": TensorProto.FLOAT16, "uint8": TensorProto.UINT8}


@dataclass(frozen=True)
class Affine:
    """``value * factor + shift`` for each channel of a part; float32, shape (channels,)."""

    factor: NDArray[np.float32]
    shift: NDArray[np.float32]


def write_front(
    writer: GraphWriter, graph: onnx.GraphProto, manifest: Manifest, rgb: str
) -> dict[str, str]:
    """Write all nodes between ``rgb`` and the network's inputs.

    Args:
        writer: Takes the nodes.
        graph: The network, to see what it does with its inputs.
        manifest: Says what each input is.
        rgb: Name of the graph's uint8 [N,H,W,3] input.

    Returns:
        For the name of each of the network's inputs, the tensor that takes its place.
    """
    front = _Front(writer, manifest, rgb)
    return {t.name: front.write_input(t, working_layout(t, graph)) for t in manifest.inputs}


def working_layout(tensor: InputTensor, graph: onnx.GraphProto) -> Layout:
    """The layout that saves Transposes: the network's own after whatever it does first."""
    consumers = [node for node in graph.node if tensor.name in node.input]
    if consumers and all(is_transpose(node, TO_NCHW) for node in consumers):
        return "NCHW"
    return tensor.layout


def is_transpose(node: onnx.NodeProto, perm: list[int]) -> bool:
    """Whether a node is a Transpose by exactly this permutation."""
    if node.op_type != "Transpose" or node.domain not in ("", "ai.onnx"):
        return False
    return any(a.name == "perm" and list(a.ints) == perm for a in node.attribute)


def part_roles(roles: tuple[Role, ...]) -> list[tuple[Role, ...]]:
    """Neighbouring pigment roles together, because one convolution makes both."""
    parts: list[tuple[Role, ...]] = []
    for role in roles:
        if role != "rgb" and parts and parts[-1] != ("rgb",):
            parts[-1] = (*parts[-1], role)
        else:
            parts.append((role,))
    return parts


def channel_affine(tensor: InputTensor) -> Affine:
    """``(value * scale - mean) / std`` of 0..255 values, for every channel of the tensor.

    ``mean`` and ``std`` are in the tensor's own channel order (after a swap to BGR), and three
    numbers are repeated for every role.
    """
    mean = np.resize(np.asarray(tensor.mean, np.float64), tensor.channels)
    std = np.resize(np.asarray(tensor.std, np.float64), tensor.channels)
    return Affine((tensor.scale / std).astype(np.float32), (-mean / std).astype(np.float32))


class _Front:
    """What the inputs of one network share: the cast pixels and their logarithm."""

    def __init__(self, writer: GraphWriter, manifest: Manifest, rgb: str) -> None:
        self._writer = writer
        self._pigments = manifest.pigments
        self._pixels: dict[Layout, str] = {
            "NHWC": writer.add("Cast", [rgb], "pixels", to=TensorProto.FLOAT)
        }
        self._logarithm: dict[Layout, str] = {}

    def write_input(self, tensor: InputTensor, layout: Layout) -> str:
        """Write the nodes of one input, working in ``layout``; returns the last one's output."""
        writer = self._writer
        affine = channel_affine(tensor)
        parts, channel = [], 0
        for roles in part_roles(tensor.roles):
            channels = slice(channel, channel + 3 * len(roles))
            part = Affine(affine.factor[channels], affine.shift[channels])
            parts.append(self._part(roles, part, tensor, layout))
            channel = channels.stop
        name = parts[0]
        if len(parts) > 1:
            axis = 1 if layout == "NCHW" else 3
            name = writer.add("Concat", parts, f"{tensor.name}/stacked", axis=axis)
        if tensor.dtype in _ELEMENT:
            to = _ELEMENT[tensor.dtype]
            name = writer.add("Cast", [name], f"{tensor.name}/{tensor.dtype}", to=to)
        if layout != tensor.layout:
            name = writer.add("Transpose", [name], f"{tensor.name}/layout", perm=TO_NHWC)
        return name

    def _part(
        self, roles: tuple[Role, ...], affine: Affine, tensor: InputTensor, layout: Layout
    ) -> str:
        bgr = tensor.colour_order == "BGR"
        if roles == ("rgb",):
            values = self._pixels_in(layout)
            if bgr:
                order = self._writer.constant(np.array([2, 1, 0], np.int64))
                axis = 1 if layout == "NCHW" else 3
                values = self._writer.add("Gather", [values, order], "bgr", axis=axis)
        else:
            values = add_pigment_images(
                self._writer,
                self._logarithm_in(layout),
                roles,
                self._pigments,
                nchw=layout == "NCHW",
                bgr=bgr,
            )
            if tensor.round_pigments:
                values = self._rounded(values)
            else:
                affine = Affine(affine.factor * np.float32(255.0), affine.shift)
        return self._scaled(values, affine, layout)

    def _rounded(self, image: str) -> str:
        """0..1 to whole numbers 0..255, ties to even as in ``models.skin``."""
        full = self._writer.constant(np.float32(255.0))
        values = self._writer.add("Mul", [image, full], "pigment/full_scale")
        return self._writer.add("Round", [values], "pigment/8_bit")

    def _scaled(self, values: str, affine: Affine, layout: Layout) -> str:
        if not np.all(affine.factor == 1.0):
            factor = self._per_channel(affine.factor, layout)
            values = self._writer.add("Mul", [values, factor], "scale")
        if np.any(affine.shift != 0.0):
            shift = self._per_channel(affine.shift, layout)
            values = self._writer.add("Add", [values, shift], "shift")
        return values

    def _per_channel(self, values: NDArray[np.float32], layout: Layout) -> str:
        if np.all(values == values[0]):
            return self._writer.constant(values[0].reshape(()))
        return self._writer.constant(values.reshape((-1, 1, 1) if layout == "NCHW" else (-1,)))

    def _pixels_in(self, layout: Layout) -> str:
        if layout not in self._pixels:
            nhwc = self._pixels["NHWC"]
            self._pixels[layout] = self._writer.add(
                "Transpose", [nhwc], "pixels_nchw", perm=TO_NCHW
            )
        return self._pixels[layout]

    def _logarithm_in(self, layout: Layout) -> str:
        if layout not in self._logarithm:
            self._logarithm[layout] = add_density_logarithm(
                self._writer, self._pixels_in(layout), self._pigments
            )
        return self._logarithm[layout]
