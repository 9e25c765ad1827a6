"""The README says only what is true: paths exist, files are mapped, formats are read."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent

import pytest

from file_map_for_tests import PAGE, file_map

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = sorted(
    [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *ROOT.glob("models/packs/*/*.md")]
)


def fenced_blocks(language: str) -> list[str]:
    fence = rf"^ *```{language}\n(.*?)^ *```"
    return [dedent(b) for b in re.findall(fence, README, flags=re.MULTILINE | re.DOTALL)]


def tree_paths() -> list[str]:
    """Paths of the tree: a folder is a line of its own, ``folder/``, files stand under it."""
    (tree,) = (block for block in fenced_blocks("text") if "pyproject.toml" in block)
    paths, folder = [], ""
    for line in tree.splitlines():
        if not line.strip():
            continue
        name = line.split()[0]
        if line.startswith(" "):
            paths.append(folder + name)
        else:
            folder = name if name.endswith("/") else ""
            paths.append(name)
    return paths


def test_every_path_of_the_tree_exists() -> None:
    assert [path for path in tree_paths() if not (ROOT / path).exists()] == []


def test_the_map_of_files_is_that_of_the_tree() -> None:
    written = PAGE.read_text(encoding="utf-8")
    assert written == file_map(), "write docs/files.md anew: make files"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", document.read_text(encoding="utf-8"))
    local = [link for link in links if not link.startswith(("http:", "https:"))]
    assert [link for link in local if not (document.parent / link).exists()] == []


def test_the_formats_named_are_those_that_are_read() -> None:
    from edge.sources import containers, pictures

    said = re.search(r"takes pictures \((.*?)\) and videos \((.*?)\)", README, re.DOTALL)
    assert said is not None
    named = [set(re.split(r",\s+", words)) for words in said.groups()]
    assert {f".{name.lower()}" for name in named[1]} == containers.SUFFIXES
    assert named[0] == set(re.split(", | or ", pictures.FORMS))
