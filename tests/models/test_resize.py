"""How a picture becomes a network's input: where it lies, and that it is an average."""

from __future__ import annotations

import numpy as np
import pytest

from models.manifest import ResizeRule
from models.resize import fit_image, place

AVERAGED = ResizeRule(fit="stretch")
LETTERBOX = ResizeRule(fit="letterbox", fill=(1, 2, 3))


def area_average(pixels, size_wh):
    """Mean over the area that each output pixel covers, by two products with its weights."""

    def weights(source, target):
        edges = np.arange(target + 1) * source / target
        low, high = edges[:-1, np.newaxis], edges[1:, np.newaxis]
        cells = np.arange(source)
        covered = np.clip(np.minimum(high, cells + 1) - np.maximum(low, cells), 0.0, None)
        return covered / covered.sum(axis=1, keepdims=True)

    height, width = pixels.shape[:2]
    rows, columns = weights(height, size_wh[1]), weights(width, size_wh[0])
    return np.einsum("yr,rcd,xc->yxd", rows, pixels.astype(np.float64), columns, optimize=True)


def smooth_picture(width, height):
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(k * x / width) * np.cos((k + 1) * y / height) for k in (2.0, 3.0, 5.0)]
    return np.rint(127.5 + 100.0 * np.stack(waves, axis=2)).astype(np.uint8)


@pytest.mark.parametrize(
    ("source_wh", "target_wh"),
    [
        ((500, 300), (304, 171)),
        ((640, 360), (304, 171)),
        ((1280, 720), (304, 171)),
        ((1216, 684), (304, 171)),
        ((2560, 1440), (304, 171)),
        ((333, 777), (64, 150)),
    ],
)
def test_shrinking_averages_over_the_area_of_each_pixel(source_wh, target_wh):
    pixels = smooth_picture(*source_wh)
    fitted, _ = fit_image(pixels, target_wh, AVERAGED)
    assert np.abs(fitted - area_average(pixels, target_wh)).max() <= 2.0


@pytest.mark.parametrize("source_wh", [(608, 608), (700, 610), (1216, 1216), (1280, 1220)])
def test_finer_detail_than_the_network_sees_becomes_grey(source_wh):
    width, height = source_wh
    checked = np.indices((height, width)).sum(axis=0) % 2
    pixels = np.repeat(checked[..., np.newaxis] * 255, 3, axis=2).astype(np.uint8)
    fitted, _ = fit_image(pixels, (304, 304), AVERAGED)
    assert np.abs(fitted.astype(float) - 127.5).max() < 32.0
    rule = ResizeRule(fit="stretch", interpolation="nearest", antialias=False)
    sampled, _ = fit_image(pixels, (304, 304), rule)
    assert np.isin(sampled, (0, 255)).all()


@pytest.mark.parametrize("side", [400, 608, 640, 1216, 1280, 2600])
def test_nothing_moves(side):
    x = np.linspace(0.0, 255.0, side)
    pixels = np.rint(np.broadcast_to(x[np.newaxis, :, np.newaxis], (side, side, 3)))
    fitted, _ = fit_image(pixels.astype(np.uint8), (304, 304), AVERAGED)
    expected = (np.arange(304) + 0.5) / 304 * 255.0
    assert np.abs(fitted[150, :, 0] - expected).max() < 1.2


def test_a_letterboxed_picture_lies_in_the_middle_of_its_fill():
    pixels = np.full((720, 1280, 3), 200, np.uint8)
    fitted, placement = fit_image(pixels, (304, 304), LETTERBOX)
    assert placement.target_xyxy == (0, 66, 304, 237)
    x0, y0, x1, y1 = placement.target_xyxy
    assert (fitted[y0:y1, x0:x1] == 200).all()
    outside = np.concatenate((fitted[:y0], fitted[y1:]))
    assert (outside == np.array([1, 2, 3])).all()


def test_a_cropped_picture_loses_the_same_on_both_sides():
    placement = place((1280, 720), (304, 304), ResizeRule(fit="crop"))
    assert placement.source_xyxy == (280, 0, 1000, 720)
    assert placement.target_xyxy == (0, 0, 304, 304)


def test_the_result_is_written_into_the_buffer_that_is_given():
    pixels = smooth_picture(640, 480)
    out = np.zeros((304, 304, 3), np.uint8)
    fitted, _ = fit_image(pixels, (304, 304), LETTERBOX, out=out)
    assert fitted is out
    again, _ = fit_image(pixels, (304, 304), LETTERBOX)
    assert np.array_equal(out, again)


def test_one_pixel_and_one_channel_are_pictures_too():
    fitted, _ = fit_image(np.full((1, 1, 1), 9, np.uint8), (16, 8), AVERAGED)
    assert fitted.shape == (8, 16, 1) and (fitted == 9).all()
