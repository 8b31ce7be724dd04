"""The engine of one machine: serial, threads, or processes.

Knows order and back-pressure; what a process worker is, and what becomes of it when it dies, is
`processes.py`'s.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any, Literal

from pydantic import Field

from custodes.config import Config
from custodes.engine.attempt import Failure, apply, attempt, checked
from custodes.engine.base import BatchFunction
from custodes.engine.batches import Batch, batches
from custodes.engine.processes import Limits, ProcessPool

__all__ = ["LocalConfig", "LocalEngine"]


class LocalConfig(Config):
    """How many workers, of what kind, and how much they may hold."""

    kind: Literal["serial", "thread", "process"] = "process"
    """serial: here and now. thread: for functions that wait or that release the GIL.

    process: for all others. A script that uses it keeps its own work below
    `if __name__ == "__main__":`, since a worker imports the script.
    """
    workers: int = Field(default=0, ge=0)
    """Threads or processes; 0: as many as the machine has cores."""
    batch_size: int = Field(default=64, ge=1)
    """Rows handed to the function at once."""
    in_flight: int = Field(default=0, ge=0)
    """At most so many batches are read and not yet given back; 0: four a worker."""
    retries: int = Field(default=2, ge=0)
    """How often a batch is tried again when the process that had it dies."""
    torch_threads: int = Field(default=1, ge=1)
    """Threads of torch and OpenMP in each process worker (others share the caller's)."""


class LocalEngine:
    """Runs a batch function on this machine."""

    Config = LocalConfig

    def __init__(self, config: LocalConfig) -> None:
        self.config = config
        self._workers = config.workers or os.cpu_count() or 1
        self._in_flight = config.in_flight or 4 * self._workers

    def map(self, factory: Callable[[], BatchFunction], rows: Iterable[Any]) -> Iterator[Any]:
        """One result a row, in order, lazily; `EngineError` names the rows that could not be done.

        Closing the iterator (or an exception, or Ctrl-C) stops the workers.
        """
        todo = batches(rows, self.config.batch_size)
        if self.config.kind == "process":
            limits = Limits(
                workers=self._workers,
                in_flight=self._in_flight,
                retries=self.config.retries,
                torch_threads=self.config.torch_threads,
            )
            return ProcessPool(factory, todo, limits).results()
        if self.config.kind == "thread":
            return self._threads(factory, todo)
        return _serial(factory, todo)

    def _threads(
        self, factory: Callable[[], BatchFunction], todo: Iterator[Batch]
    ) -> Iterator[Any]:
        function = _OncePerThread(factory)
        executor = ThreadPoolExecutor(self._workers, thread_name_prefix="custodes")
        waiting: deque[tuple[Batch, Future[list[Any] | Failure]]] = deque()
        try:
            while True:
                for batch in islice(todo, self._in_flight - len(waiting)):
                    waiting.append((batch, executor.submit(_done, function, batch)))
                if not waiting:
                    return
                batch, future = waiting[0]
                yield from checked(future.result(), batch.start, len(batch.rows))
                waiting.popleft()
        finally:
            executor.shutdown(cancel_futures=True)


def _serial(factory: Callable[[], BatchFunction], todo: Iterator[Batch]) -> Iterator[Any]:
    function = _OncePerThread(factory)
    for batch in todo:
        yield from checked(_done(function, batch), batch.start, len(batch.rows))


class _OncePerThread:
    """The function that `factory` builds, built on the first batch of each thread."""

    def __init__(self, factory: Callable[[], BatchFunction]) -> None:
        self._factory = factory
        self._local = threading.local()

    def __call__(self, rows: Sequence[Any]) -> Sequence[Any]:
        if not hasattr(self._local, "function"):
            self._local.function = self._factory()
        function: BatchFunction = self._local.function
        return function(rows)


def _done(function: BatchFunction, batch: Batch) -> list[Any] | Failure:
    return attempt(lambda: apply(function, batch.rows))
