"""The field engineer's page has every warning and error that the program can log."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
LEVELS = {"warning", "error", "exception"}


def logged() -> Iterator[tuple[str, str]]:
    """File and the longest fixed part of the text of each; those that are all variable are none."""
    for path in sorted([*ROOT.glob("edge/**/*.py"), *ROOT.glob("convert/**/*.py")]):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            on = node.func.value
            if node.func.attr not in LEVELS or not (isinstance(on, ast.Name) and on.id == "_log"):
                continue
            text = node.args[0]
            assert isinstance(text, ast.Constant), f"{path.name}: a text that cannot be looked up"
            parts = re.split(r"%[-.\d]*[sdgrf%]", str(text.value))
            fixed = max((part.strip(" :;,()") for part in parts), key=len)
            if fixed:
                yield path.name, fixed.partition("; on Debian")[0]


def test_every_warning_and_error_is_on_the_page():
    page = (ROOT / "docs/field.md").read_text(encoding="utf-8")
    texts = list(logged())
    assert len(texts) > 35
    missing = [
        (name, text)
        for name, text in texts
        if text.partition("; ")[0].partition(": ")[0] not in page
    ]
    assert not missing, missing
