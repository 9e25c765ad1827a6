"""``dermedge-models phantom`` as its users meet it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.__main__ import main


def phantom(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """The exit code of the real command."""
    monkeypatch.setattr(sys, "argv", ["dermedge-models", "phantom", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_picture_and_mask(monkeypatch, tmp_path: Path) -> None:
    out, mask = tmp_path / "sub" / "a.png", tmp_path / "b.PNG"

    code = phantom(monkeypatch, "--out", out, "--mask", mask, "--size", "96x64", "--lesions", 1)

    assert code == 0
    with Image.open(out) as picture, Image.open(mask) as truth:
        assert picture.size == truth.size == (96, 64)
        assert set(np.unique(np.asarray(truth))) == {0, 255}


@pytest.mark.parametrize(
    ("out", "mask"), [("a.jpg", None), ("a", None), ("", None), ("a.png", "m.jpg")]
)
def test_only_png(monkeypatch, tmp_path: Path, capfd, out: str, mask: str | None) -> None:
    """PNG bytes in a file that is called JPEG would be refused later, or believed lossy."""
    monkeypatch.chdir(tmp_path)

    code = phantom(monkeypatch, "--out", out, *(() if mask is None else ("--mask", mask)))

    said = capfd.readouterr()
    assert code == 2
    assert said.err.startswith("error: expected a path that ends in .png; got '")
    assert said.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
