"""The README says only what is true: its paths exist, its tree is whole, its commands parse."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from textwrap import dedent
from typing import Any

import click
import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*/*/*.md")])


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


def commands() -> list[str]:
    lines = "".join(fenced_blocks("sh")).replace("\\\n", " ").splitlines()
    return [line.split(" #")[0].strip() for line in lines if line.startswith("dermedge")]


def groups() -> dict[str, Any]:
    """The three programs."""
    import convert.__main__
    import edge.__main__
    import models.__main__

    return {
        "dermedge": edge.__main__.group(),
        "dermedge-convert": convert.__main__.group(),
        "dermedge-models": models.__main__.group(),
    }


def test_every_path_of_the_tree_exists() -> None:
    assert [path for path in tree_paths() if not (ROOT / path).exists()] == []


def test_every_module_has_its_line_in_the_tree() -> None:
    listed = set(tree_paths())
    modules = {
        str(path.relative_to(ROOT))
        for top in ("edge", "convert", "models", "benchmarks")
        for path in (ROOT / top).rglob("*.py")
        if path.name != "__init__.py"
    }
    assert sorted(modules - listed) == []


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


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    shell = "".join(fenced_blocks("sh")) + "".join(re.findall(r"`[^`\n]+`", README))
    asked = set(re.findall(r"\bmake ([a-z-]+)", shell))
    assert asked
    assert asked <= targets


def test_every_command_of_the_readme_is_checked() -> None:
    verbs = "|".join(verb for group in groups().values() for verb in group._targets)
    line = rf"^ *(dermedge(?:-convert|-models)? (?:{verbs})\b.*?)(?: +#.*)?$"
    written = re.findall(line, README, flags=re.MULTILINE)
    assert len(written) >= 7
    assert sorted(written) == sorted(commands())


@pytest.mark.parametrize("line", commands())
def test_command_parses(line: str) -> None:
    """Each command line is taken by its own parser, without being run."""
    program, *arguments = shlex.split(line)
    group = groups()[program]
    if arguments[:1] in (["--help"], ["--version"]):
        return
    context = click.Context(group, info_name=program)
    try:
        command = group.get_command(context, arguments[0])
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        pytest.skip("this command needs torch; make test-train checks it")
    assert command is not None, f"{program} has no command {arguments[0]!r}"
    command.make_context(arguments[0], arguments[1:], parent=context)
