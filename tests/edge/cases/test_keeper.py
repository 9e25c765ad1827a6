"""A folder of cases that cannot be written: told before the press, and tried again."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from edge import away as away_module
from edge.cases.keeper import CaseKeeper
from edge.cases.writer import CaseWriter
from edge.errors import InputError


class Writer(CaseWriter):
    """Counts its openings; a case takes no camera here."""

    opened = 0

    def open(self) -> None:
        self.opened += 1
        super().open()

    def keep(self, frozen: Any, press: Any) -> str:
        (self._folder / "K7M2").mkdir()
        return "K7M2"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(away_module, "RETRY_S", 0.02)
    (tmp_path / "cases").write_text("in the way")
    return tmp_path / "cases"


def test_it_may_be_refused_at_the_start(folder: Path):
    with pytest.raises(InputError, match="to write .*cases"):
        CaseKeeper(Writer(folder), folder).open(may_wait=False)


def test_it_is_told_and_tried_again(folder: Path):
    writer = Writer(folder)
    keeper = CaseKeeper(writer, folder)
    keeper.open(may_wait=True)
    (notice,) = keeper.notices()
    assert notice.text.startswith(f"NOT WRITTEN: cases {folder}: ") and notice.level == "alarm"
    with pytest.raises(InputError):
        keeper.keep(None, None)  # type: ignore[arg-type]
    assert keeper.away() == [notice]
    folder.unlink()
    end_s = time.monotonic() + 10
    while keeper.notices() and time.monotonic() < end_s:
        time.sleep(0.01)
    assert keeper.notices() == keeper.away() == []
    opened = writer.opened
    assert keeper.keep(None, None) == "K7M2"  # type: ignore[arg-type]
    # Opening again would remove what another thread is just saving.
    assert writer.opened == opened


def test_a_press_opens_it_before_its_time(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(away_module, "RETRY_S", 600.0)
    keeper = CaseKeeper(Writer(folder), folder)
    keeper.open(may_wait=True)
    folder.unlink()
    assert keeper.keep(None, None) == "K7M2"  # type: ignore[arg-type]
    assert keeper.notices() == []
