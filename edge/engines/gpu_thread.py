"""The one thread that owns the GPU's context.

CUDA keeps a context for each thread, TensorRT works in that of its caller, and a context that is
current nowhere, or in two libraries' own ways, is the commonest failure of programs that use both.
So there is one thread; everything that touches the GPU is run there, whoever asks for it.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TimedOutError
from typing import Any, TypeVar

from edge.engines.cuda import Cuda, open_cuda
from edge.errors import ModelRefusedError

CLOSE_WITHIN_S = 10.0
"""A GPU that has not answered by then is left behind with its thread: the program must end."""

_log = logging.getLogger("dermedge.gpu")

T = TypeVar("T")


class GpuThread:
    """A thread in which the primary context of one GPU is current.

    Args:
        opener: Opens CUDA, in that thread.

    Raises:
        RequestError: No binding is installed.
        CudaError: There is no driver, no GPU, or it cannot be used.
    """

    def __init__(self, opener: Callable[[], Cuda] = open_cuda) -> None:
        self._work: queue.SimpleQueue[tuple[Future[Any], Callable[[Cuda], Any]] | None] = (
            queue.SimpleQueue()
        )
        self._closed = False
        self._hangs = False
        # Nothing may be asked for behind the end: nobody would answer.
        self._asking = threading.Lock()
        ready: Future[None] = Future()
        self._thread = threading.Thread(
            target=self._serve, args=(opener, ready), name="gpu", daemon=True
        )
        try:
            self._thread.start()
            ready.result()
        except BaseException:
            self.close()  # Ctrl-C ends the wait, not the thread
            raise

    def call(self, work: Callable[[Cuda], T]) -> T:
        """Run ``work`` in the thread and wait for it; what it raises is raised here.

        Raises:
            ModelRefusedError: The thread was closed before.
        """
        answer: Future[T] = Future()
        with self._asking:
            if self._closed:
                raise ModelRefusedError(
                    "the GPU's thread", got="one that was closed before", next_step="open it again"
                )
            self._work.put((answer, work))
        try:
            return answer.result()
        finally:
            # An error holds this frame, and the frame would hold the error.
            del answer

    def call_at_the_end(self, work: Callable[[Cuda], object]) -> None:
        """As :meth:`call` for what gives something back: waits no longer than an end may take.

        Where the thread hangs, in a call that came before, nothing is given back, and it is told.
        """
        answer: Future[object] = Future()
        with self._asking:
            if self._closed or self._hangs:
                return
            self._work.put((answer, work))
        try:
            answer.result(CLOSE_WITHIN_S)
        except TimedOutError:
            if answer.done():  # the work's own
                raise
            self._leave_behind()
        finally:
            del answer  # as above

    def close(self) -> None:
        """Release the context and end the thread; calling it twice is harmless.

        A thread that hangs in the driver is left behind.
        """
        with self._asking:
            if not self._closed:
                self._closed = True
                self._work.put(None)
        # One that is just starting, when Ctrl-C comes, finds the end in its queue.
        if self._thread.is_alive() and not self._hangs:
            self._thread.join(CLOSE_WITHIN_S)
            if self._thread.is_alive():
                self._leave_behind()

    def _leave_behind(self) -> None:
        self._hangs = True
        _log.error("the GPU has not answered for %g s: its thread is left behind", CLOSE_WITHIN_S)

    def __enter__(self) -> GpuThread:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _serve(self, opener: Callable[[], Cuda], ready: Future[None]) -> None:
        try:
            with opener() as cuda, cuda.current():
                ready.set_result(None)
                self._answer_all(cuda)
        # Both bindings raise what they like; whoever waits is told.
        except BaseException as error:
            if ready.done():
                _log.warning("the GPU's context was not released: %s", error)
            else:
                ready.set_exception(error)

    def _answer_all(self, cuda: Cuda) -> None:
        while (item := self._work.get()) is not None:
            answer, work = item
            try:
                answer.set_result(work(cuda))
            except BaseException as error:
                answer.set_exception(error)
            # Neither may keep memory of the GPU alive until the next call.
            del item, answer, work
