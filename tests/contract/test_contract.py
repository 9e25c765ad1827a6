"""Code that uses TensorRT is held to the genuine names and signatures of every supported release.

mypy checks the files that import ``tensorrt`` against one stub per release, each written from
NVIDIA's own module (``dump_stub.py``). A name that one release lacks must be guarded by
``hasattr``, which mypy understands; nobody keeps a list.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

import genuine_for_tests as genuine
from contract import dump_stub

ROOT = genuine.ROOT
HERE = Path(__file__).resolve().parent
RELEASES = genuine.TENSORRT_RELEASES
USERS = {"edge/engines/tensorrt.py", "convert/build.py"}
"""The files that may import tensorrt: import-linter lets no other do it."""


def files_that_import_tensorrt(root: Path) -> Iterator[Path]:
    """Files under ``edge`` and ``convert`` that import tensorrt, at the top or in a function."""
    for top in ("edge", "convert"):
        for path in sorted((root / top).rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            if any(_imports_tensorrt(node) for node in ast.walk(tree)):
                yield path


def _imports_tensorrt(node: ast.AST) -> bool:
    names = []
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.level == 0:
        names = [node.module or ""]
    return any(name.partition(".")[0] == "tensorrt" for name in names)


def findings(release: str, files: list[Path]) -> str:
    """What mypy says of files, seen against one release; empty where it is content."""
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-error-summary", *map(str, files)],
        cwd=ROOT,
        # Searched before the mypy_path of pyproject.toml.
        env={**os.environ, "MYPYPATH": str(HERE / release)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


@pytest.mark.parametrize("release", RELEASES)
def test_code_holds_to_release(release: str) -> None:
    files = list(files_that_import_tensorrt(ROOT))
    assert {str(path.relative_to(ROOT)) for path in files} == USERS
    assert findings(release, files) == ""


def test_imports_are_found_wherever_they_stand(tmp_path: Path) -> None:
    (tmp_path / "edge" / "engines").mkdir(parents=True)
    (tmp_path / "convert").mkdir()
    sources = {
        "edge/engines/tensorrt.py": "def f():\n    import tensorrt as trt\n",
        "edge/engines/other.py": "from edge.engines.tensorrt import f\nfrom . import tensorrt\n",
        "convert/build.py": "from tensorrt import Builder\n",
        "convert/plugin.py": "import tensorrt.plugin\n",
        "convert/prepare.py": '"""import tensorrt"""\n',
    }
    for name, text in sources.items():
        (tmp_path / name).write_text(text)
    found = [str(p.relative_to(tmp_path)) for p in files_that_import_tensorrt(tmp_path)]
    assert found == ["edge/engines/tensorrt.py", "convert/build.py", "convert/plugin.py"]


# --- the method works -----------------------------------------------------------------------------

UNGUARDED = {
    "flag": (
        "def f(config: trt.IBuilderConfig) -> None:\n    config.set_flag(trt.BuilderFlag.FP16)\n"
    ),
    "property": "def f(config: trt.IBuilderConfig) -> None:\n    config.max_num_tactics = 3\n",
    "class": "def f() -> object:\n    return trt.IRuntimeConfig\n",
    "method": "def f(tensor: trt.ITensor) -> None:\n    tensor.set_dynamic_range(-1.0, 1.0)\n",
}
GUARDED = {
    "flag": (
        "def f(config: trt.IBuilderConfig) -> None:\n"
        '    if hasattr(trt.BuilderFlag, "FP16"):\n'
        "        config.set_flag(trt.BuilderFlag.FP16)\n"
    ),
    "property": (
        "def f(config: trt.IBuilderConfig) -> None:\n"
        '    if hasattr(config, "max_num_tactics"):\n'
        "        config.max_num_tactics = 3\n"
    ),
    "class": (
        "def f() -> object:\n"
        '    return trt.IRuntimeConfig if hasattr(trt, "IRuntimeConfig") else None\n'
    ),
    "method": (
        "def f(tensor: trt.ITensor) -> None:\n"
        '    if hasattr(tensor, "set_dynamic_range"):\n'
        "        tensor.set_dynamic_range(-1.0, 1.0)\n"
    ),
    "in a class": (
        "class Flags:\n"
        '    if hasattr(trt.BuilderFlag, "FP16"):\n'
        "        half = trt.BuilderFlag.FP16\n"
        'if hasattr(trt, "IProgressMonitor"):\n'
        "    class Monitor(trt.IProgressMonitor):\n"
        "        def step_complete(self, phase_name: str, step: int) -> bool:\n"
        "            return True\n"
    ),
}
WRONG = {
    "no such argument": "context.execute_async_v3(stream=1)",
    "one argument too few": 'context.set_tensor_address("rgb")',
    "one argument too many": "context.execute_async_v3(1, 2)",
    "wrong type": "context.execute_async_v3(1.5)",
    "no such method": "context.execute_async_v2([1], 2)",
    "read-only property": "engine.num_layers = 3",
    "None is not looked for": 'trt.Runtime(trt.Logger()).deserialize_cuda_engine(b"").num_layers',
    "only factories make it": "trt.IBuilderConfig()",
}


def snippet(folder: Path, text: str) -> list[Path]:
    path = folder / "snippet.py"
    path.write_text(f"from __future__ import annotations\nimport tensorrt as trt\n{text}\n")
    return [path]


@pytest.mark.parametrize(
    ("kind", "has", "lacks"),
    [
        ("flag", "10.3.0", "11.4.0.106"),
        ("property", "10.7.0", "10.3.0"),
        ("class", "11.4.0.106", "10.3.0"),
        ("method", "10.16.1.11", "11.4.0.106"),
    ],
)
def test_a_name_that_one_release_lacks_fails_unless_guarded(
    kind: str, has: str, lacks: str, tmp_path: Path
) -> None:
    files = snippet(tmp_path, UNGUARDED[kind])
    assert findings(has, files) == ""
    assert "[attr-defined]" in findings(lacks, files)
    files = snippet(tmp_path, GUARDED[kind])
    assert findings(has, files) == findings(lacks, files) == ""


@pytest.mark.parametrize("release", ["10.3.0", "11.4.0.106"])
def test_guards_in_a_class_and_around_one(release: str, tmp_path: Path) -> None:
    assert findings(release, snippet(tmp_path, GUARDED["in a class"])) == ""


@pytest.mark.parametrize("release", RELEASES)
def test_wrong_uses_are_all_found(release: str, tmp_path: Path) -> None:
    lines = [f"    {line}  # {what}" for what, line in WRONG.items()]
    head = "def f(context: trt.IExecutionContext, engine: trt.ICudaEngine) -> None:\n"
    first = head.count("\n") + 3
    said = findings(release, snippet(tmp_path, head + "\n".join(lines)))
    lines_named = {int(line.split(":")[1]) for line in said.splitlines() if ": error:" in line}
    assert lines_named == set(range(first, first + len(WRONG)))


# --- the stubs are true ---------------------------------------------------------------------------


@pytest.mark.parametrize("release", RELEASES)
def test_the_stub_names_the_wheels_that_it_was_written_from(release: str) -> None:
    text = (HERE / release / "tensorrt" / "__init__.pyi").read_text(encoding="utf-8")
    named = [line.split()[2:] for line in text.splitlines() if line.startswith("# sha256 ")]
    assert named == [[w.sha256, w.file] for w in genuine.tensorrt_wheels(release)]


def test_refresh_finds_a_stub_that_somebody_edited(tmp_path: Path) -> None:
    here = [release for release in RELEASES if genuine.why_no_tensorrt(release) is None]
    if not here:
        pytest.skip(str(genuine.why_no_tensorrt(RELEASES[-1])))
    for release in here:
        stub = tmp_path / release / "tensorrt" / "__init__.pyi"
        stub.parent.mkdir(parents=True)
        text = (HERE / release / "tensorrt" / "__init__.pyi").read_text(encoding="utf-8")
        if release == here[-1]:
            text = text.replace("stream_handle: int", "stream: int")
        stub.write_text(text, encoding="utf-8")
    assert dump_stub.refresh(tmp_path) == here[-1:]
    assert dump_stub.refresh(tmp_path) == []


@pytest.mark.parametrize("release", RELEASES)
def test_what_the_stub_says_and_no_docstring(release: str) -> None:
    """The conversions, buffers and constructors that ``dump_stub`` writes without being told."""
    reason = genuine.why_no_tensorrt(release)
    if reason is not None:
        pytest.skip(reason)
    code = f"""
        import genuine_for_tests
        trt = genuine_for_tests.import_tensorrt({release!r})
        described = trt.PluginTensorDesc()
        for shape in ((1, 2, 3), [1, 2, 3], trt.Dims((1, 2, 3))):
            described.dims = shape
            assert tuple(described.dims) == (1, 2, 3), shape
        assert 1 << int(trt.BuilderFlag.TF32) > 0
        try:
            trt.IBuilderConfig()
        except TypeError as error:
            assert "No constructor defined" in str(error), error
        else:
            raise AssertionError("IBuilderConfig has a constructor")
    """
    child = [sys.executable, "-c", dedent(code)]
    done = subprocess.run(
        child, cwd=HERE.parent, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
