"""Analysis with the tracking behind it, as the camera loop runs them."""

from __future__ import annotations

import time
from dataclasses import replace

from edge.analysis.analyzer import Analysis, Analyzer
from edge.analysis_thread import Analyze
from edge.intake import Captured
from edge.result import Stage
from edge.tracking.tracker import Tracker


def followed(analyzer: Analyzer, tracker: Tracker | None) -> Analyze:
    """Analyze frames, and follow the regions of all but stills, timed like the other stages.

    Args:
        analyzer: Gives each frame's own answer.
        tracker: ``None`` leaves each frame to itself.
    """

    def analyze(captured: Captured) -> Analysis:
        analysis = analyzer.analyze(captured.frame)
        if tracker is None or captured.press is not None:
            return analysis
        began_s = time.perf_counter()
        answer = tracker.follow(captured.frame, analysis)
        spent_ms = (time.perf_counter() - began_s) * 1e3
        timings = dict(answer.result.timings_ms)
        timings[Stage.TRACK] = spent_ms
        timings[Stage.TOTAL] = timings.get(Stage.TOTAL, 0.0) + spent_ms
        return replace(answer, result=replace(answer.result, timings_ms=timings))

    return analyze
