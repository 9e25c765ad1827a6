"""Prompts for the operator while the picture is bad: what is wrong, and what to do about it."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from edge.analysis.light import linear_of
from edge.frame import Frame
from edge.guards.measures import Detail, Light, detail_of, light_of, movement
from edge.result import Result

PromptKind = Literal[
    "too_dark", "too_bright", "not_skin", "glare", "hold_still", "focus", "come_closer"
]

PROMPT_WORDS: Mapping[PromptKind, str] = {
    "too_dark": "Too dark: more light",
    "too_bright": "Too bright: less light",
    "not_skin": "No skin seen: aim at skin, check the light",
    "glare": "Glare: tilt the camera or the light",
    "hold_still": "Blurred: hold still",
    "focus": "Blurred: focus",
    "come_closer": "Too small: come closer",
}
"""In order of importance. The figures below are measured by ``python -m benchmarks.quality``."""

SHOWN_AT_MOST = 2

BRIGHT_END_MIN = (linear_of(40.0), linear_of(48.0))
"""Too dark: nine in ten pixels stay below level 40 of 255 in every channel; not so any more from 48
on. The darkest phantoms, ITA -60 degrees, reach level 56; light skin at a 32nd of its light is
below. Dark skin in good light and light skin in bad light differ by no other sign."""

BURNT_MAX = (0.25, 0.15)
"""Too bright: more than this share of the skin's pixels is burnt out in a channel."""

SKIN_MIN = (0.10, 0.15)
"""Not skin: a smaller share of the frame has the colour of skin or of a lesion."""

GLARE_MAX = (0.005, 0.003)
"""Glare: highlights that do not reach the border cover more than this share of the frame."""

CRISPNESS_MIN = 0.45
CRISPNESS_ENOUGH = (0.56, 0.70)
CRISPNESS_OF_BEST = (0.6, 0.75)
"""Blurred: crispness below 0.6 of the best of the last 20 s, but below 0.45 in any case and above
0.56 in none: crispness has no limit of its own for every skin, and pictures of one view compare.
The second values hold while the view is seen to move fast enough for a smear: across it edges stay
crisp."""

CRISPNESS_LEFT = 1.05
"""Blur is over at this many times its limit."""

STRUCTURE_OF_BEST = 0.2
"""Blurred too: edges have this share of the contrast that they had at best in the last 20 s."""

SMEAR_MAX = 0.01
"""Hold still, and not focus: during an exposure the view moves by more of the short side."""

EXPOSURE_US = 33_000
"""Taken where the camera does not say how long it exposes: the longest at 30 per second."""

REGION_PX_MIN = (32, 40)
"""Too small: the longest side of the largest region's box, in pixels."""

UP_AFTER_S, DOWN_AFTER_S, SHOWN_AT_LEAST_S = 0.6, 1.0, 2.0
"""A prompt comes up when its cause has lasted, and goes when it has been away, for so long."""

FORGET_AFTER_S = 5.0
"""Without a picture for so long nothing of before is compared."""

BEST_OF_S = 20


@dataclass(frozen=True)
class Prompt:
    """One line for the operator."""

    kind: PromptKind

    @property
    def words(self) -> str:
        """What is wrong and what to do."""
        return PROMPT_WORDS[self.kind]


class QualityGuard:
    """Judges the pictures of a stream and says what the operator should do.

    A prompt hides nothing: results stay, and what makes a picture ``poor_quality`` is the
    analyzer's. At most two are shown, the most important first; where it is too dark or too bright
    for the others to be told, they are not asked.

    Used by one thread, that of the analysis, once for each analyzed frame.
    """

    def __init__(self) -> None:
        self._lasting = {kind: _Lasting() for kind in PROMPT_WORDS}
        self._blur = _Blur()
        self._newest_ns: int | None = None
        self._prompts: tuple[Prompt, ...] = ()

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        """What is shown now; may be read from any thread."""
        return self._prompts

    def observe(self, frame: Frame, result: Result, now_ns: int) -> tuple[Prompt, ...]:
        """Judge an analyzed frame.

        Args:
            frame: It; its pixels are read during the call only.
            result: Its Result: the quality's skin fraction and the regions' sizes are read.
            now_ns: Monotonic.

        Returns:
            What to show, most important first.
        """
        if self._newest_ns is None or now_ns - self._newest_ns > FORGET_AFTER_S * 1e9:
            self._lasting = {kind: _Lasting() for kind in PROMPT_WORDS}
            self._blur = _Blur()
        self._newest_ns = now_ns
        light = light_of(frame.pixels)
        blur = self._blur.kind_of(frame, detail_of(frame.pixels), now_ns)
        bad = self._light_causes(light) | self._result_causes(result)
        if blur is not None:
            bad.add(blur)
        if "too_dark" in bad:
            bad &= {"too_dark"}
        elif "too_bright" in bad:
            bad &= {"too_bright", "glare"}
        elif "not_skin" in bad:
            bad -= {"come_closer", "glare"}
        for kind, lasting in self._lasting.items():
            lasting.note(kind in bad, now_ns)
        shown = [Prompt(kind) for kind, lasting in self._lasting.items() if lasting.is_up]
        if self._lasting["hold_still"].is_up and self._lasting["focus"].is_up:
            other: PromptKind = "focus" if blur == "hold_still" else "hold_still"
            shown.remove(Prompt(other))
        self._prompts = tuple(shown[:SHOWN_AT_MOST])
        return self._prompts

    def _light_causes(self, light: Light) -> set[PromptKind]:
        causes: set[PromptKind] = set()
        if light.bright_end < BRIGHT_END_MIN[self._lasting["too_dark"].was_bad]:
            causes.add("too_dark")
        if light.burnt_share > BURNT_MAX[self._lasting["too_bright"].was_bad]:
            causes.add("too_bright")
        if light.glare_share > GLARE_MAX[self._lasting["glare"].was_bad]:
            causes.add("glare")
        return causes

    def _result_causes(self, result: Result) -> set[PromptKind]:
        causes: set[PromptKind] = set()
        skin = result.quality.skin_fraction
        if skin is not None and skin < SKIN_MIN[self._lasting["not_skin"].was_bad]:
            causes.add("not_skin")
        sides_px = [max(x1 - x0, y1 - y0) for x0, y0, x1, y1 in _boxes(result)]
        if sides_px and max(sides_px) < REGION_PX_MIN[self._lasting["come_closer"].was_bad]:
            causes.add("come_closer")
        return causes


def _boxes(result: Result) -> list[tuple[int, int, int, int]]:
    return [region.box_xyxy for region in result.regions or ()]


class _Lasting:
    """Brings a prompt up once its cause lasts, and down once that is gone for a while."""

    def __init__(self) -> None:
        self.is_up = False
        self.was_bad = False
        self._since_ns = 0
        self._up_ns = 0

    def note(self, bad: bool, now_ns: int) -> None:
        if bad != self.was_bad:
            self.was_bad, self._since_ns = bad, now_ns
            return  # one picture is not yet a while
        lasted_s = (now_ns - self._since_ns) / 1e9
        if bad and not self.is_up and lasted_s >= UP_AFTER_S:
            self.is_up, self._up_ns = True, now_ns
        shown_s = (now_ns - self._up_ns) / 1e9
        if not bad and lasted_s >= DOWN_AFTER_S and shown_s >= SHOWN_AT_LEAST_S:
            self.is_up = False


class _Blur:
    """Is the picture blurred, and does the hand or the focus do it?"""

    def __init__(self) -> None:
        # (second, best crispness, best structure) of the last 20 seconds that had a picture.
        self._best: deque[tuple[int, float, float]] = deque(maxlen=BEST_OF_S)
        self._before: Detail | None = None
        self._before_ns = 0
        self._was_blurred = False

    def kind_of(self, frame: Frame, detail: Detail, now_ns: int) -> PromptKind | None:
        """The prompt that this picture asks for, if it is blurred."""
        taken_ns = frame.captured_ns if frame.captured_ns is not None else now_ns
        before, spent_s = self._before, (taken_ns - self._before_ns) / 1e9
        self._before, self._before_ns = detail, taken_ns
        if_still, if_moving = self._is_blurred(detail, now_ns)
        self._was_blurred = if_still
        if not if_moving:
            return None
        if before is None or spent_s <= 0.0:
            return "focus" if if_still else None
        moved = movement(before, detail)
        # What is no more the same view has moved, too.
        if moved is None or moved / spent_s * _exposure_us(frame) / 1e6 > SMEAR_MAX:
            self._was_blurred = True
            return "hold_still"
        return "focus" if if_still else None

    def _is_blurred(self, detail: Detail, now_ns: int) -> tuple[bool, bool]:
        """Whether it counts as blurred if the view stands still, and if it moves."""
        second = now_ns // 1_000_000_000
        while self._best and self._best[0][0] <= second - BEST_OF_S:
            self._best.popleft()
        best_crispness = max((crispness for _, crispness, _ in self._best), default=0.0)
        best_structure = max((structure for _, _, structure in self._best), default=0.0)
        self._keep(second, detail)
        slack = CRISPNESS_LEFT if self._was_blurred else 1.0
        if detail.structure < STRUCTURE_OF_BEST * slack * best_structure:
            return True, True
        if detail.crispness is None:
            return False, False
        limits = (
            min(enough, max(CRISPNESS_MIN, share * best_crispness))
            for enough, share in zip(CRISPNESS_ENOUGH, CRISPNESS_OF_BEST, strict=True)
        )
        if_still, if_moving = (detail.crispness < slack * limit for limit in limits)
        return if_still, if_moving

    def _keep(self, second: int, detail: Detail) -> None:
        crispness = detail.crispness or 0.0
        structure = detail.structure if detail.crispness is not None else 0.0
        if self._best and self._best[-1][0] == second:
            _, other_crispness, other_structure = self._best.pop()
            crispness, structure = max(crispness, other_crispness), max(structure, other_structure)
        self._best.append((second, crispness, structure))


def _exposure_us(frame: Frame) -> float:
    stated = (frame.settings or {}).get("exposure_us")
    return float(stated) if isinstance(stated, (int, float)) and stated > 0 else EXPOSURE_US
