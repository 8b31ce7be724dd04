"""What review reads: counts, what a rater holds and gave, rows to analyse.

Functions from a connection to plain values; none of these reads more rows than its arguments
say, but for `counts`, which reads one index.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, func, select, union

from custodes.store.review_cases import RATING, RULING, StoredCase, decode_case
from custodes.store.review_judgments import StoredJudgment, decode_judgment
from custodes.store.review_tables import actions, cases, judgments
from custodes.store.rows import Cipher

__all__ = [
    "Rated",
    "actions_of",
    "answers_in",
    "arms_on",
    "claims_of",
    "counts",
    "first_answers",
    "given_by",
    "held_by",
    "holders_of",
    "is_rated",
    "judgments_of",
    "left_last",
    "next_conflict",
    "rated",
    "recent_of",
]


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


def holders_of(connection: Connection, case_id: int) -> list[str]:
    """Whoever holds a rating of a case."""
    rows = connection.execute(
        select(judgments.c.rater)
        .where(
            judgments.c.case_id == case_id,
            judgments.c.part == RATING,
            judgments.c.state == "held",
        )
        .order_by(judgments.c.rater)
    )
    return list(rows.scalars())


def claims_of(connection: Connection, queue: str, rater: str) -> int:
    """How many cases a rater ever claimed."""
    mine = and_(judgments.c.queue == queue, judgments.c.rater == rater, judgments.c.part == RATING)
    return connection.execute(select(func.count()).where(mine)).scalar_one()


def left_last(connection: Connection, queue: str, rater: str, case_id: int) -> bool:
    """Whether the rater gave this case back and has judged none since."""
    mine = and_(actions.c.case_id == case_id, actions.c.rater == rater)
    last = connection.execute(
        select(actions.c.what, actions.c.at).where(mine).order_by(actions.c.id.desc()).limit(1)
    ).one_or_none()
    if last is None or last.what != "left":
        return False
    given = select(func.max(judgments.c.given)).where(
        judgments.c.queue == queue, judgments.c.rater == rater, judgments.c.state == "given"
    )
    return bool((connection.execute(given).scalar_one() or 0.0) <= last.at)


def first_answers(connection: Connection, queue: str) -> dict[tuple[int, str], str]:
    """(check, rater) -> what the rater said of it before anything was taken back."""
    rows = connection.execute(
        select(actions.c.case_id, actions.c.rater, actions.c.detail)
        .join_from(cases, actions, actions.c.case_id == cases.c.id)
        .where(cases.c.queue == queue, cases.c.kind == "gold", actions.c.what == "gave")
    )
    return {(row.case_id, row.rater): json.loads(row.detail)["answer"] for row in rows}


def given_by(
    connection: Connection, queue: str, rater: str, limit: int, *, cipher: Cipher | None = None
) -> list[Rated]:
    """A rater's last ratings, newest first."""
    return rated(connection, queue, rater=rater, limit=limit, cipher=cipher)


def rated(
    connection: Connection,
    queue: str,
    *,
    limit: int | None,
    rater: str | None = None,
    part: str = RATING,
    cipher: Cipher | None = None,
) -> list[Rated]:
    """Given judgments with their cases, newest first; `cipher` opens titles."""
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
    return [_rated(row, cipher) for row in rows]


def _rated(row: Any, cipher: Cipher | None) -> Rated:
    fields = row._mapping
    ours = {name[2:]: value for name, value in fields.items() if name.startswith("j_")}
    theirs = {name: value for name, value in fields.items() if not name.startswith("j_")}
    return Rated(decode_judgment(Fields(ours)), decode_case(Fields(theirs), cipher, bare=True))


@dataclass(frozen=True, slots=True)
class Fields:
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


def next_conflict(connection: Connection, queue: str, rater: str, *, beyond: int = 0) -> int | None:
    """Lock and name the oldest case in conflict that nobody is settling; `beyond`: later than this
    case."""
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
        .where(
            cases.c.queue == queue,
            cases.c.kind == "case",
            cases.c.state == "conflict",
            cases.c.id > beyond,
            ~busy,
        )
        .order_by(cases.c.id)
        .limit(1)
        .with_for_update(skip_locked=True, of=cases)
    ).scalar_one_or_none()


def actions_of(connection: Connection, case_id: int) -> list[tuple[float, str, str, str]]:
    """What was done to a case, oldest first: when, by whom, what, detail (JSON)."""
    rows = connection.execute(
        select(actions.c.at, actions.c.rater, actions.c.what, actions.c.detail)
        .where(actions.c.case_id == case_id)
        .order_by(actions.c.id)
    )
    return [(row.at, row.rater, row.what, row.detail) for row in rows]
