"""Queues, raters and cases in the database: put in, looked up, locked, settled.

Functions from a connection, inside the caller's transaction (`writing`). Which case comes next,
when a case is settled and who may do what is decided by `custodes.review`; here and in
`review_judgments` stands only what keeps two raters, two processes or a dead one from spoiling
each other's work:

- Whoever changes a case or one of its judgments locks the case's row first. Claims and sweeps
  pass over locked rows (SKIP LOCKED), so that nobody waits for more than one row and nobody
  waits in a circle. SQLite has one writer at a time (BEGIN IMMEDIATE), to the same effect.
- A claim that ran out is given back by whoever claims next; a judgment that is given is kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, and_, exists, func, literal, or_, select, update
from sqlalchemy import case as sql_case
from sqlalchemy.dialects import postgresql, sqlite

from custodes.errors import DataError
from custodes.store.review_tables import cases, judgments, queues, raters
from custodes.store.rows import Cipher, clean

__all__ = [
    "RATING",
    "RULING",
    "StoredCase",
    "add_cases",
    "case_of",
    "count_taken",
    "decode_case",
    "lock_case",
    "need_raters",
    "next_case",
    "put_queue",
    "queue_names",
    "queue_settings",
    "set_aside",
    "set_rank",
    "set_skills",
    "settle",
    "skills_of",
]

RATING, RULING = "rating", "ruling"
"""Parts that a person may have in a case: one of its raters, or whoever settles a conflict."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCase:
    """A case as it is stored; see `review_tables`. Where no key opens it, `content` is None and
    `title` its number."""

    id: int
    queue: str
    ref: str
    kind: str
    origin: str
    state: str
    skill: str
    slice: str
    rank: float
    needed: int
    taken: int
    title: str
    content: Mapping[str, Any] | None
    ai_answer: str | None
    ai_confidence: float | None
    gold: str | None
    answer: str | None
    settled_by: str | None
    created: float
    settled: float | None


def put_queue(connection: Connection, name: str, settings: str, *, now: float) -> None:
    """Make a queue, or change the settings of one."""
    row = {"name": clean(name), "settings": clean(settings), "created": now}
    statement = _insert(connection, queues).values(row)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[queues.c.name], set_={"settings": statement.excluded.settings}
        )
    )


def queue_settings(connection: Connection, name: str) -> str | None:
    """The JSON of a queue's settings; None where there is no such queue."""
    found = select(queues.c.settings).where(queues.c.name == clean(name))
    return connection.execute(found).scalar_one_or_none()


def queue_names(connection: Connection) -> list[str]:
    """Every queue, oldest first."""
    return list(
        connection.execute(
            select(queues.c.name).order_by(queues.c.created, queues.c.name)
        ).scalars()
    )


def set_skills(connection: Connection, rater: str, skills: Iterable[str]) -> None:
    """What a rater can judge besides what anybody can."""
    row = {"id": clean(rater), "skills": json.dumps(sorted({clean(each) for each in skills}))}
    statement = _insert(connection, raters).values(row)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[raters.c.id], set_={"skills": statement.excluded.skills}
        )
    )


def skills_of(connection: Connection, rater: str) -> tuple[str, ...]:
    """A rater's skills; none where nothing is known."""
    found = select(raters.c.skills).where(raters.c.id == clean(rater))
    stored = connection.execute(found).scalar_one_or_none()
    return tuple(json.loads(stored)) if stored else ()


def add_cases(
    connection: Connection,
    queue: str,
    rows: Iterable[Mapping[str, Any]],
    *,
    now: float,
    cipher: Cipher | None = None,
) -> int:
    """Put cases in a queue; returns how many were new: a `ref` that is there already stays.

    A row has the columns of `review_cases` that its maker knows; `content` is an object, which
    `cipher` encrypts, as it does the title.
    """
    prepared = [_prepared(queue, row, now, cipher) for row in rows]
    if not prepared:
        return 0
    statement = _insert(connection, cases)
    statement = statement.on_conflict_do_nothing(index_elements=[cases.c.queue, cases.c.ref])
    return len(connection.execute(statement.returning(cases.c.id), prepared).all())


def _prepared(
    queue: str, row: Mapping[str, Any], now: float, cipher: Cipher | None
) -> dict[str, Any]:
    content = clean(json.dumps(row["content"], ensure_ascii=False))
    values = {
        "queue": queue,
        "kind": "case",
        "origin": "import",
        "state": "open",
        "waiting": 1,
        "skill": "",
        "slice": "",
        "rank": 0.0,
        "needed": 1,
        "taken": 0,
        "ai_answer": None,
        "ai_confidence": None,
        "gold": None,
        "created": now,
        **row,
        "content": content if cipher is None else cipher.seal(content, at=now),
        "sealed": int(cipher is not None),
    }
    if cipher is not None:  # it is a piece of the text
        values["title"] = cipher.seal(clean(values["title"]), at=now)
    return {
        name: clean(value) if isinstance(value, str) else value for name, value in values.items()
    }


def case_of(connection: Connection, id_: int, *, cipher: Cipher | None = None) -> StoredCase | None:
    """One case."""
    row = connection.execute(select(cases).where(cases.c.id == id_)).one_or_none()
    return None if row is None else decode_case(row, cipher)


def lock_case(connection: Connection, id_: int) -> StoredCase:
    """One case, its row locked until the transaction ends; without its content."""
    row = connection.execute(select(cases).where(cases.c.id == id_).with_for_update()).one_or_none()
    if row is None:
        raise DataError(f"there is no case {id_}")
    return decode_case(row, None, bare=True)


def next_case(
    connection: Connection,
    *,
    queue: str,
    rater: str,
    kind: str,
    skills: Sequence[str],
) -> int | None:
    """Lock and name the case of least rank that waits, that the rater can judge and has not."""
    best: tuple[float, int] | None = None
    for skill in ("", *skills):
        row = connection.execute(_waiting(queue, rater, kind, skill)).first()
        if row is not None and (best is None or (row.rank, row.id) < best):
            best = (row.rank, row.id)
    return None if best is None else best[1]


def _waiting(queue: str, rater: str, kind: str, skill: str) -> Select[tuple[float, int]]:
    given = exists().where(
        judgments.c.case_id == cases.c.id,
        judgments.c.part == RATING,
        judgments.c.rater == rater,
        judgments.c.state != "left",
    )
    return (
        select(cases.c.rank, cases.c.id)
        .where(
            cases.c.queue == queue,
            cases.c.kind == kind,
            cases.c.waiting == 1,
            cases.c.skill == skill,
            ~given,
        )
        .order_by(cases.c.rank, cases.c.id)
        .limit(1)
        .with_for_update(skip_locked=True, of=cases)
    )


def set_rank(connection: Connection, ranks: Mapping[int, float]) -> None:
    """Order the cases of these ids anew: the least rank is asked first."""
    for id_, rank in sorted(ranks.items()):
        connection.execute(update(cases).where(cases.c.id == id_).values(rank=rank))


def set_aside(connection: Connection, id_: int) -> None:
    """Let nobody claim a locked case, until one who holds it gives it back or `need_raters`."""
    connection.execute(update(cases).where(cases.c.id == id_).values(waiting=0))


def need_raters(connection: Connection, queue: str, needed: int) -> list[int]:
    """Let every open case be judged by so many people, what was set aside too; names those that
    have as many answers."""
    of_queue = and_(cases.c.queue == queue, cases.c.kind == "case", cases.c.state == "open")
    waits = sql_case((cases.c.taken < needed, 1), else_=0)
    connection.execute(
        update(cases)
        .where(of_queue, or_(cases.c.needed != needed, cases.c.waiting != waits))
        .values(needed=needed, waiting=waits)
    )
    checks = and_(cases.c.queue == queue, cases.c.kind == "gold", cases.c.waiting == 0)
    connection.execute(update(cases).where(checks).values(waiting=1))
    given = (
        select(func.count())
        .where(
            judgments.c.case_id == cases.c.id,
            judgments.c.part == RATING,
            judgments.c.state == "given",
        )
        .scalar_subquery()
    )
    full = select(cases.c.id).where(of_queue, cases.c.taken >= needed, given >= needed)
    return list(connection.execute(full.order_by(cases.c.id)).scalars())


def settle(
    connection: Connection,
    id_: int,
    *,
    state: str,
    answer: str | None,
    by: str | None,
    now: float,
) -> None:
    """Say what became of a locked case: open again, in conflict, or done with an answer."""
    connection.execute(
        update(cases)
        .where(cases.c.id == id_)
        .values(
            state=state,
            answer=answer,
            settled_by=by,
            settled=now if state == "done" else None,
            waiting=_waits(literal(state), cases.c.taken),
        )
    )


def count_taken(connection: Connection, id_: int, by: int) -> None:
    """Keep `taken` and `waiting` of a locked case in step with its ratings."""
    taken = cases.c.taken + by
    connection.execute(
        update(cases)
        .where(cases.c.id == id_)
        .values(taken=taken, waiting=_waits(cases.c.state, taken))
    )


def _waits(state: Any, taken: Any) -> Any:
    """Whether a case may be claimed. A check always may: every rater is asked it once."""
    free = and_(state == "open", taken < cases.c.needed)
    return sql_case((or_(cases.c.kind == "gold", free), 1), else_=0)


def decode_case(row: Any, cipher: Cipher | None, *, bare: bool = False) -> StoredCase:
    """A row of `review_cases`; `bare` leaves its content out."""
    values = dict(row._mapping)
    values.pop("waiting")
    if values.pop("sealed"):
        said = cipher.open(values["title"]) if cipher is not None else None
        values["title"] = said or f"Case {values['id']}"
        text = None if bare or cipher is None else cipher.open(values["content"])
    else:
        text = None if bare else values["content"]
    content = None if text is None else json.loads(text)
    return StoredCase(**{**values, "content": content})


def _insert(connection: Connection, table: Any) -> Any:
    """An insert that knows what to do about rows that are there."""
    return (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(table)
