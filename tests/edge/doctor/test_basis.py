"""What every run needs, as far as ``tests/edge/commands/test_doctor.py`` does not look at it."""

from __future__ import annotations

import cv2
import pytest

from edge.doctor import basis


@pytest.mark.parametrize(("said", "word"), [("NO", "no"), ("YES (1.20.3)", "yes")])
def test_an_opencv_without_gstreamer_is_a_fact_on_a_jetson_too(monkeypatch, said: str, word: str):
    monkeypatch.setattr(basis, "l4t_release", lambda: "36.4.3")
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: f"Video I/O:\n  GStreamer:   {said}\n")
    (line,) = basis._opencv()
    assert line.state == "ok" and line.found.endswith(f"GStreamer {word}") and not line.next_step
