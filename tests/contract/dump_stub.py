"""Writes one typed stub for each TensorRT release: the names and signatures of its genuine module.

    python tests/contract/dump_stub.py           # make contract-refresh: fails on any difference

Each release is imported in a process of its own, from NVIDIA's wheel and with empty libraries
behind it (``genuine_for_tests.py``). What pybind11 does not say stays ``Any``. Whatever a factory
makes may be ``None``: the library returns a null pointer where it fails. The package
``tensorrt.plugin`` is left out: the product has no plugins.
"""

from __future__ import annotations

import ctypes
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import genuine_for_tests as genuine
from contract.signatures import Signature, overloads

FOLDER = Path(__file__).resolve().parent

_HEADER = """\
# TensorRT {release}: names and signatures of the Python module, nothing else.
# Written by dump_stub.py from any of these wheels; do not edit, type: make contract-refresh
{wheels}

# C++ overloads and overrides follow other rules than Python's.
# mypy: disable-error-code="override, overload-overlap, overload-cannot-match, misc"

import builtins
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, Final, overload

from numpy.typing import NDArray
from typing_extensions import Buffer, Never
"""

# The special methods that callers can see; what every object has is left out.
_SPECIAL = frozenset(
    f"__{name}__"
    for name in (
        "init len getitem setitem delitem contains iter bool int index enter exit "
        "lt le gt ge and or xor invert rand ror rxor"
    ).split()
)
_BUFFER_SLOT = 1  # Py_bf_getbuffer


def stub_text(module: ModuleType, release: str) -> str:
    """The whole stub of a module."""
    files = [f"# sha256 {w.sha256}  {w.file}" for w in genuine.tensorrt_wheels(release)]
    parts = [_HEADER.format(release=release, wheels="\n".join(files))]
    stub = _Stub(module)
    public = {k: v for k, v in sorted(vars(module).items()) if not k.startswith("_")}
    classes = {k: v for k, v in public.items() if inspect.isclass(v)}
    parts += ["\n".join(stub.class_lines(name, value)) for name, value in _in_order(classes)]
    rest = {k: v for k, v in public.items() if k not in classes and not inspect.ismodule(v)}
    lines = ["__version__: Final[str]"]
    for name, value in rest.items():
        lines += (
            stub.function_lines(name, value) if callable(value) else [stub.constant(name, value)]
        )
    return "\n\n".join([*parts, "\n".join(lines)]) + "\n"


def _in_order(classes: dict[str, type]) -> Iterator[tuple[str, type]]:
    """Bases before what derives from them: aliases inside classes refer back."""
    yield from sorted(classes.items(), key=lambda item: (len(item[1].__mro__), item[0]))


class _Stub:
    """Writes the parts of one module's stub."""

    def __init__(self, module: ModuleType) -> None:
        self._classes: dict[str, type] = {}
        for value in vars(module).values():
            if inspect.isclass(value):
                self._learn(value)
        self._made_only_by_factories = {
            name for name, value in self._classes.items() if _has_no_constructor(value)
        }
        self._shadowed = [n for n in ("bool", "int", "float", "str") if hasattr(module, n)]

    def _learn(self, value: type) -> None:
        self._classes[value.__qualname__] = value
        for name, inner in vars(value).items():
            if inspect.isclass(inner) and inner.__qualname__ == f"{value.__qualname__}.{name}":
                self._learn(inner)

    def class_lines(self, name: str, value: type) -> list[str]:
        """One class, or the name of another one for it."""
        if value.__qualname__.rpartition(".")[2] != name:
            return [f"{name} = {value.__qualname__}"]
        bases = [b.__qualname__ for b in value.__bases__ if b.__qualname__ in self._classes]
        lines = [f"class {name}({', '.join(bases)}):" if bases else f"class {name}:"]
        for member, raw in sorted(vars(value).items()):
            if not member.startswith("__") and not member.startswith("_pybind11"):
                lines += _indented(self._member_lines(value, member, raw))
            elif member in _SPECIAL:
                lines += _indented(self._method_lines(value, member))
        lines += _indented(self._protocol_lines(value))
        return lines if len(lines) > 1 else [f"{lines[0]} ..."]

    def _member_lines(self, owner: type, name: str, raw: Any) -> list[str]:
        if inspect.isclass(raw):
            inner = f"{owner.__qualname__}.{name}"
            is_own = raw.__qualname__ == inner
            return self.class_lines(name, raw) if is_own else [f"{name} = {raw.__qualname__}"]
        if type(raw).__name__ == "pybind11_static_property":
            return [f"{name}: ClassVar[{self._property_type(raw)}]"]
        if isinstance(raw, property):
            return self._property_lines(name, raw)
        if callable(getattr(owner, name)):
            return self._method_lines(owner, name)
        return [f"{name}: ClassVar[{type(raw).__qualname__}]"]

    def _property_type(self, raw: property) -> str:
        found = overloads(raw.fget.__doc__, self._classes) if raw.fget else []
        return self._safe(found[0].returns) if found else "Any"

    def _property_lines(self, name: str, raw: property) -> list[str]:
        kind = self._property_type(raw)
        lines = ["@property", f"def {name}(self) -> {kind}: ..."]
        if raw.fset is not None:
            (setter,) = overloads(raw.fset.__doc__, self._classes)
            taken = self._safe(setter.parameters[-1].type)
            lines += [f"@{name}.setter", f"def {name}(self, value: {taken}) -> None: ..."]
        return lines

    def _method_lines(self, owner: type, name: str) -> list[str]:
        value = getattr(owner, name)
        if name == "__init__" and _has_no_constructor(owner):
            return ["def __init__(self, *, only_factories_make_it: Never) -> None: ..."]
        static = isinstance(vars(owner)[name], staticmethod)
        return self.function_lines(name, value, of_class=True, static=static)

    def function_lines(
        self, name: str, value: Any, *, of_class: bool = False, static: bool = False
    ) -> list[str]:
        """A function or method with all its overloads."""
        if inspect.isfunction(value):  # written in Python, without annotations
            names = list(inspect.signature(value).parameters)
            own, rest = (names[:1], names[1:]) if of_class else ([], names)
            typed = ", ".join([*own, *(f"{n}: Any" for n in rest)])
            return [f"def {name}({typed}) -> Any: ..."]
        found = [self._definition(name, s) for s in self._signatures(name, value)]
        found = list(dict.fromkeys(found))
        decorators = ["@staticmethod"] * static + ["@overload"] * (len(found) > 1)
        return [line for definition in found for line in (*decorators, definition)]

    def _signatures(self, name: str, value: Any) -> list[Signature]:
        found = overloads(value.__doc__, self._classes)
        if not found:
            raise ValueError(
                f"expected a signature of {name} in its docstring, got {value.__doc__!r}"
            )
        return found

    def _definition(self, name: str, signature: Signature) -> str:
        parameters = []
        optional = True
        for parameter in reversed(signature.parameters):
            # In C++ a parameter may have a default although a later one has none.
            optional = optional and parameter.default
            text = parameter.name
            if parameter.name != "self":
                text += f": {self._safe(parameter.type)}{' = ...' if optional else ''}"
            parameters.insert(0, text)
        returns = signature.returns
        if returns in self._made_only_by_factories and not name.startswith("__"):
            returns += " | None"
        return f"def {name}({', '.join(parameters)}) -> {self._safe(returns)}: ..."

    def _protocol_lines(self, value: type) -> list[str]:
        """What the interpreter can do with the class though no method of it says so."""
        lines = []
        if _has_buffer(value):
            lines.append("def __buffer__(self, flags: int, /) -> memoryview: ...")
        if "__getitem__" in vars(value) and "__iter__" not in vars(value):
            found = self._signatures("__getitem__", value.__getitem__)
            items = [s.returns for s in found if s.parameters[-1].type == "int"]
            lines += [f"def __iter__(self) -> Iterator[{self._safe(kind)}]: ..." for kind in items]
        return lines

    def constant(self, name: str, value: Any) -> str:
        """A name of the module that is neither class nor function."""
        return f"{name}: Final[{self._safe(type(value).__qualname__)}]"

    def _safe(self, kind: str) -> str:
        """``tensorrt.bool`` is a data type, so the stub must say which bool it means."""
        names = "|".join(self._shadowed)
        return re.sub(rf"(?<![\w.])({names})\b", r"builtins.\1", kind) if names else kind


def _indented(lines: list[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def _has_no_constructor(value: type) -> bool:
    return "Initialize self" in (value.__init__.__doc__ or "")


def _has_buffer(value: type) -> bool:
    get_slot = ctypes.pythonapi.PyType_GetSlot
    get_slot.restype, get_slot.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_int]
    return bool(get_slot(value, _BUFFER_SLOT))


def _describe(release: str) -> None:
    """In a child process: import one release and print its stub."""
    sys.stdout.write(stub_text(genuine.import_tensorrt(release), release))


def refresh(folder: Path = FOLDER) -> list[str]:
    """Write all stubs anew.

    Returns:
        The releases whose stub is not as it was.
    """
    changed = []
    for release in genuine.TENSORRT_RELEASES:
        reason = genuine.why_no_tensorrt(release)
        if reason is not None:
            print(f"{release}: not compared, {reason}")
            continue
        child = [sys.executable, __file__, "--describe", release]
        text = subprocess.run(child, check=True, stdout=subprocess.PIPE, text=True).stdout
        target = folder / release / "tensorrt" / "__init__.pyi"
        before = target.read_text(encoding="utf-8") if target.is_file() else ""
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        changed += [] if before == text else [release]
        print(f"{release}: {'as before' if before == text else 'CHANGED'}")
    return changed


if __name__ == "__main__":
    if sys.argv[1:2] == ["--describe"]:
        _describe(sys.argv[2])
    else:
        sys.exit(f"stubs changed: {', '.join(found)}" if (found := refresh()) else 0)
