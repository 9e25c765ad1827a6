"""Frames in, Results out: with planted networks for the logic, with real sessions for the rest."""

from __future__ import annotations

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from edge.analysis.analyzer import Analyzer
from edge.compose import open_analyzer
from edge.engines.base import EngineFailedError
from edge.engines.cuda import CudaError
from edge.errors import ModelRefusedError
from edge.result import NO_COLOUR, UNVALIDATED, Stage
from models.manifest import load_pack
from models.phantom import Lesion, clean, random_spec, render

SKIN = (200, 150, 120)
SIZE = 96

KEYS = {
    "schema", "software", "status", "reasons", "frame", "threshold", "regions",
    "regions_not_classified", "skin_tone", "quality", "timings_ms", "engines",
}  # fmt: skip
FRAME_KEYS = {
    "source", "id", "size_wh", "captured_ns", "captured_clock", "captured_by", "boot_id", "wall",
    "wall_trusted", "settings",
}  # fmt: skip
REGION_KEYS = {
    "letter", "track_id", "box_xyxy", "contours_xy", "area_px", "area_fraction", "score",
    "classified", "abstained", "abstain_reason", "classes", "colour",
}  # fmt: skip
COLOUR_KEYS = {
    "ei", "a_star", "q_hem", "q_mel", "delta_ei", "delta_a_star", "delta_q_hem", "delta_q_mel",
    "ring_px", "erythema_reliable", "reason",
}  # fmt: skip
ENGINE_KEYS = {"name", "version", "backend", "precision", "model_sha256", "engine_sha256"}


def skin_frame(width: int = 320, height: int = 240) -> np.ndarray:
    pixels = np.empty((height, width, 3), np.uint8)
    pixels[:] = SKIN
    return pixels


def square_map(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    grid = np.zeros((SIZE, SIZE), np.float32)
    for x0, y0, x1, y1 in boxes:
        grid[y0:y1, x0:x1] = 0.9
    return grid


def grid_of_boxes(count: int, side: int = 5) -> list[tuple[int, int, int, int]]:
    """Separate boxes inside the rows that a 4:3 frame has in the letterbox, the first largest."""
    boxes = []
    for index in range(count):
        x, y = 4 + 12 * (index % 7), 14 + 12 * (index // 7)
        boxes.append((x, y, x + side + (index == 0), y + side))
    return boxes


def assert_documented(document: dict) -> None:
    """Exactly the keys of the documented example, and strict JSON."""
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert set(document) == KEYS and set(document["frame"]) == FRAME_KEYS
    assert document["schema"] == "dermedge.result/1"
    assert set(document["quality"]) == {
        "sharpness", "glare_fraction", "exposure", "skin_fraction",
    }  # fmt: skip
    assert set(document["timings_ms"]) <= {stage.value for stage in Stage}
    assert set(document["engines"]) == {"segmenter", "classifier"}
    assert all(set(engine) == ENGINE_KEYS for engine in document["engines"].values())
    if document["skin_tone"] is not None:
        assert set(document["skin_tone"]) == {
            "ita_deg", "binning", "group", "skin_px", "calibrated",
        }  # fmt: skip
    for region in document["regions"] or []:
        assert set(region) == REGION_KEYS
        assert all(set(contour) == {"hole", "points"} for contour in region["contours_xy"])
        assert region["colour"] is None or set(region["colour"]) == COLOUR_KEYS
        for entry in region["classes"] or []:
            assert set(entry) == {"label", "probability"}


def test_a_result_has_exactly_the_documented_keys(planted, still):
    analyzer, _, _ = planted(square_map((20, 30, 40, 60)))
    analysis = analyzer.analyze(still(skin_frame()))
    document = analysis.result.to_json_dict()
    assert_documented(document)
    (region,) = document["regions"]
    assert document["status"] == "ok" and document["reasons"] == [UNVALIDATED]
    assert region["letter"] == "A" and region["track_id"] is None and region["classified"]
    assert len(region["classes"]) == 5
    assert region["area_px"] == np.count_nonzero(analysis.mask)
    assert region["area_fraction"] == pytest.approx(region["area_px"] / (320 * 240), abs=1e-6)
    assert {"quality", "resize", "segment", "regions", "crop", "classify", "colour"} < set(
        document["timings_ms"]
    )


def test_coordinates_are_those_of_the_upright_full_frame(planted, still):
    """A portrait frame in a letterbox: cell (x, y) lies at ((x - 12) * 10, y * 10)."""
    analyzer, _, _ = planted(square_map((30, 50, 60, 70)))
    analysis = analyzer.analyze(still(skin_frame(720, 960)))
    (region,) = analysis.result.regions
    x0, y0, x1, y1 = region.box_xyxy
    assert (x0, y0, x1, y1) == pytest.approx((180, 500, 480, 700), abs=6)
    rows, columns = np.nonzero(analysis.mask)
    assert (columns.min(), rows.min()) == (x0, y0)
    assert (columns.max() + 1, rows.max() + 1) == (x1, y1)
    canvas = np.zeros((960, 720), np.uint8)
    cv2.fillPoly(canvas, [np.array(region.contours[0].points)], 255)
    assert np.array_equal(canvas, analysis.mask)


def test_letters_follow_the_area(planted, still):
    boxes = [(10, 20, 20, 30), (40, 20, 70, 50), (10, 60, 25, 75)]
    analyzer, _, _ = planted(square_map(*boxes))
    regions = analyzer.analyze(still(skin_frame())).result.regions
    assert [region.letter for region in regions] == ["A", "B", "C"]
    assert [r.area_px for r in regions] == sorted((r.area_px for r in regions), reverse=True)


def test_more_regions_than_are_classified_are_outlined_and_counted(planted, still):
    seen = []

    def by_brightness(rgb):
        seen.append(len(rgb))
        return np.full((len(rgb), 6), 1 / 6, np.float32)

    analyzer, _, classifier = planted(
        square_map(*grid_of_boxes(11)), by_brightness, segmenter__regions__max_regions=8
    )
    result = analyzer.analyze(still(skin_frame())).result
    assert len(result.regions) == 11 and result.regions_not_classified == 3
    assert [region.classified for region in result.regions] == [True] * 8 + [False] * 3
    assert all(region.contours for region in result.regions)
    for region in result.regions[8:]:
        assert region.classes is None and region.colour is None and not region.abstained
    assert seen == [4, 4]
    assert_documented(result.to_json_dict())


@pytest.mark.parametrize(
    ("engine_batch", "manifest_batch", "expected"),
    [(8, 4, [4, 1]), (2, 4, [2, 2, 1]), (1, 4, [1] * 5), (8, 8, [5])],
)
def test_crops_go_in_chunks_that_engine_and_manifest_both_take(
    planted, still, engine_batch, manifest_batch, expected
):
    analyzer, _, classifier = planted(
        square_map(*grid_of_boxes(5)),
        classifier_batch=engine_batch,
        classifier__max_batch=manifest_batch,
    )
    analyzer.analyze(still(skin_frame()))
    assert [len(batch) for batch in classifier.batches] == expected


def test_each_region_gets_the_classes_of_its_own_crop(planted, still):
    """The classifier sees three colours and must say which; answers come back in region order."""

    def by_colour(rgb):
        middle = rgb[:, SIZE // 2, SIZE // 2].astype(int)
        probabilities = np.full((len(rgb), 6), 0.02, np.float32)
        probabilities[np.arange(len(rgb)), middle.argmax(axis=1)] = 0.9
        return probabilities

    boxes = [(10, 20, 30, 40), (40, 20, 56, 36), (66, 20, 78, 32)]
    analyzer, _, _ = planted(square_map(*boxes), by_colour)
    pixels = skin_frame(960, 720)
    for (x0, y0, x1, y1), colour in zip(
        boxes, [(10, 10, 200), (200, 10, 10), (10, 200, 10)], strict=True
    ):
        pixels[(y0 - 12) * 10 : (y1 - 12) * 10, x0 * 10 : x1 * 10] = colour
    regions = analyzer.analyze(still(pixels)).result.regions
    assert [region.classes[0].label for region in regions] == ["MEL", "ACK", "BCC"]


def test_an_uncertain_region_abstains_in_words(planted, still):
    analyzer, _, _ = planted(square_map((20, 30, 40, 60)), classifier__decision__abstain_below=0.5)
    (region,) = analyzer.analyze(still(skin_frame())).result.regions
    assert region.classified and region.abstained and len(region.classes) == 5
    assert "50%" in (region.abstain_reason or "")


def test_nothing_found_is_an_answer_with_a_tone_and_an_empty_mask(planted, still):
    analyzer, _, classifier = planted(square_map())
    analysis = analyzer.analyze(still(skin_frame()))
    assert analysis.result.status == "nothing_found" and analysis.result.regions == ()
    assert analysis.mask is not None and not analysis.mask.any()
    assert analysis.result.skin_tone.ita_deg == pytest.approx(34.8, abs=0.1)
    assert classifier.batches == []
    assert_documented(analysis.result.to_json_dict())


@pytest.mark.parametrize(
    ("pixels", "word"),
    [
        (np.full((63, 400, 3), 150, np.uint8), "63"),
        (np.full((1, 1, 3), 150, np.uint8), "1x1"),
        (np.full((64, 41600, 3), 150, np.uint8), "41600x64"),
        (np.full((50000, 64, 3), 150, np.uint8), "64x50000"),
        (np.zeros((200, 300, 3), np.uint8), "black"),
        (np.full((200, 300, 3), 255, np.uint8), "white"),
    ],
)
def test_a_poor_picture_is_refused_before_any_network(planted, still, pixels, word):
    analyzer, segmenter, classifier = planted(square_map((20, 30, 40, 60)))
    analysis = analyzer.analyze(still(pixels, notes=("grey",)))
    assert analysis.result.status == "poor_quality" and analysis.mask is None
    assert analysis.result.regions is None and analysis.result.skin_tone is None
    assert word in analysis.result.reasons[0] and analysis.result.reasons[1:] == ("grey",)
    assert segmenter.batches == [] and classifier.batches == []
    assert_documented(analysis.result.to_json_dict())


@pytest.mark.parametrize("size_wh", [(2048, 64), (64, 2048)])
def test_the_longest_strip_that_is_accepted_is_analysed(planted, still, size_wh):
    analyzer, _, _ = planted(np.full((SIZE, SIZE), 0.9, np.float32))
    analysis = analyzer.analyze(still(skin_frame(*size_wh)))
    assert analysis.result.status == "ok" and analysis.mask is not None
    assert analysis.mask.shape == size_wh[::-1] and analysis.mask.all()
    assert_documented(analysis.result.to_json_dict())


@pytest.mark.parametrize("boxes", [[(20, 30, 40, 60)], []], ids=["a region", "nothing"])
def test_a_picture_without_colour_gets_no_colour_numbers(planted, still, boxes):
    """However its file was encoded, and whatever its conversion to RGB left."""
    analyzer, _, _ = planted(square_map(*boxes), classifier__validated=True)
    pixels = np.repeat(cv2.cvtColor(skin_frame(), cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    pixels[..., 2] += 2
    document = analyzer.analyze(still(pixels)).result.to_json_dict()
    assert document["reasons"] == [NO_COLOUR]
    assert [region["colour"] for region in document["regions"]] == [None] * len(boxes)
    assert all(region["classified"] for region in document["regions"])
    assert document["skin_tone"] is None and document["quality"]["skin_fraction"] is None
    assert document["quality"]["exposure"] > 0
    assert_documented(document)
    pixels[100:140, 100:140] = SKIN
    document = analyzer.analyze(still(pixels)).result.to_json_dict()
    assert document["reasons"] == [] and document["skin_tone"]["skin_px"] > 0


def test_notes_about_the_picture_travel_in_the_reasons(planted, still):
    analyzer, _, _ = planted(square_map((20, 30, 40, 60)))
    result = analyzer.analyze(still(skin_frame(), notes=("CMYK converted to sRGB",))).result
    assert result.status == "ok" and result.reasons == (UNVALIDATED, "CMYK converted to sRGB")


@pytest.mark.parametrize(
    ("validated", "boxes", "marked"),
    [(False, [(20, 30, 40, 60)], True), (True, [(20, 30, 40, 60)], False), (False, [], False)],
)
def test_classes_of_an_unvalidated_model_are_marked(planted, still, validated, boxes, marked):
    """Where there are no classes, there is nothing to mark."""
    analyzer, _, _ = planted(square_map(*boxes), classifier__validated=validated)
    assert analyzer.analyze(still(skin_frame())).result.reasons == (
        (UNVALIDATED,) if marked else ()
    )


def test_a_segmenter_without_threshold_and_region_rules_is_refused(planted, tiny_pack):
    _, segmenter, classifier = planted(square_map())
    pack = load_pack(tiny_pack)
    with pytest.raises(ModelRefusedError, match=r"output\.threshold and \[regions\].*tiny-classif"):
        Analyzer(segmenter, classifier, replace(pack, segmenter=pack.classifier))


def test_out_of_memory_is_a_failed_analysis_and_a_bug_is_not_hidden(planted, still):
    def no_memory(rgb):
        raise MemoryError

    def bug(rgb):
        raise ZeroDivisionError("a bug")

    def opencv(rgb):
        return cv2.resize(rgb[0], (0, 0))

    for failure in (no_memory, opencv):
        analysis = planted(failure)[0].analyze(still(skin_frame()))
        assert analysis.result.status == "analysis_failed" and analysis.result.regions is None
        assert analysis.result.reasons[0] and analysis.mask is None
        assert_documented(analysis.result.to_json_dict())
    with pytest.raises(ZeroDivisionError):
        planted(bug)[0].analyze(still(skin_frame()))


def test_a_gpu_that_fails_is_no_answer_about_a_picture(planted, still):
    """A process that went on would refuse every picture from then on, and call that live."""

    def gpu(rgb):
        raise CudaError("work of the GPU", got="error 700", next_step="restart")

    def numbers(rgb):
        raise ModelRefusedError("probabilities", got="NaN", next_step="another model")

    with pytest.raises(EngineFailedError, match="error 700"):
        planted(gpu)[0].analyze(still(skin_frame()))
    assert planted(numbers)[0].analyze(still(skin_frame())).result.status == "model_refused"


def test_a_mask_is_kept_while_held_and_frames_of_any_size_may_follow_each_other(planted, still):
    analyzer, _, _ = planted(square_map((20, 30, 40, 60)))
    first = analyzer.analyze(still(skin_frame()))
    again = analyzer.analyze(still(skin_frame()))
    assert first.mask is not None and again.mask is not None
    assert not np.shares_memory(first.mask, again.mask)
    assert first.probabilities is not None and len(first.probabilities) == 1
    larger = analyzer.analyze(still(skin_frame(641, 483)))
    assert larger.mask is not None and larger.mask.shape == (483, 641)
    smaller = analyzer.analyze(still(skin_frame()))
    assert smaller.result.regions[0].box_xyxy == first.result.regions[0].box_xyxy


def test_the_frame_is_only_read(planted, still):
    pixels = skin_frame()
    pixels.flags.writeable = False
    analyzer, _, _ = planted(square_map((20, 30, 40, 60)))
    assert analyzer.analyze(still(pixels)).result.status == "ok"


def test_timings_are_parts_of_the_total(planted, still):
    analyzer, _, _ = planted(square_map((20, 30, 40, 60)))
    timings = analyzer.analyze(still(skin_frame())).result.timings_ms
    parts = sum(spent for stage, spent in timings.items() if stage is not Stage.TOTAL)
    assert 0.0 < parts <= timings[Stage.TOTAL]


def test_real_sessions_find_and_classify_a_dark_lesion(tiny_pack, still):
    """The tiny pack marks what is darker than its frame; the truth is the phantom's."""
    spec = clean(random_spec(3, (640, 480), ita_deg=40, lesion_count=1, cloth=False))
    lesion = Lesion("pigmented", 1, (0.4, 0.5), 0.18, melanin=1.5, hemoglobin=0.3)
    phantom = render(replace(spec, lesions=(lesion,)))
    with open_analyzer(load_pack(tiny_pack), threads=1) as analyzer:
        analysis = analyzer.analyze(still(phantom.pixels))
    result = analysis.result
    assert result.status == "ok" and analysis.mask is not None
    found = analysis.mask > 0
    assert np.count_nonzero(found & phantom.mask) > 0.95 * np.count_nonzero(found)
    assert np.count_nonzero(found & phantom.mask) > 0.5 * np.count_nonzero(phantom.mask)
    region = result.regions[0]
    assert sum(c.probability for c in region.classes) <= 1.001 and region.classified
    assert result.skin_tone.ita_deg == pytest.approx(40, abs=5)
    assert result.engines["segmenter"].name == "tiny-segmenter"
    assert_documented(result.to_json_dict())
