"""The Result that stands for a picture which is not live."""

from __future__ import annotations

from edge.analysis.analyzer import SOFTWARE
from edge.analysis.stamp import stamp_of
from edge.frame import Frame
from edge.result import Quality, Result


def no_live_result(frame: Frame, words: str) -> Result:
    """No regions, no classes, no colours: only why.

    Args:
        frame: The last one there is.
        words: Why it is not live.
    """
    return Result(
        software=SOFTWARE,
        status="no_live_image",
        reasons=(words,),
        frame=stamp_of(frame),
        threshold=None,
        regions=None,
        regions_not_classified=0,
        skin_tone=None,
        quality=Quality(),
        timings_ms={},
        engines={},
    )
