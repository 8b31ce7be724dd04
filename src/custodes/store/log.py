"""Events on their way to the database: off the hot path, acknowledged once they are on disk.

One thread commits what is waiting in batches; the longer a commit takes, the larger the next
batch. Knows no HTTP and no clock of its own. Make it after forking, one in each process: the
lock on the chain's head keeps several of them one chain.
"""

from __future__ import annotations

import asyncio
import atexit
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Condition, Thread
from typing import Any, Self

from pydantic import Field
from sqlalchemy import Engine, update

from custodes.config import Config
from custodes.errors import ConfigError, StoreBusyError, StoreError
from custodes.store.chain import extend
from custodes.store.database import writing
from custodes.store.events import Event
from custodes.store.rows import encode
from custodes.store.tables import head
from custodes.store.vault import ENVIRONMENT_KEY, Vault

__all__ = ["EventLog"]


@dataclass(frozen=True, slots=True)
class _Waiting:
    row: dict[str, Any]
    acknowledged: Future[int]


class EventLog:
    """Appends events to the chain. Close it, or use it in a `with`, so that nothing waits on."""

    class Config(Config):
        """How events are gathered into commits."""

        keep_text: bool = False
        """Store what was judged, encrypted; needs CUSTODES_STORE_KEY."""
        batch: int = Field(512, ge=1)
        """Events in one commit at most."""
        linger: float = Field(0.002, ge=0)
        """Seconds to wait for more events before a commit."""
        queue: int = Field(10_000, ge=1)
        """Events that may wait for the database; more are refused."""
        probe: float = Field(1.0, gt=0)
        """Seconds between attempts to reach a database that failed."""

    def __init__(
        self, engine: Engine, config: Config | None = None, *, vault: Vault | None = None
    ) -> None:
        """Start the writer; `ConfigError` where text is to be kept without a `vault`."""
        self._config = config or EventLog.Config()
        if self._config.keep_text and vault is None:
            raise ConfigError(
                f"keep_text is on, but there is no key to encrypt with: set {ENVIRONMENT_KEY}, "
                "or turn keep_text off"
            )
        self._vault = vault if self._config.keep_text else None
        self._engine = engine
        self._queue: deque[_Waiting] = deque()
        self._changed = Condition()
        self._closed = False
        self._failure: StoreError | None = None
        self._thread = Thread(target=self._run, name="custodes-events", daemon=True)
        self._thread.start()
        atexit.register(self.close)  # a daemon thread would be cut off with events in its hands

    def append(self, event: Event, *, wait: float = 0.0) -> Future[int]:
        """Hand over an event; the future gives its `seq` once it is committed.

        `wait`: seconds to wait for room in the queue; at 0 the call never blocks. Raises
        `StoreBusyError` where there is no room, `StoreError` where the log is closed or the event
        cannot be stored. The future fails with `StoreUnavailableError` where the database
        refuses, and never can be cancelled: a client who leaves does not take its event along.
        """
        waiting = _Waiting(encode(event, self._vault), Future())
        waiting.acknowledged.set_running_or_notify_cancel()
        with self._changed:
            self._changed.wait_for(self._has_room, wait)
            if self._closed:
                raise StoreError("the event log is closed; the event was not stored")
            if not self._has_room():
                raise StoreBusyError(
                    f"{len(self._queue)} events wait for the database, which is all that the "
                    "queue holds; the event was not stored"
                )
            self._queue.append(waiting)
            self._changed.notify_all()
        return waiting.acknowledged

    async def record(self, event: Event, *, wait: float = 5.0) -> int:
        """`append` for coroutines: waits for room without blocking the loop, gives the `seq`."""
        try:
            acknowledged = self.append(event)
        except StoreBusyError:
            acknowledged = await asyncio.to_thread(self.append, event, wait=wait)
        return await asyncio.wrap_future(acknowledged)

    @property
    def healthy(self) -> bool:
        """Open, with room in its queue, and the last attempt to write, if any, succeeded."""
        return self._failure is None and not self._closed and len(self._queue) < self._config.queue

    @property
    def failure(self) -> StoreError | None:
        """Why the last attempt to write failed; the log goes on trying by itself."""
        return self._failure

    @property
    def waiting(self) -> int:
        """Events that wait for the next commit."""
        return len(self._queue)

    def close(self, timeout: float | None = None) -> None:
        """Commit what waits and stop; what the database refuses now fails for good."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(timeout)
        atexit.unregister(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _has_room(self) -> bool:
        return self._closed or len(self._queue) < self._config.queue

    def _run(self) -> None:
        batch: list[_Waiting] = []
        try:
            while (taken := self._take()) is not None:
                batch = taken
                self._write(batch)
        finally:  # whatever ends this thread, nobody waits for ever
            with self._changed:
                self._closed = True
                left = [*batch, *self._queue]
                self._queue.clear()
                self._changed.notify_all()
            for waiting in left:
                if not waiting.acknowledged.done():
                    waiting.acknowledged.set_exception(StoreError("the event log has stopped"))

    def _take(self) -> list[_Waiting] | None:
        """The next batch; an empty one when it is time to probe, `None` at the end."""
        with self._changed:
            pause = None if self._failure is None else self._config.probe
            self._changed.wait_for(lambda: self._queue or self._closed, pause)
            if self._closed and not self._queue:
                return None
            if self._queue:
                self._changed.wait_for(self._is_full, self._config.linger)
            size = min(len(self._queue), self._config.batch)
            batch = [self._queue.popleft() for _ in range(size)]
            self._changed.notify_all()
            return batch

    def _is_full(self) -> bool:
        return self._closed or len(self._queue) >= self._config.batch

    def _write(self, batch: list[_Waiting]) -> None:
        try:
            with writing(self._engine) as connection:
                if not batch:  # a write that changes nothing, to see whether one would succeed
                    connection.execute(update(head).values(seq=head.c.seq))
                places = extend(connection, [waiting.row for waiting in batch]) if batch else []
        except StoreError as error:
            self._failure = error
            for waiting in batch:
                waiting.acknowledged.set_exception(type(error)(str(error)))
            return
        self._failure = None
        for waiting, seq in zip(batch, places, strict=True):
            if seq is not None:
                waiting.acknowledged.set_result(seq)
            else:
                waiting.acknowledged.set_exception(
                    StoreError(f"event {waiting.row['id']!r}: another event has this id")
                )
