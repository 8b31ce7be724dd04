"""What review reads: counts, lists, what a rater holds and gave, rows to analyse.

Functions from a connection to plain values; none of these reads more rows than its arguments
say, but for `counts`, which reads one index.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, or_, select, union

from custodes.store.review_cases import RATING, RULING, StoredCase, decode_case
from custodes.store.review_judgments import StoredJudgment, decode_judgment
from custodes.store.review_tables import actions, cases, judgments
from custodes.store.rows import Cipher, clean

__all__ = [
    "Listed",
    "Rated",
    "actions_of",
    "answers_in",
    "arms_on",
    "counts",
    "given_by",
    "held_by",
    "is_rated",
    "judgments_of",
    "list_cases",
    "next_conflict",
    "rated",
    "recent_of",
]


@dataclass(frozen=True, slots=True)
class Listed:
    """A page of cases, newest first; `older`: the id to go on before, None at the end."""

    cases: list[StoredCase]
    older: int | None


@dataclass(frozen=True, slots=True)
class Rated:
    """A given rating and its case, which comes without content."""

    judgment: StoredJudgment
    case: StoredCase


def counts(connection: Connection, queue: str) -> dict[tuple[str, str], int]:
    """(kind, state) -> cases."""
    rows = connection.execute(
        select(cases.c.kind, cases.c.state, func.count())
        .where(cases.c.queue == queue)
        .group_by(cases.c.kind, cases.c.state)
    )
    return {(kind, state): number for kind, state, number in rows}


def answers_in(connection: Connection, queue: str) -> set[str]:
    """Every answer that somebody gave, first or last, or that is known of a check."""
    known = union(
        select(judgments.c.answer).where(judgments.c.queue == queue),
        select(judgments.c.first_answer).where(judgments.c.queue == queue),
        select(cases.c.gold).where(cases.c.queue == queue),
    )
    return {answer for answer in connection.execute(known).scalars() if answer is not None}


def is_rated(connection: Connection, queue: str) -> bool:
    """Whether there is a rating."""
    return bool(rated(connection, queue, limit=1))


def held_by(connection: Connection, queue: str, rater: str, *, part: str) -> list[StoredJudgment]:
    """What a rater holds, the longest held first; also what ran out and nobody gave back yet."""
    rows = connection.execute(
        select(judgments)
        .where(
            judgments.c.queue == queue,
            judgments.c.rater == rater,
            judgments.c.state == "held",
            judgments.c.part == part,
        )
        .order_by(judgments.c.claimed, judgments.c.case_id)
    )
    return [decode_judgment(row) for row in rows]


def given_by(connection: Connection, queue: str, rater: str, limit: int) -> list[Rated]:
    """A rater's last ratings, newest first."""
    return rated(connection, queue, rater=rater, limit=limit)


def rated(
    connection: Connection,
    queue: str,
    *,
    limit: int,
    rater: str | None = None,
    part: str = RATING,
) -> list[Rated]:
    """Given judgments with their cases, newest first."""
    here = [judgments.c.queue == queue, judgments.c.state == "given", judgments.c.part == part]
    if rater is not None:
        here.append(judgments.c.rater == rater)
    ours = [each.label(f"j_{each.name}") for each in judgments.c]
    bare = [each for each in cases.c if each.name != "content"]
    rows = connection.execute(
        select(*ours, *bare)
        .join_from(judgments, cases, cases.c.id == judgments.c.case_id)
        .where(*here)
        .order_by(judgments.c.given.desc(), judgments.c.case_id.desc())
        .limit(limit)
    )
    return [_rated(row) for row in rows]


def _rated(row: Any) -> Rated:
    fields = row._mapping
    ours = {name[2:]: value for name, value in fields.items() if name.startswith("j_")}
    theirs = {name: value for name, value in fields.items() if not name.startswith("j_")}
    return Rated(decode_judgment(_Fields(ours)), decode_case(_Fields(theirs), None, bare=True))


@dataclass(frozen=True, slots=True)
class _Fields:
    """A part of a joined row, which reads like a row of one table."""

    _mapping: Mapping[str, Any]


def judgments_of(
    connection: Connection, case_id: int, *, part: str = RATING
) -> list[StoredJudgment]:
    """What was given on a case, oldest first."""
    rows = connection.execute(
        select(judgments)
        .where(
            judgments.c.case_id == case_id,
            judgments.c.part == part,
            judgments.c.state == "given",
        )
        .order_by(judgments.c.given, judgments.c.rater)
    )
    return [decode_judgment(row) for row in rows]


def arms_on(connection: Connection, case_id: int) -> dict[str, int]:
    """arm -> ratings of a case that are held or given in it."""
    rows = connection.execute(
        select(judgments.c.arm, func.count())
        .where(
            judgments.c.case_id == case_id,
            judgments.c.part == RATING,
            judgments.c.state != "left",
        )
        .group_by(judgments.c.arm)
    )
    return dict(map(tuple, rows))


def recent_of(connection: Connection, queue: str, rater: str, limit: int) -> list[tuple[str, str]]:
    """(arm, kind of case) of a rater's ratings: those held, then the last given, newest first."""
    found: list[tuple[str, str]] = []
    for state in ("held", "given"):
        rows = connection.execute(
            select(judgments.c.arm, cases.c.kind)
            .join_from(judgments, cases, cases.c.id == judgments.c.case_id)
            .where(
                judgments.c.queue == queue,
                judgments.c.rater == rater,
                judgments.c.state == state,
                judgments.c.part == RATING,
            )
            .order_by(judgments.c.given.desc())
            .limit(limit)
        )
        found += [(arm, kind) for arm, kind in rows]
    return found[:limit]


def next_conflict(connection: Connection, queue: str, rater: str) -> int | None:
    """Lock and name the oldest case in conflict that nobody is settling."""
    busy = (
        select(judgments.c.case_id)
        .where(
            judgments.c.case_id == cases.c.id,
            judgments.c.part == RULING,
            judgments.c.state == "held",
            judgments.c.rater != rater,
        )
        .exists()
    )
    return connection.execute(
        select(cases.c.id)
        .where(cases.c.queue == queue, cases.c.kind == "case", cases.c.state == "conflict", ~busy)
        .order_by(cases.c.id)
        .limit(1)
        .with_for_update(skip_locked=True, of=cases)
    ).scalar_one_or_none()


def list_cases(
    connection: Connection,
    queue: str,
    *,
    limit: int,
    room: int,
    before: int | None = None,
    matching: Mapping[str, str] | None = None,
    cipher: Cipher | None = None,
) -> Listed:
    """Cases of a queue, newest first; `room`: rows looked through; `matching`: state, kind, and
    text, a piece of what is judged (title, question, messages, documents: nothing that an AI says
    of it), or ref, a piece of the ref, which does as well.

    Encrypted content cannot be searched: of such a case the title is.
    """
    wanted = matching or {}
    text, ref = clean(wanted.get("text", "")), clean(wanted.get("ref", ""))
    here = [cases.c.queue == queue]
    if before is not None:
        here.append(cases.c.id < before)
    here += [cases.c[name] == wanted[name] for name in ("state", "kind") if name in wanted]
    looked = select(cases.c.id).where(*here).order_by(cases.c.id.desc()).limit(room)
    statement = select(cases).where(cases.c.id.in_(looked.scalar_subquery()))
    if text:
        statement = statement.where(_may_hold(text, ref))
    statement = statement.order_by(cases.c.id.desc()).limit(limit)
    found: list[StoredCase] = []
    rows = connection.execute(statement).all()
    while rows:
        for row in rows:
            case = decode_case(row, cipher)
            named = bool(ref) and _holds(case.ref, ref)
            if not text or named or _says(case, text, opened=not row.sealed):
                found.append(case)
        if len(found) >= limit or len(rows) < limit:
            break
        rows = connection.execute(statement.where(cases.c.id < rows[-1].id)).all()
    if len(found) >= limit:
        return Listed(found[:limit], found[limit - 1].id)
    last = connection.execute(looked.offset(room - 1).limit(1)).scalar_one_or_none()
    return Listed(found, last)


def _may_hold(text: str, ref: str) -> ColumnElement[bool]:
    """Every case that `_says` the text, and some that do not: content is JSON, in which the text
    stands as JSON writes it, beside opinions, which must not be found."""
    written = cases.c.content.ilike(_like(json.dumps(text, ensure_ascii=False)[1:-1]), escape="\\")
    named = [cases.c.title.ilike(_like(text), escape="\\")]
    if ref:
        named.append(cases.c.ref.ilike(_like(ref), escape="\\"))
    return or_(written & (cases.c.sealed == 0), *named)


def _like(text: str) -> str:
    """A pattern of LIKE for whatever holds a piece of text."""
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


def _holds(text: str, piece: str) -> bool:
    return piece.casefold() in text.casefold()


def _says(case: StoredCase, piece: str, *, opened: bool) -> bool:
    """Whether the title holds the piece or, where the content was not encrypted, what is judged."""
    texts = [case.title, *(_judged(case.content) if opened and case.content else ())]
    return any(_holds(text, piece) for text in texts)


def _judged(content: Mapping[str, Any]) -> Iterator[str]:
    """Of a case's content what people read in every arm."""
    yield content.get("question") or ""
    for message in content.get("messages") or ():
        yield message["content"]
    for document in content.get("documents") or ():
        yield document.get("title") or ""
        yield document["text"]


def actions_of(connection: Connection, case_id: int) -> list[tuple[float, str, str, str]]:
    """What was done to a case, oldest first: when, by whom, what, detail (JSON)."""
    rows = connection.execute(
        select(actions.c.at, actions.c.rater, actions.c.what, actions.c.detail)
        .where(actions.c.case_id == case_id)
        .order_by(actions.c.id)
    )
    return [(row.at, row.rater, row.what, row.detail) for row in rows]
