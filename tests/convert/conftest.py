"""What the tests of builds share: the stand-in of TensorRT for the children of this process."""

from __future__ import annotations

import sys

import pytest

from standin_for_tests import Standin


@pytest.fixture
def compiler(standin_here: Standin, monkeypatch: pytest.MonkeyPatch) -> Standin:
    """``convert.build`` runs on the stand-ins as a child of this process."""
    monkeypatch.setenv("LD_LIBRARY_PATH", str(standin_here.folder))
    # They hold the TensorRT of an earlier test.
    for name in ("convert.build", "edge.engines.tensorrt"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return standin_here
