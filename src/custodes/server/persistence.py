"""The database as a gateway sees it: a sink of events, a store of keys, what the console reads.

A thin coat over `store`: threads where that one waits, a short memory where a request would.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from custodes import store
from custodes.review.queue import Desk
from custodes.review.settling import case_vault
from custodes.server.arena.book import DatabaseBook
from custodes.server.auth import Key, hash_key
from custodes.server.config import GatewayConfig, KeyMode, KeyRole
from custodes.server.console.records import ROOM, Chain, Page, Window
from custodes.server.reviewing import Reviews
from custodes.server.wire.base import RequestError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

__all__ = ["DatabaseKeys", "DatabaseRecords", "DatabaseSink", "StoredKey", "open_database"]

ResultT = TypeVar("ResultT")

_log = logging.getLogger("custodes.server")

_REMEMBERED = 5.0
"""Seconds until a revoked key is refused by a gateway that knew it."""
_MOST = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredKey:
    """A key of the database; those of reviewers and admins may ask for the ground of a verdict."""

    id: str
    role: KeyRole
    mode: KeyMode
    explain: bool
    per_minute: float | None = None


class DatabaseKeys:
    """Finds keys in the database and remembers for seconds what it found.

    `clock` gives seconds that never go back.
    """

    def __init__(self, engine: Engine, *, clock: Callable[[], float]) -> None:
        self._engine = engine
        self._clock = clock
        self._known: dict[str, tuple[float, Key | None]] = {}

    async def find(self, token: str) -> Key | None:
        """The key of a token; what is remembered is remembered by its hash."""
        digest = hash_key(token)
        now = self._clock()
        until, key = self._known.get(digest, (0.0, None))
        if now < until:
            return key
        key = await asyncio.to_thread(self._ask, token)
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[digest] = (now + _REMEMBERED, key)
        return key

    async def named(self, id_: str) -> Key | None:
        """The key of an id; asked every time, so that a revoked key loses its session at once."""
        return await asyncio.to_thread(self._ask_name, id_)

    def _ask(self, token: str) -> Key | None:
        with store.reading(self._engine) as connection:
            return _key(store.find_key(connection, token))

    def _ask_name(self, id_: str) -> Key | None:
        with store.reading(self._engine) as connection:
            return _key(store.named_key(connection, id_))


def _key(found: store.Key | None) -> Key | None:
    if found is None:
        return None
    return StoredKey(
        id=found.id,
        role=found.role.value,
        mode=found.mode.value,
        explain=found.role.value != "client",
    )


class DatabaseSink:
    """Records events in the log; closing it waits for the last commit.

    `records` reads them again; `book` is the arena's, `reviews` the desk in the same database.
    """

    def __init__(
        self,
        log: store.EventLog,
        engine: Engine,
        records: DatabaseRecords,
        reviews: Reviews | None = None,
    ) -> None:
        self._log = log
        self._engine = engine
        self.records = records
        self.book = DatabaseBook(engine)
        self.reviews = reviews

    async def record(self, event: store.Event) -> None:
        """Returns when the event is committed."""
        await self._log.record(event)

    @property
    def healthy(self) -> bool:
        """Whether the last commit succeeded and there is room for more."""
        return self._log.healthy

    async def close(self) -> None:
        """Commit what waits, let the database go."""
        await asyncio.to_thread(self._log.close)
        await asyncio.to_thread(self._engine.dispose)


class DatabaseRecords:
    """What the console reads, on other threads, two queries at a time: looking must not slow
    what it looks at.

    `vault` decrypts texts, `now` gives seconds since 1970.
    """

    def __init__(
        self, engine: Engine, *, vault: store.Vault | None, now: Callable[[], float]
    ) -> None:
        self._engine = engine
        self._vault = vault
        self._now = now
        self._room = asyncio.Semaphore(2)
        self._verifying = False

    async def tallies(self, window: Window) -> list[store.Tally]:
        """From the counts that are kept."""
        span = {"since": window.since, "until": window.until, "bucket": window.bucket}
        return await self._read(lambda c: store.tallies_in(c, **span))

    async def latencies(self, window: Window) -> list[store.Latency]:
        """From the counts that are kept."""
        span = {"since": window.since, "until": window.until, "bucket": window.bucket}
        return await self._read(lambda c: store.latencies_in(c, **span))

    async def page(
        self, limit: int, *, before: int | None = None, matching: Mapping[str, str]
    ) -> Page:
        """One filter with an index finds all of its events; more look through `ROOM` events."""
        return await self._read(lambda c: _page(c, limit, before, matching))

    async def event(self, seq: int, *, with_text: bool) -> store.StoredEvent | None:
        """One row."""
        vault = self._vault if with_text else None
        return await self._read(lambda c: store.event_at(c, seq, cipher=vault))

    async def versions(self) -> Sequence[Mapping[str, str]]:
        """Of the last thousand rows."""
        return await self._read(lambda c: store.versions_in_use(c, 1_000))

    async def key_names(self) -> Mapping[str, str]:
        """Of every key that there ever was."""
        keys = await self._read(store.list_keys)
        return {key.id: key.name for key in keys}

    async def chain(self) -> Chain:
        """Its end, and the outcome that was noted last."""
        return await self._read(
            lambda c: Chain(head=store.checkpoint(c), verified=store.last_verified(c))
        )

    async def verify(self, key: str) -> None:
        """Recompute every hash on a thread; one at a time, `RequestError` 409 for a second."""
        if self._verifying:
            raise RequestError("the chain is being verified already", status=409, code="busy")
        self._verifying = True
        try:
            await asyncio.to_thread(self._verify, key)
        finally:
            self._verifying = False

    def _verify(self, key: str) -> None:
        began = time.monotonic()
        with store.snapshot(self._engine) as connection:
            outcome = store.verify(connection)
        verified = store.Verified(
            at=self._now(), key=key, seconds=time.monotonic() - began, outcome=outcome
        )
        if not outcome.ok:
            fields = {"kind": str(outcome.kind), "event": outcome.first_bad}
            _log.error("the chain of events is broken", extra={"fields": fields})
        with store.writing(self._engine) as connection:
            store.note_verified(connection, verified)

    async def _read(self, query: Callable[[Connection], ResultT]) -> ResultT:
        def ask() -> ResultT:
            with store.reading(self._engine) as connection:
                return query(connection)

        async with self._room:
            return await asyncio.to_thread(ask)


def _page(
    connection: Connection, limit: int, before: int | None, matching: Mapping[str, str]
) -> Page:
    start = before if before is not None else store.checkpoint(connection).seq + 1
    indexed = len(matching) <= 1 and "route" not in matching
    after = 0 if indexed else max(0, start - 1 - ROOM)
    events = store.latest(connection, limit, before=start, after=after, matching=matching)
    if len(events) == limit:
        older = events[-1].seq if events[-1].seq > 1 else None
        return Page(events=events, older=older, searched=events[-1].seq)
    return Page(events=events, older=after + 1 if after else None, searched=after + 1)


def open_database(
    config: GatewayConfig,
    *,
    clock: Callable[[], float],
    now: Callable[[], float] = time.time,
) -> tuple[DatabaseSink, DatabaseKeys] | None:
    """The database of the settings, brought up to date; None where there is to be none."""
    if config.database == "none":
        return None
    engine = store.connect(config.database or store.default_database(os.environ))
    store.migrate(engine)
    vault = store.Vault.from_environment(os.environ) if config.keep_text else None
    settings = store.EventLog.Config(keep_text=config.keep_text)
    log = store.EventLog(engine, settings, vault=vault)
    records = DatabaseRecords(engine, vault=vault, now=now)
    reviews = Reviews(Desk(engine, now=now, cipher=case_vault(os.environ)), clock=clock)
    return DatabaseSink(log, engine, records, reviews), DatabaseKeys(engine, clock=clock)
