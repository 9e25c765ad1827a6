"""What can go wrong, as one small tree.

    DermedgeError          exit 5
      RequestError         exit 2  the request was wrong: option, config key, missing extra
      InputError           exit 3  a picture, video, camera or output folder failed
      ModelRefusedError    exit 4  a pack, ONNX file, engine or its output is not trusted
        ManifestError      exit 4  a manifest or pack file says something it may not say

Every message says what was expected, what came, and what to do next. It lives in ``models``
because the lowest layer raises it; ``edge.errors`` is the name the rest of the program uses.
"""

from __future__ import annotations


class DermedgeError(Exception):
    """Anything the program can explain to its user in one line.

    Args:
        expected: What the program needed, in words.
        got: What it found instead.
        next_step: What the user can do about it, ideally a command to type.
    """

    exit_code = 5

    def __init__(self, expected: str, *, got: str, next_step: str) -> None:
        self.expected = expected
        self.got = got
        self.next_step = next_step
        super().__init__(f"expected {expected}; got {got}; {next_step}")


class RequestError(DermedgeError):
    """The command line, the config file or the installation cannot do what was asked."""

    exit_code = 2


class InputError(DermedgeError):
    """A picture, video, camera or output folder failed."""

    exit_code = 3


class ModelRefusedError(DermedgeError):
    """A pack, ONNX file, engine, or the numbers coming out of one, cannot be trusted."""

    exit_code = 4


class ManifestError(ModelRefusedError):
    """A manifest or pack file does not say what it must."""
