"""Where the arena's attempts are kept: in the database, or in memory where there is none."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from custodes import store
from custodes.types import Conversation, Message

if TYPE_CHECKING:
    from sqlalchemy import Engine

__all__ = ["Book", "DatabaseBook", "MemoryBook"]

_MOST_IN_MEMORY = 10_000


class Book(Protocol):
    """Keeps attempts."""

    async def note(self, attempt: store.ArenaAttempt) -> None:
        """Keep one; returns when it is kept."""
        ...

    async def attempts(self, *, texts: bool = True) -> Sequence[store.ArenaAttempt]:
        """All of them, oldest first; without `texts` turns and replies may be missing."""
        ...

    async def talks(self, key: str, player: str) -> frozenset[Conversation]:
        """Every conversation of a player, who is a name under a key, with its reply at the end."""
        ...


class MemoryBook:
    """Forgets at the end of the process, and the oldest beyond ten thousand."""

    def __init__(self) -> None:
        self._attempts: list[store.ArenaAttempt] = []

    async def note(self, attempt: store.ArenaAttempt) -> None:
        """Keep one."""
        self._attempts.append(attempt)
        del self._attempts[:-_MOST_IN_MEMORY]

    async def attempts(self, *, texts: bool = True) -> Sequence[store.ArenaAttempt]:
        """All that are remembered."""
        return list(self._attempts)

    async def talks(self, key: str, player: str) -> frozenset[Conversation]:
        """Those that are remembered."""
        return _talks(self._attempts, key, player)


class DatabaseBook:
    """Reads and writes on other threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def note(self, attempt: store.ArenaAttempt) -> None:
        """Returns when it is committed; `StoreUnavailableError` where it cannot be."""

        def write() -> None:
            with store.writing(self._engine) as connection:
                store.note_arena_attempt(connection, attempt)

        await asyncio.to_thread(write)

    async def attempts(self, *, texts: bool = True) -> Sequence[store.ArenaAttempt]:
        """From the database; see `Book`."""

        def ask() -> list[store.ArenaAttempt]:
            with store.reading(self._engine) as connection:
                return store.arena_attempts(connection, texts=texts)

        return await asyncio.to_thread(ask)

    async def talks(self, key: str, player: str) -> frozenset[Conversation]:
        """From the database; reads that player's texts alone."""

        def ask() -> frozenset[Conversation]:
            with store.reading(self._engine) as connection:
                return _talks(store.arena_attempts(connection, by=(key, player)), key, player)

        return await asyncio.to_thread(ask)


def _talks(
    attempts: Sequence[store.ArenaAttempt], key: str, player: str
) -> frozenset[Conversation]:
    own = (each for each in attempts if (each.key, each.player) == (key, player))
    return frozenset((*each.turns, Message("assistant", each.reply)) for each in own)
