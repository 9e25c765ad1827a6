"""A letter stays with its lesion, and a class with its letter."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shots_for_tests import result

from benchmarks.tracking import Truth, frames
from edge.analysis.analyzer import Analysis, Analyzer
from edge.compose import open_engines
from edge.frame import Frame
from edge.result import Contour, Region
from edge.tracking.track import SWITCH_MARGIN
from edge.tracking.tracker import ASLEEP_S, GAP_S, Tracker
from models.manifest import find_pack

SIZE_WH = (640, 480)
STEP_S = 0.1
CLASSIFIER = find_pack("reference").classifier.manifest
LABELS = CLASSIFIER.output.labels


def skin(seed: int = 1) -> np.ndarray:
    """A picture with enough in it to be followed, larger than the frame."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(60, 200, (90, 120, 3), np.uint8)
    return cv2.resize(coarse, (1280, 960), interpolation=cv2.INTER_CUBIC)


SKIN = skin()


def at(x: float, y: float, picture: np.ndarray = SKIN) -> np.ndarray:
    """The frame whose corner is at (x, y) of the skin."""
    matrix = np.array([[1.0, 0.0, -x], [0.0, 1.0, -y]])
    return cv2.warpAffine(picture, matrix, SIZE_WH)


def about_the_middle(angle_deg: float, zoom: float) -> np.ndarray:
    """2x3 matrix that turns and zooms a frame."""
    return cv2.getRotationMatrix2D((SIZE_WH[0] / 2, SIZE_WH[1] / 2), angle_deg, zoom)


def square(x: float, y: float, side: int = 60) -> Region:
    x0, y0 = round(x), round(y)
    return dataclasses.replace(
        result_region(),
        box_xyxy=(x0, y0, x0 + side, y0 + side),
        contours=(
            Contour(
                (
                    (x0, y0),
                    (x0 + side - 1, y0),
                    (x0 + side - 1, y0 + side - 1),
                    (x0, y0 + side - 1),
                )
            ),
        ),
        area_px=side * side,
    )


def result_region() -> Region:
    from shots_for_tests import frame

    (region,) = result(frame(0), 1).regions or ()
    return region


class Stream:
    """Feeds a tracker with squares on the skin that are seen from a moving corner."""

    def __init__(self) -> None:
        self.tracker = Tracker(CLASSIFIER)
        self.number = 0
        self.now_s = 100.0
        self.mask = np.zeros((SIZE_WH[1], SIZE_WH[0]), np.uint8)

    def __call__(
        self,
        squares: list[tuple[float, float]],
        corner: tuple[float, float] = (300.0, 200.0),
        *,
        step_s: float = STEP_S,
        picture: np.ndarray = SKIN,
        probabilities: np.ndarray | None = None,
        source: str = "test:0",
        turn: tuple[float, float] = (0.0, 1.0),
    ) -> Analysis:
        self.number += 1
        self.now_s += step_s
        frame = Frame(
            cv2.warpAffine(at(*corner, picture), about_the_middle(*turn), SIZE_WH),
            self.number,
            source,
            round(self.now_s * 1e9),
            "monotonic",
            "synthetic",
        )
        regions = tuple(
            square(*about_the_middle(*turn) @ (x - corner[0], y - corner[1], 1.0))
            for x, y in squares
        )
        base = dataclasses.replace(
            result(frame, 0), status="ok" if regions else "nothing_found", regions=regions
        )
        self.mask = np.zeros((SIZE_WH[1], SIZE_WH[0]), np.uint8)
        for region in regions:
            x0, y0, x1, y1 = region.box_xyxy
            self.mask[max(0, y0) : max(0, y1), max(0, x0) : max(0, x1)] = 255
        if probabilities is None:
            probabilities = np.full((len(regions), len(LABELS)), 1.0 / len(LABELS), np.float32)
        return self.tracker.follow(frame, Analysis(base, self.mask, probabilities))


def letters_of(analysis: Analysis) -> list[str]:
    return [region.letter for region in analysis.result.regions or ()]


HERE = [(400.0, 300.0), (600.0, 300.0), (500.0, 500.0)]


def test_letters_begin_at_a_and_every_region_of_the_first_frame_has_one():
    analysis = Stream()(HERE)
    assert letters_of(analysis) == ["A", "B", "C"]
    assert [region.track_id for region in analysis.result.regions or ()] == [0, 1, 2]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.permutations([0, 1, 2]), min_size=1, max_size=6))
def test_the_order_of_regions_changes_no_letter(orders):
    stream = Stream()
    stream(HERE)
    for order in orders:
        analysis = stream([HERE[index] for index in order])
        assert letters_of(analysis) == ["ABC"[index] for index in order]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.floats(-70.0, 70.0), st.floats(-50.0, 50.0)), min_size=1, max_size=6))
def test_a_moved_camera_changes_no_letter(steps):
    """Up to a ninth of the width between two analyses."""
    stream = Stream()
    x, y = 300.0, 200.0
    stream(HERE, (x, y))
    for dx, dy in steps:
        x, y = min(420.0, max(180.0, x + dx)), min(290.0, max(110.0, y + dy))
        assert letters_of(stream(HERE, (x, y))) == ["A", "B", "C"]


def test_a_lesion_that_is_missed_for_a_while_keeps_its_letter():
    stream = Stream()
    stream(HERE)
    for _ in range(int(0.8 * ASLEEP_S / STEP_S)):
        assert letters_of(stream([HERE[0], HERE[2]])) == ["A", "C"]
    assert letters_of(stream(HERE)) == ["A", "B", "C"]


def test_the_letter_of_a_lesion_that_is_gone_is_not_given_to_another():
    stream = Stream()
    stream(HERE)
    for _ in range(int(1.2 * ASLEEP_S / STEP_S)):
        stream([HERE[0], HERE[2]])
    stream([HERE[0], (800.0, 450.0), HERE[2]])
    assert letters_of(stream([HERE[0], (800.0, 450.0), HERE[2]])) == ["A", "D", "C"]


def test_a_patch_that_shows_once_is_not_announced_and_not_in_the_mask():
    stream = Stream()
    stream(HERE)
    analysis = stream([*HERE, (800.0, 450.0)])
    assert letters_of(analysis) == ["A", "B", "C"]
    assert stream.mask[450 - 200 + 30, 800 - 300 + 30] == 0
    assert stream.mask[300 - 200 + 30, 400 - 300 + 30] == 255
    assert letters_of(stream(HERE)) == ["A", "B", "C"]
    for _ in range(10):
        stream(HERE)
    assert letters_of(stream([*HERE, (800.0, 450.0)])) == ["A", "B", "C"]  # once again
    assert letters_of(stream([*HERE, (800.0, 450.0)])) == ["A", "B", "C", "D"]


def test_a_new_region_that_is_alone_is_announced_at_once():
    """Nothing found would be false, though lesions out of sight are remembered."""
    stream = Stream()
    stream(HERE)
    stream([])
    alone = stream([(800.0, 450.0)])
    assert (alone.result.status, letters_of(alone)) == ("ok", ["D"])


@pytest.mark.parametrize(
    "change",
    [
        {"step_s": GAP_S + 0.1},
        {"step_s": -5.0},
        {"source": "test:1"},
    ],
)
def test_another_stream_begins_at_a(change):
    stream = Stream()
    stream(HERE)
    stream([HERE[1]])
    assert letters_of(stream([HERE[1]])) == ["B"]
    assert letters_of(stream([HERE[1]], **change)) == ["A"]


def test_other_skin_begins_at_a():
    stream, other = Stream(), skin(2)
    stream(HERE)
    stream([HERE[1]])
    elsewhere = [(450.0, 420.0), (700.0, 500.0)]
    assert letters_of(stream(elsewhere, picture=other)) == ["A", "B"]


def test_a_lesion_of_other_skin_in_the_same_place_is_another_lesion():
    """Everybody puts the lesion in the middle."""
    stream, other = Stream(), skin(2)
    for _ in range(10):
        before = stream(HERE[:1], probabilities=likely(NEV=0.9))
    after = stream(HERE[:1], picture=other, probabilities=likely(MEL=0.9))
    (one,), (another,) = before.result.regions or (), after.result.regions or ()
    assert one.track_id != another.track_id
    assert (another.letter, top(after)) == ("A", "MEL")


@pytest.mark.parametrize("frames_aside", [1, int(0.8 * ASLEEP_S / STEP_S)])
def test_after_a_torn_frame_or_a_look_aside_the_letters_come_back(frames_aside: int):
    stream, other = Stream(), skin(2)
    stream(HERE)
    stream([HERE[1], HERE[2]])
    for _ in range(frames_aside):
        assert letters_of(stream([(450.0, 420.0)], picture=other)) == ["A"]
    assert letters_of(stream([HERE[2], HERE[1]], (310.0, 195.0))) == ["C", "B"]


def test_skin_that_was_out_of_view_for_long_is_new():
    stream, other = Stream(), skin(2)
    stream(HERE)
    for _ in range(int(1.2 * ASLEEP_S / STEP_S)):
        stream([(450.0, 420.0)], picture=other)
    again = stream(HERE)
    assert min(region.track_id or 0 for region in again.result.regions or ()) > 3


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-5.0, 5.0), st.floats(0.94, 1.06)), min_size=1, max_size=6),
)
def test_a_turned_or_zoomed_view_changes_no_letter(changes):
    """Up to ten degrees and an eighth between two analyses."""
    stream = Stream()
    stream(HERE)
    for angle_deg, zoom in changes:
        seen = stream(HERE, turn=(angle_deg, zoom))
        assert letters_of(seen) == ["A", "B", "C"]


def test_without_anything_to_follow_regions_are_told_by_where_they_are():
    stream, plain = Stream(), np.full_like(SKIN, 128)
    stream(HERE, picture=plain)
    stream([HERE[1], HERE[2]], picture=plain)
    assert letters_of(stream([HERE[2], HERE[1]], picture=plain)) == ["C", "B"]


def test_a_blank_picture_in_between_makes_no_other_skin_the_same():
    stream, other, plain = Stream(), skin(2), np.full_like(SKIN, 128)
    stream(HERE)
    before = stream([HERE[1]])
    stream([], picture=plain)
    assert letters_of(stream([HERE[1]])) == ["B"]
    stream([], picture=plain)
    after = stream([HERE[1]], picture=other)
    (one,), (another,) = before.result.regions or (), after.result.regions or ()
    assert one.track_id != another.track_id and another.letter == "A"


def test_every_letter_is_given_once_in_a_frame():
    stream, rng = Stream(), np.random.default_rng(4)
    for _ in range(60):
        squares = [tuple(rng.uniform((310, 210), (850, 600))) for _ in range(rng.integers(0, 9))]
        found = letters_of(stream(squares))
        assert len(found) == len(set(found))
    assert len(stream.tracker._scene.tracks) <= 9 * ASLEEP_S / STEP_S


def test_no_answer_passes_through():
    stream = Stream()
    stream(HERE)
    frame = Frame(at(300, 200), 99, "test:0", 200_000_000_000, "monotonic", "synthetic")
    poor = dataclasses.replace(result(frame, 0), status="poor_quality", regions=None)
    analysis = Analysis(poor, None)
    assert stream.tracker.follow(frame, analysis) is analysis


# --- classes ------------------------------------------------------------------------------------


def likely(**shares: float) -> np.ndarray:
    """Probabilities of one region: the named ones, the rest even."""
    left = (1.0 - sum(shares.values())) / (len(LABELS) - len(shares))
    return np.array([[shares.get(label, left) for label in LABELS]], np.float32)


def top(analysis: Analysis) -> str:
    (region,) = analysis.result.regions or ()
    assert region.classes is not None
    return "uncertain" if region.abstained else region.classes[0].label


def test_a_single_doubtful_frame_does_not_flip_the_class():
    stream = Stream()
    for _ in range(20):
        assert top(stream(HERE[:1], probabilities=likely(NEV=0.9))) == "NEV"
    assert top(stream(HERE[:1], probabilities=likely(MEL=0.9))) == "NEV"


def test_a_class_that_lasts_is_told_after_a_time_of_doubt_and_never_flips_back_and_forth():
    stream = Stream()
    for _ in range(20):
        stream(HERE[:1], probabilities=likely(NEV=0.9))
    told = [top(stream(HERE[:1], probabilities=likely(MEL=0.9))) for _ in range(40)]
    assert told[0] == "NEV" and told[-1] == "MEL"
    changes = [a for a, b in zip(told, told[1:], strict=False) if a != b]
    assert changes in (["NEV"], ["NEV", "uncertain"])


def test_two_classes_that_take_turns_are_uncertain_at_worst():
    stream = Stream()
    for _ in range(20):
        stream(HERE[:1], probabilities=likely(NEV=0.9))
    told = set()
    for number in range(100):
        share = 0.47 + SWITCH_MARGIN / 4 * (-1) ** number
        told.add(top(stream(HERE[:1], probabilities=likely(NEV=share, MEL=0.94 - share))))
    assert "MEL" not in told


def test_probabilities_are_averaged_over_time_and_not_over_frames():
    fast, slow = Stream(), Stream()
    fast(HERE[:1], probabilities=likely(NEV=0.9))
    slow(HERE[:1], probabilities=likely(NEV=0.9))
    for _ in range(10):
        last = fast(HERE[:1], step_s=0.1, probabilities=likely(MEL=0.9))
    once = slow(HERE[:1], step_s=1.0, probabilities=likely(MEL=0.9))
    shares = [
        {c.label: c.probability for c in (a.result.regions or ())[0].classes or ()}
        for a in (last, once)
    ]
    assert shares[0]["MEL"] == pytest.approx(shares[1]["MEL"], abs=1e-3)
    assert 0.5 < shares[0]["MEL"] < 0.7


# --- the released pack on the phantom camera -----------------------------------------------------


def test_lesions_of_the_phantom_camera_keep_their_letters_and_classes():
    """As ``python -m benchmarks.tracking``, on six seconds of one stream."""
    pack = find_pack("reference")
    tracker, plain, followed = Tracker(pack.classifier.manifest), Truth(), Truth()
    with open_engines(pack) as engines:
        analyzer = Analyzer(*engines, pack)
        for frame, labels in frames(7, "calm", 6.0, 10.0):
            analysis = analyzer.analyze(frame)
            plain.look(analysis.result.regions or (), labels)
            followed.look(tracker.follow(frame, analysis).result.regions or (), labels)
    assert plain.counts["switches"] > 10
    assert followed.counts["switches"] <= plain.counts["switches"] / 5
    assert followed.counts["flips"] <= plain.counts["flips"]
    assert followed.counts["doubts"] < plain.counts["doubts"] / 2
