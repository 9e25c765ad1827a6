"""Whatever a page or a message tells to type can be typed: its own parser takes it."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import click
import pytest

from models.command_line import LazyGroup

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("models/packs/*/*.md")])
SOURCES = sorted(
    path for top in ("edge", "convert", "models") for path in ROOT.glob(f"{top}/**/*.py")
)

UNKNOWN = "FILLED-IN"
"""Stands for what a message fills in when it is raised."""

_COMMAND = re.compile(r"(?<![\w./\[-])(dermedge(?:-convert|-models)?) ([a-z][a-z-]*)\b(.*)")
_PYTHON = re.compile(r"\bpython3? -m ((?:benchmarks|models|convert|edge)[\w.]*)(.*)")
_END_IN_CODE = re.compile(r" #|[;|]| && ")
_END_IN_PROSE = re.compile(r"[;|'`,)]|[.:](?= |$)")


def programs() -> dict[str, LazyGroup]:
    """The three programs."""
    import convert.__main__
    import edge.__main__
    import models.__main__

    return {
        "dermedge": edge.__main__.group(),
        "dermedge-convert": convert.__main__.group(),
        "dermedge-models": models.__main__.group(),
    }


def code_of(page: str) -> list[str]:
    """Lines of a page's shell blocks and indented blocks, and its code spans, each in one line."""
    fence = r"^ *```(\w*)\n(.*?)^ *```"
    blocks = [dedent(b) for kind, b in re.findall(fence, page, re.M | re.S) if kind == "sh"]
    rest = re.sub(fence, "", page, flags=re.M | re.S)
    blocks += re.findall(r"(?<=\n\n)(?: {4}.*\n)+", rest)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return lines + [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", rest)]


def commands_in(text: str, end: re.Pattern[str]) -> Iterator[str]:
    """Each ``program verb arguments`` in the lines of a text.

    A verb in the third person is prose, as in "dermedge refuses them".
    """
    for line in text.splitlines():
        rest = line
        while (found := _COMMAND.search(rest)) is not None:
            program, verb, rest = found.groups()
            if program == "dermedge" and verb.endswith("s"):
                continue
            arguments = end.split(rest, maxsplit=1)[0]
            yield f"{program} {verb} {arguments.strip()}".strip()


def messages_of(source: str) -> Iterator[str]:
    """Strings of a module, :data:`UNKNOWN` where one is filled in; of docstrings only the code."""
    tree = ast.parse(source)
    holders = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, holders) and node.body and isinstance(node.body[0], ast.Expr)
    }
    inside = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        for part in node.values
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else UNKNOWN
                for part in node.values
            )
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in inside
        ):
            is_docstring = id(node) in docstrings
            yield "\n".join(re.findall(r"``([^`]+)``", node.value)) if is_docstring else node.value


COMMANDS_OF_PAGES = sorted(
    {
        (str(path.relative_to(ROOT)), command)
        for path in PAGES
        for line in code_of(path.read_text(encoding="utf-8"))
        for command in commands_in(line, _END_IN_CODE)
    }
)
COMMANDS_OF_MESSAGES = sorted(
    {
        (str(path.relative_to(ROOT)), command)
        for path in SOURCES
        for text in messages_of(path.read_text(encoding="utf-8"))
        for command in commands_in(text, _END_IN_PROSE)
    }
)


def take(line: str) -> None:
    """Let the program's own parser read a command line, without running it.

    A name alone, as in "the folder that 'dermedge-models train' wrote", must only exist; where a
    message fills something in, the options must.

    Raises:
        click.UsageError: There is no such command or option, or an argument is wrong or missing.
    """
    program, verb, *arguments = shlex.split(line)
    group = programs()[program]
    context = click.Context(group, info_name=program)
    if verb not in group.list_commands(context):
        raise click.UsageError(f"{program} has no command {verb!r}")
    try:
        command = group.get_command(context, verb)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        pytest.skip("this command needs torch; make test-train checks it")
    assert command is not None
    if UNKNOWN in line:
        known = {option for parameter in command.params for option in parameter.opts}
        for option in arguments:
            if option.startswith("--") and option not in known:
                raise click.NoSuchOption(option)
    elif arguments and arguments != ["--help"]:
        with pytest.MonkeyPatch.context() as patch:  # the files of an example are not there
            patch.setattr(click.Path, "convert", lambda self, value, *_: Path(value))
            command.make_context(verb, arguments, parent=context)


@pytest.mark.parametrize(("page", "line"), COMMANDS_OF_PAGES)
def test_a_command_of_a_page_parses(page: str, line: str) -> None:
    take(line)


@pytest.mark.parametrize(("module", "line"), COMMANDS_OF_MESSAGES)
def test_a_command_that_a_message_names_is_there(module: str, line: str) -> None:
    take(line)


def test_what_is_found_and_what_is_refused() -> None:
    page = (
        "Type `dermedge-models phantom\n--out a.png`; dermedge refuses `b`.\n\n"
        "```sh\nX=1 dermedge run --source 'files:a b' \\\n  --seconds 3 | cat  # runs\n```\n\n"
        "    dermedge-convert prepare PACK\n"
    )
    assert [c for line in code_of(page) for c in commands_in(line, _END_IN_CODE)] == [
        "dermedge run --source 'files:a b'    --seconds 3",
        "dermedge-convert prepare PACK",
        "dermedge-models phantom --out a.png",
    ]
    source = (
        '"""Says ``dermedge doctor``, dermedge run."""\n'
        'f"see it: dermedge-convert check {a} --onnx, or dermedge run"'
    )
    assert [c for text in messages_of(source) for c in commands_in(text, _END_IN_PROSE)] == [
        "dermedge doctor",
        "dermedge-convert check FILLED-IN --onnx",
        "dermedge run",
    ]
    for wrong in (
        "dermedge-convert chek P",
        "dermedge run --sauce a",
        "dermedge-convert check FILLED-IN --onnx",
    ):
        with pytest.raises(click.UsageError):
            take(wrong)


def test_no_command_could_be_taken_for_prose() -> None:
    assert [v for v in programs()["dermedge"].list_commands(None) if v.endswith("s")] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_targets_and_extras_of_a_page_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    for line in code_of(text):
        assert set(re.findall(r"\bmake ([a-z][a-z-]*)", line)) <= targets
        for module, arguments in _PYTHON.findall(line):
            source = (ROOT / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")
            for option in re.findall(r"--[a-z-]+", _END_IN_CODE.split(arguments)[0]):
                assert f'"{option}"' in source
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for names in re.findall(r"'\.\[([a-z,]+)\]'", text):
        for name in names.split(","):
            assert re.search(rf"^{name} = \[", project, flags=re.MULTILINE)
