"""Worker processes that may die without taking a row with them.

One pipe a worker and one batch a worker at a time: when a worker dies it is known which batch it
had, and that one alone is tried again on a fresh worker. Workers are spawned, not forked (threads
of torch do not survive a fork). They leave when the parent's end of the pipe closes, so even a
parent that is killed leaves no orphans.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any

from custodes.engine.attempt import Failure, answer, attempt, checked, pack, unpack
from custodes.engine.base import BatchFunction
from custodes.engine.batches import Batch
from custodes.errors import EngineError

__all__ = ["ProcessPool"]

_SPAWN = multiprocessing.get_context("spawn")
_STOP_SECONDS = 5.0  # between asking a worker to end and killing it


class ProcessPool:
    """Up to `workers` processes, started as they are needed."""

    def __init__(
        self,
        factory: Callable[[], BatchFunction],
        *,
        workers: int,
        retries: int,
        torch_threads: int,
    ) -> None:
        pickled = attempt(lambda: pickle.dumps(factory))
        if isinstance(pickled, Failure):
            raise EngineError(
                f"the factory {factory!r} cannot be sent to a process ({pickled.message}): "
                "expected a function at the top of a module, or functools.partial of one"
            )
        self._factory = pickled
        self._most = workers
        self._retries = retries
        self._torch_threads = torch_threads

    def run(self, todo: Iterator[Batch], in_flight: int) -> Iterator[Any]:
        """The results in order; workers end with the iterator, however it ends."""
        run = _Run(self, todo, in_flight)
        try:
            yield from run.results()
        finally:
            for worker in run.workers:
                worker.stop()

    def start(self) -> _Worker:
        """A fresh worker."""
        return _Worker(self._factory, self._torch_threads)

    @property
    def most(self) -> int:
        """How many workers there may be."""
        return self._most

    @property
    def retries(self) -> int:
        """How often a batch is tried again when its worker dies."""
        return self._retries


class _Run:
    """One pass over the batches."""

    def __init__(self, pool: ProcessPool, todo: Iterator[Batch], in_flight: int) -> None:
        self.workers: list[_Worker] = []
        self._pool = pool
        self._todo = todo
        self._in_flight = in_flight
        self._read = 0
        self._given = 0
        self._again: deque[Batch] = deque()
        self._deaths: Counter[int] = Counter()
        self._done: dict[int, tuple[Batch, list[Any] | Failure]] = {}

    def results(self) -> Iterator[Any]:
        while True:
            self._feed()
            if self._given in self._done:
                # a failure waits for its turn too: the results before it are given first
                batch, outcome = self._done.pop(self._given)
                yield from checked(outcome, batch.start, len(batch.rows))
                self._given += 1
            elif busy := {worker.pipe: worker for worker in self.workers if worker.batch}:
                for pipe in wait(list(busy)):
                    self._receive(busy[pipe])  # type: ignore[index]
            else:
                return

    def _feed(self) -> None:
        idle = [worker for worker in self.workers if worker.batch is None]
        pairs = []
        while (idle or len(self.workers) < self._pool.most) and (batch := self._next()):
            if not idle:
                self.workers.append(self._pool.start())
                idle.append(self.workers[-1])
            pairs.append((idle.pop(), batch))
        # a large batch waits for its worker to come up: start them all before
        for worker, batch in pairs:
            worker.give(batch)

    def _next(self) -> Batch | None:
        if self._again:
            return self._again.popleft()
        if self._read - self._given >= self._in_flight:
            return None
        batch = next(self._todo, None)
        self._read += batch is not None
        return batch

    def _receive(self, worker: _Worker) -> None:
        batch, reply = worker.take()
        if reply is None:
            self._bury(worker, batch)
            return
        self._done[batch.index] = (batch, unpack(reply))

    def _bury(self, worker: _Worker, batch: Batch) -> None:
        self.workers.remove(worker)
        how = worker.post_mortem()
        self._deaths[batch.index] += 1
        deaths = self._deaths[batch.index]
        if deaths <= self._pool.retries:
            self._again.append(batch)
            return
        failure = Failure(
            f"each of {deaths} workers died over them (the last one {how}); look at these rows "
            "and at the memory of the machine, or make batch_size smaller"
        )
        self._done[batch.index] = (batch, failure)


class _Worker:
    """One process, its pipe, and the batch it has."""

    def __init__(self, factory: bytes, torch_threads: int) -> None:
        self.batch: Batch | None = None
        self.pipe, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(
            target=_serve,
            args=(theirs, factory, torch_threads),
            name="custodes-worker",
            daemon=True,
        )
        self._process.start()
        theirs.close()  # so that the pipe closes when the worker dies

    def give(self, batch: Batch) -> None:
        parcel = pack(lambda: batch.rows)
        self.batch = batch
        with suppress(OSError):  # it is dead: taking its answer will say so
            self.pipe.send_bytes(parcel)

    def take(self) -> tuple[Batch, bytes | None]:
        """The batch and its answer: None where the worker died over it."""
        batch, self.batch = self.batch, None
        if batch is None:
            raise AssertionError("asked an idle worker for an answer")
        try:
            return batch, self.pipe.recv_bytes()
        except (EOFError, OSError):
            return batch, None

    def post_mortem(self) -> str:
        """How a worker that died ended."""
        self._process.join(_STOP_SECONDS)
        code = self._process.exitcode
        self.stop()
        if code is not None and code < 0:
            return f"by {signal.Signals(-code).name}"
        return f"with exit status {code}"

    def stop(self) -> None:
        """End the process, however it stands."""
        self.pipe.close()
        self._process.terminate()
        self._process.join(_STOP_SECONDS)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()
        self._process.close()


def _serve(pipe: Connection, factory: bytes, torch_threads: int) -> None:
    """A worker's life: batches in, results or failures out, until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    os.environ.update(OMP_NUM_THREADS=str(torch_threads), OMP_WAIT_POLICY="PASSIVE")
    function: BatchFunction | Failure | None = None
    while True:
        try:
            parcel = pipe.recv_bytes()
        except (EOFError, OSError):
            return
        if function is None:
            function = attempt(lambda: _build(factory, torch_threads))
        try:
            pipe.send_bytes(answer(function, parcel))
        except OSError:
            return


def _build(factory: bytes, torch_threads: int) -> BatchFunction:
    function: BatchFunction = pickle.loads(factory)()  # noqa: S301 - from our own parent
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(torch_threads)
    return function
