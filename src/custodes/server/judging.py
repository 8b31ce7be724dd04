"""Threads that judge, so that the event loop never waits for a classifier.

numpy, torch and hashing give up the interpreter's lock while they work. A job that is given up
keeps its thread until it returns, or comes to a `checkpoint`; another thread takes its place, up to
a limit. Knows nothing of guards.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from custodes.errors import CustodesError

__all__ = ["JudgePool", "JudgingError", "checkpoint"]

ResultT = TypeVar("ResultT")


class JudgingError(CustodesError):
    """A judging job raised, was too late, or could not be taken."""


@dataclass(slots=True, eq=False)
class _Job:
    work: Callable[[], Any]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    running: bool = False
    finished: bool = False
    given_up: bool = False


class _Place(threading.local):
    """The job that this thread is at."""

    job: _Job | None = None


_HERE = _Place()


def checkpoint() -> None:
    """Called by a long job on its way: `JudgingError` where nobody waits for it any more."""
    job = _HERE.job
    if job is not None and job.given_up:
        raise JudgingError("the judging was given up")


class JudgePool:
    """`threads` workers; at most `spare` of them may be stuck in jobs that were given up.

    `seconds`: how long a job may wait and run.
    """

    def __init__(self, *, threads: int, seconds: float, spare: int = 16) -> None:
        self.seconds = seconds
        self._spare = spare
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._stuck = 0
        self._threads = threads
        self._alive: list[threading.Thread] = []
        for _ in range(threads):
            self._start()

    @property
    def stuck(self) -> int:
        """Threads that are still busy with jobs that were given up."""
        return self._stuck

    @property
    def healthy(self) -> bool:
        """Whether there are threads left to judge with."""
        return self._stuck < self._spare + self._threads

    async def run(self, work: Callable[[], ResultT]) -> ResultT:
        """The job's result; `JudgingError` where it raises or takes too long."""
        loop = asyncio.get_running_loop()
        job = _Job(work, loop, loop.create_future())
        self._jobs.put(job)
        late = loop.call_later(self.seconds, self._give_up, job)
        try:
            result: ResultT = await job.future
        except asyncio.CancelledError:
            self._abandon(job)
            raise
        finally:
            late.cancel()
        return result

    async def close(self, seconds: float) -> bool:
        """End every thread after the job that it is at; whether all did within `seconds`.

        A thread that is inside torch when the interpreter ends takes the process down with it
        (SIGABRT), whatever was recorded before.
        """
        for _ in range(self._threads + self._spare):
            self._jobs.put(None)
        until = time.monotonic() + seconds
        while any(thread.is_alive() for thread in self._alive):
            if time.monotonic() > until:
                return False
            await asyncio.sleep(0.01)
        return True

    def _give_up(self, job: _Job) -> None:
        self._abandon(job)
        if not job.future.done():
            job.future.set_exception(
                JudgingError(f"no verdict within {self.seconds:g} s; the judging was given up")
            )

    def _abandon(self, job: _Job) -> None:
        with self._lock:
            if job.given_up or job.finished:
                return
            job.given_up = True
            if not job.running:
                return
            self._stuck += 1
            replace = self._stuck <= self._spare
        if replace:
            self._start()

    def _start(self) -> None:
        thread = threading.Thread(target=self._work, name="custodes-judge", daemon=True)
        self._alive = [*(one for one in self._alive if one.is_alive()), thread]
        thread.start()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            with self._lock:
                if job.given_up:
                    continue
                job.running = True
            _HERE.job = job
            result, error = _attempt(job.work)
            _HERE.job = None
            if self._back(job):
                return
            _deliver(job, result, error)

    def _back(self, job: _Job) -> bool:
        """The work is done; whether this thread has been replaced while it was at it."""
        with self._lock:
            job.running, job.finished = False, True
            if not job.given_up:
                return False
            self._stuck -= 1
            return self._stuck < self._spare


def _attempt(work: Callable[[], Any]) -> tuple[Any, JudgingError | None]:
    try:
        return work(), None
    except Exception as error:  # noqa: BLE001 - a guard may raise anything: it fails closed
        return None, JudgingError(f"judging raised {type(error).__name__}: {error}")


def _deliver(job: _Job, result: Any, error: JudgingError | None) -> None:
    def settle() -> None:
        if job.future.done():
            return
        if error is None:
            job.future.set_result(result)
        else:
            job.future.set_exception(error)

    try:
        job.loop.call_soon_threadsafe(settle)
    except RuntimeError:  # the loop is closed: nobody waits any more
        return
