"""The shell of every engine: what it is, what it takes, its answers by name, and its end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from edge.engines.base import EngineIdentity
from edge.engines.prepared import PreparedInterface, cannot_run, was_closed
from edge.errors import ModelRefusedError

_Self = TypeVar("_Self", bound="EngineShell")  # typing.Self came with Python 3.11


class EngineShell(ABC):
    """An :class:`edge.engines.base.Engine` but for the library that runs the graph.

    A subclass opens the graph in its own ``__init__``, has it checked by
    :func:`edge.engines.prepared.prepared_interface`, and says in :meth:`_run` how it is run.

    Args:
        identity: What the pack says of this network.
        interface: What the graph takes and gives.
        session: What the library runs; let go of by :meth:`close`.
    """

    def __init__(
        self, identity: EngineIdentity, interface: PreparedInterface, session: Any
    ) -> None:
        self._identity = identity
        self._interface = interface
        self._session = session

    @property
    def identity(self) -> EngineIdentity:
        """Which network this is."""
        return self._identity

    @property
    def input_size_wh(self) -> tuple[int, int]:
        """Width and height of the input, in pixels."""
        return self._interface.size_wh

    @property
    def max_batch(self) -> int:
        """Largest N that one call of :meth:`infer` takes; 1 where the graph's batch is fixed."""
        return self._interface.max_batch

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run the graph.

        Args:
            inputs: ``rgb``, uint8 [N,H,W,3] with N at most :attr:`max_batch`.

        Returns:
            ``probability`` float32 [N,H,W] or ``probabilities`` float32 [N,C]; whether the array
            outlives the next call is for each engine to say.

        Raises:
            ModelRefusedError: Another input, shape or dtype; the graph failed; the engine is
                closed.
        """
        session = self._session
        if session is None:
            raise was_closed(self._identity.name)
        pixels = self._interface.pixels(inputs)
        try:
            answer = self._run(session, pixels)
        except ModelRefusedError:
            raise  # the engine's own words are better
        # A library raises what it likes; there is no common base class but Exception.
        except Exception as error:
            raise cannot_run(self._identity.name, error) from error
        return {self._interface.output_name: answer}

    @abstractmethod
    def _run(self, session: Any, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The graph's output for ``pixels``, which have been checked; any exception will do."""

    def close(self) -> None:
        """Give the session's memory back; calling it twice is harmless."""
        self._session = None

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
