"""Worker processes that may die without taking a row with them.

One pipe a worker and one batch a worker at a time: when a worker dies it is known which batch it
had, and that one alone is tried again on a fresh worker. Workers are spawned, not forked (threads
of torch do not survive a fork). They end with the parent, in the middle of a batch too, so even a
parent that is killed leaves no orphans.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from custodes.engine.attempt import Failure, answer, attempt, checked, pack, unpack
from custodes.engine.base import BatchFunction
from custodes.engine.batches import Batch
from custodes.errors import EngineError

__all__ = ["Limits", "ProcessPool"]

_SPAWN = multiprocessing.get_context("spawn")
_STOP_SECONDS = 5.0  # between asking a worker to end and killing it


@dataclass(frozen=True, slots=True)
class Limits:
    """How many processes there may be, and what they may hold and cost.

    `in_flight`: batches read and not yet given back. `retries`: how often a batch is tried again
    when its worker dies. `torch_threads`: threads of torch and OpenMP in each.
    """

    workers: int
    in_flight: int
    retries: int
    torch_threads: int


class ProcessPool:
    """Processes for one pass over some batches, started as they are needed."""

    def __init__(
        self, factory: Callable[[], BatchFunction], todo: Iterator[Batch], limits: Limits
    ) -> None:
        pickled = attempt(lambda: pickle.dumps(factory))
        if isinstance(pickled, Failure):
            raise EngineError(
                f"the factory {factory!r} cannot be sent to a process ({pickled.message}): "
                "expected a function at the top of a module, or functools.partial of one"
            )
        self._factory = pickled
        self._todo = todo
        self._limits = limits
        self._workers: list[_Worker] = []
        self._read = 0
        self._given = 0
        self._again: deque[Batch] = deque()
        self._deaths: Counter[int] = Counter()
        self._done: dict[int, tuple[Batch, list[Any] | Failure]] = {}

    def results(self) -> Iterator[Any]:
        """The results in order; the processes end with the iterator, however it ends."""
        try:
            while self._step():
                while self._given in self._done:
                    # a failure waits for its turn too: the results before it are given first
                    batch, outcome = self._done.pop(self._given)
                    yield from checked(outcome, batch.start, len(batch.rows))
                    self._given += 1
                    self._feed()  # nobody is idle while the results are taken
        finally:
            for worker in self._workers:
                worker.stop()

    def _step(self) -> bool:
        """Hand out batches and wait for something to happen; False where all is done."""
        self._feed()
        busy = {worker.pipe: worker for worker in self._workers if worker.batch}
        for pipe in wait(list(busy)) if busy else ():
            self._receive(busy[pipe])  # type: ignore[index]
        return bool(busy)

    def _feed(self) -> None:
        idle = [worker for worker in self._workers if worker.batch is None]
        pairs = []
        while (idle or len(self._workers) < self._limits.workers) and (batch := self._next()):
            if not idle:
                self._workers.append(_Worker(self._factory, self._limits.torch_threads))
                idle.append(self._workers[-1])
            pairs.append((idle.pop(), batch))
        # a large batch waits for its worker to come up: start them all before
        for worker, batch in pairs:
            worker.give(batch)

    def _next(self) -> Batch | None:
        if self._again:
            return self._again.popleft()
        if self._read - self._given >= self._limits.in_flight:
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
        self._workers.remove(worker)
        how = worker.post_mortem()
        self._deaths[batch.index] += 1
        deaths = self._deaths[batch.index]
        if deaths <= self._limits.retries:
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
    threading.Thread(target=_end_with_parent, name="custodes-parent", daemon=True).start()
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


def _end_with_parent() -> None:
    """A batch may take hours, and nobody is left to take its results."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _build(factory: bytes, torch_threads: int) -> BatchFunction:
    function: BatchFunction = pickle.loads(factory)()  # noqa: S301 - from our own parent
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(torch_threads)
    return function
