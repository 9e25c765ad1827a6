"""Libraries are asked in a process of their own, and only their answer counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.doctor import question
from edge.doctor.question import Answer, ask
from edge.system_packages import how_to_install

GST = """
import os, sys

class Gst:
    @staticmethod
    def init(_):
        print('{"found": "what a library prints"}')
        sys.stderr.write("a plug-in warns\\n")

    class ElementFactory:
        @staticmethod
        def find(name):
            return name if name in os.environ["GST_HAS"].split() else None
"""


@pytest.fixture
def gst(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    (tmp_path / "gi").mkdir()
    (tmp_path / "gi" / "__init__.py").write_text("def require_version(*_): pass\n")
    (tmp_path / "gi" / "repository.py").write_text(GST)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return monkeypatch


def test_elements_that_are_there(gst: pytest.MonkeyPatch):
    gst.setenv("GST_HAS", "one two")
    assert ask("gstreamer", "one", "a", "two", "b") == Answer("one, two")


def test_an_element_that_is_missing_is_named_with_its_package(gst: pytest.MonkeyPatch):
    gst.setenv("GST_HAS", "one")
    assert ask("gstreamer", "one", "a", "two", "b") == Answer(
        None,
        "two: none of that name",
        how_to_install("python3-gi gir1.2-gstreamer-1.0 gir1.2-gst-plugins-base-1.0 b"),
    )


def test_without_gi_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "gi.py").write_text("raise ImportError('no gi for this Python')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    answer = ask("gstreamer", "one", "a")
    assert answer.found is None and answer.got == "one: no gi for this Python"


def test_one_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "picamera2.py").write_text("import time; time.sleep(60)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(question, "WITHIN_S", 0.5)
    assert ask("picamera2", "") == Answer(None, "no answer within 0.5 s")


def test_what_a_library_does_at_its_end_is_not_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "picamera2.py").write_text(
        "import atexit, os\n"
        "atexit.register(lambda: os.kill(os.getpid(), 9))\n"
        "class Picamera2:\n"
        "    @staticmethod\n"
        "    def global_camera_info():\n"
        "        os.write(1, b'noise')\n"
        "        return [{'Id': '/base/x', 'Model': 'imx708'}]\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert ask("picamera2", "imx") == Answer("/base/x")
