"""Run with the stand-ins: prints how the stand-in of tensorrt differs from the genuine module.

One JSON list of sentences, for ``test_likeness.py``; one release per process.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import tensorrt
from contract.signatures import overloads


def differences() -> Iterator[str]:
    """One sentence each."""
    genuine = tensorrt.genuine
    here = {n for n in vars(tensorrt) if not n.startswith("_")}
    there = {n for n in vars(genuine) if not n.startswith("_")}
    parts = {n for n in here - there if inspect.ismodule(getattr(tensorrt, n))}
    for name in sorted((here ^ there) - parts - {"REPLACED"}):
        yield f"tensorrt.{name} is in one of them only"
    for standin in tensorrt.REPLACED:
        yield from of_class(standin, getattr(genuine, standin.__name__))


def of_class(standin: type, original: type) -> Iterator[str]:
    """Names, kinds, parameters and who may be made by callers."""
    here = {n for n in vars(standin) if not n.startswith("_")}
    there = {n for n in dir(original) if not n.startswith("_")}
    for name in sorted(here ^ there):
        yield f"{standin.__name__}.{name} is in one of them only"
    for name in sorted(here & there):
        mine, theirs = vars(standin)[name], inspect.getattr_static(original, name)
        if isinstance(mine, property) != isinstance(theirs, property):
            yield f"{standin.__name__}.{name} is a property in one of them only"
        elif isinstance(mine, property):
            if (mine.fset is None) != (theirs.fset is None):
                yield f"{standin.__name__}.{name} can be set in one of them only"
        elif mine.__module__.rpartition(".")[2] != "likeness":
            yield from of_function(standin, name, mine, getattr(original, name))
    makes = "Initialize self" not in (original.__init__.__doc__ or "")
    if makes:
        yield from of_function(standin, "__init__", standin.__init__, original.__init__)
    else:
        try:
            standin()
        except TypeError as error:
            if "No constructor defined" not in str(error):
                yield f"{standin.__name__}() says {error}"
        else:
            yield f"{standin.__name__} can be made by anybody"


def of_function(standin: type, name: str, mine: Any, theirs: Any) -> Iterator[str]:
    """The stand-in has the parameters of one of the genuine overloads."""
    taken = [
        (p.name, p.default is not inspect.Parameter.empty)
        for p in inspect.signature(mine).parameters.values()
    ]
    offered = [
        [(p.name, p.default) for p in signature.parameters]
        for signature in overloads(theirs.__doc__, ())
    ]
    if taken not in offered:
        yield f"{standin.__name__}.{name} takes {taken}, the genuine one {offered}"


if __name__ == "__main__":
    print(json.dumps(list(differences())))
