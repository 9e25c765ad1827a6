"""The program's errors; the tree is drawn in :mod:`models.errors`."""

from models.errors import (
    DermedgeError,
    InputError,
    ManifestError,
    ModelRefusedError,
    RequestError,
)

__all__ = [
    "DermedgeError",
    "InputError",
    "ManifestError",
    "ModelRefusedError",
    "RequestError",
]
