"""The database as a gateway sees it: a sink of events, a store of keys.

A thin coat over `store`: threads where that one waits, a short memory where a request would.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from custodes.server.auth import Key, hash_key
from custodes.server.config import GatewayConfig, KeyMode, KeyRole
from custodes.store.events import Event

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from custodes.store import EventLog

__all__ = ["DatabaseKeys", "DatabaseSink", "StoredKey", "open_database"]

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

    def _ask(self, token: str) -> Key | None:
        from custodes.store import find_key, reading

        with reading(self._engine) as connection:
            found = find_key(connection, token)
        if found is None:
            return None
        return StoredKey(
            id=found.id,
            role=found.role.value,
            mode=found.mode.value,
            explain=found.role.value != "client",
        )


class DatabaseSink:
    """Records events in the log; closing it waits for the last commit."""

    def __init__(self, log: EventLog, engine: Engine) -> None:
        self._log = log
        self._engine = engine

    async def record(self, event: Event) -> None:
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


def open_database(
    config: GatewayConfig, *, clock: Callable[[], float]
) -> tuple[DatabaseSink, DatabaseKeys] | None:
    """The database of the settings, brought up to date; None where there is to be none."""
    from custodes.store import EventLog, Vault, connect, default_database, migrate

    if config.database == "none":
        return None
    engine = connect(config.database or default_database(os.environ))
    migrate(engine)
    vault = Vault.from_environment(os.environ) if config.keep_text else None
    log = EventLog(engine, EventLog.Config(keep_text=config.keep_text), vault=vault)
    return DatabaseSink(log, engine), DatabaseKeys(engine, clock=clock)
