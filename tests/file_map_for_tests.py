"""Writes docs/files.md: every module with the first line of its docstring.

``python tests/file_map_for_tests.py`` writes it anew; tests/test_readme.py says when that is due.
"""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "files.md"
TOPS = ("models", "convert", "edge", "benchmarks")
HEAD = """# What is where

One line for each module. `make files` writes this page from the first lines of the modules; a test
says when that is due. Tests mirror the tree; what they share ends in `_for_tests.py`.
"""


def file_map() -> str:
    """The page, as it should be."""
    lines = [HEAD]
    for top in TOPS:
        for folder in sorted({path.parent for path in (ROOT / top).rglob("*.py")}):
            lines.append(f"\n## {folder.relative_to(ROOT).as_posix()}/\n")
            package = folder / "__init__.py"
            if package.exists():
                lines.append(f"{first_line(package)}\n")
            for path in sorted(folder.glob("*.py")):
                if path.name != "__init__.py":
                    lines.append(f"- `{path.name}`: {first_line(path)}")
    return "\n".join(lines) + "\n"


def first_line(path: Path) -> str:
    """First line of a module's docstring, without its full stop."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0].replace("``", "`").rstrip(".")


if __name__ == "__main__":
    PAGE.write_text(file_map(), encoding="utf-8")
