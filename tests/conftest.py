"""What many tests share: one small pack, written once."""

from __future__ import annotations

from pathlib import Path

import pytest

from packs_for_tests import write_pack


@pytest.fixture(scope="session")
def tiny_pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a pack with arithmetic networks at 96x96; read it, do not change it."""
    return write_pack(tmp_path_factory.mktemp("packs") / "tiny")
