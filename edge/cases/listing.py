"""Which cases there are in a folder, and whether a case is as it was written."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from edge.cases.code import is_code
from edge.cases.writer import CASE_JSON, SCHEMA


def list_cases(folder: Path) -> list[Path]:
    """Folders of all cases, by code; what is not finished is none."""
    if not folder.is_dir():
        return []
    return sorted(
        path for path in folder.iterdir() if is_code(path.name) and (path / CASE_JSON).is_file()
    )


def verify_case(folder: Path) -> list[str]:
    """What is wrong with a case, in words; empty where every file is as it was written."""
    try:
        case: dict[str, Any] = json.loads((folder / CASE_JSON).read_bytes())
    except OSError as error:
        return [f"{CASE_JSON}: {error.strerror}"]
    except ValueError:
        return [f"{CASE_JSON}: no JSON"]
    if case.get("schema") != SCHEMA or not isinstance(case.get("files"), dict):
        return [f"{CASE_JSON}: not of the schema {SCHEMA}"]
    wrong = []
    for name, said in sorted(case["files"].items()):
        wrong += _verify_file(folder / name, said)
    known = {*case["files"], CASE_JSON}
    wrong += [
        f"{p.name}: not of this case" for p in sorted(folder.iterdir()) if p.name not in known
    ]
    return wrong


def _verify_file(path: Path, said: dict[str, Any]) -> list[str]:
    try:
        data = path.read_bytes()
    except OSError as error:
        return [f"{path.name}: {error.strerror}"]
    if len(data) != said.get("bytes"):
        return [f"{path.name}: {len(data)} bytes instead of {said.get('bytes')}"]
    if hashlib.sha256(data).hexdigest() != said.get("sha256"):
        return [f"{path.name}: changed"]
    return []
