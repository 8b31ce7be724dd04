"""Attempts in the arena: what players wrote, what came back, how it was graded."""

from __future__ import annotations

import json
from dataclasses import dataclass
from types import SimpleNamespace

from sqlalchemy import Connection, insert, select

from custodes.store.rows import clean
from custodes.store.tables import arena
from custodes.types import Conversation, Message

__all__ = ["ArenaAttempt", "arena_attempts", "note_arena_attempt"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArenaAttempt:
    """One attempt; `level` counts from 1, `at` is seconds since 1970, `strategy` is what the
    player calls it."""

    id: str
    at: float
    key: str
    player: str
    level: int
    question: str
    strategy: str
    turns: Conversation
    reply: str
    stopped: str | None
    grade: float
    success: bool


def note_arena_attempt(connection: Connection, attempt: ArenaAttempt) -> None:
    """Store one."""
    turns = [{"role": turn.role, "content": turn.content} for turn in attempt.turns]
    connection.execute(
        insert(arena).values(
            id=attempt.id,
            at=attempt.at,
            key=clean(attempt.key),
            player=clean(attempt.player),
            level=attempt.level,
            question=attempt.question,
            strategy=clean(attempt.strategy),
            turns=json.dumps(turns),
            reply=clean(attempt.reply),
            stopped=attempt.stopped,
            grade=attempt.grade,
            success=int(attempt.success),
        )
    )


def arena_attempts(
    connection: Connection, *, texts: bool = True, by: tuple[str, str] | None = None
) -> list[ArenaAttempt]:
    """All of them, or those `by` a key and player, oldest first; without `texts`, which are most of
    them, turns and reply empty."""
    left = () if texts else ("turns", "reply")
    wanted = [column for column in arena.c if column.name not in left]
    query = select(*wanted).order_by(arena.c.at, arena.c.id)
    if by is not None:
        key, player = map(clean, by)
        query = query.where(arena.c.key == key, arena.c.player == player)
    empty = {"turns": "[]", "reply": ""}
    rows = [SimpleNamespace(**empty | dict(row)) for row in connection.execute(query).mappings()]
    return [
        ArenaAttempt(
            id=row.id,
            at=row.at,
            key=row.key,
            player=row.player,
            level=row.level,
            question=row.question,
            strategy=row.strategy,
            turns=tuple(Message(t["role"], t["content"]) for t in json.loads(row.turns)),
            reply=row.reply,
            stopped=row.stopped,
            grade=row.grade,
            success=bool(row.success),
        )
        for row in rows
    ]
