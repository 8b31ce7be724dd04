"""Judgments in the database: claimed, given, taken back, given back when their time ran out.

The rules of locking stand in `review_cases`. What answers mean is not known here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, insert, select, update

from custodes.errors import DataError
from custodes.store.review_cases import RATING, StoredCase, count_taken, decode_case
from custodes.store.review_tables import actions, cases, judgments
from custodes.store.rows import clean

__all__ = [
    "StoredJudgment",
    "claim_case",
    "decode_judgment",
    "give",
    "judgment_of",
    "keep_claims",
    "leave",
    "note_action",
    "sweep",
    "take_back",
    "touch",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredJudgment:
    """One person's part in a case; see `review_tables`."""

    case_id: int
    part: str
    rater: str
    queue: str
    state: str
    arm: str
    claimed: float
    until: float
    shown: float | None
    first_answer: str | None
    first_confidence: float | None
    revealed: float | None
    draft: Mapping[str, Any]
    answer: str | None
    confidence: float | None
    note: str | None
    seconds: float | None
    given: float | None
    changes: int


def judgment_of(
    connection: Connection, case_id: int, part: str, rater: str
) -> StoredJudgment | None:
    """One person's part in a case."""
    row = connection.execute(select(judgments).where(*_key(case_id, part, rater))).one_or_none()
    return None if row is None else decode_judgment(row)


def claim_case(
    connection: Connection,
    case: StoredCase,
    *,
    part: str,
    rater: str,
    arm: str,
    now: float,
    until: float,
) -> bool:
    """Hold a locked case for a rater until a time; False where that rater has judged it."""
    before = judgment_of(connection, case.id, part, rater)
    if before is not None and before.state == "given":
        return False
    if before is None:
        values = {"case_id": case.id, "part": part, "rater": clean(rater), "queue": case.queue}
        held = {"state": "held", "arm": arm, "claimed": now, "until": until, "changes": 0}
        connection.execute(insert(judgments).values(**values, **held))
    else:  # the arm of the first claim stays
        again = {"shown": None} if before.state == "left" else {}
        connection.execute(
            update(judgments)
            .where(*_key(case.id, part, rater))
            .values(state="held", claimed=now, until=until, **again)
        )
    if before is None or before.state == "left":
        _count(connection, case, part, 1)
    return True


def keep_claims(
    connection: Connection, queue: str, rater: str, *, until: float, enough: float
) -> None:
    """Hold whatever a rater holds until a later time, but for what is held until `enough` (a page
    that is only looked at writes nothing) and for what somebody has locked.

    Passing over locked cases, as sweeps do, keeps two who hold several from waiting in a circle.
    """
    short = and_(
        judgments.c.queue == queue,
        judgments.c.rater == clean(rater),
        judgments.c.part == RATING,
        judgments.c.state == "held",
        judgments.c.until < enough,
    )
    ids = connection.execute(select(judgments.c.case_id).where(short)).scalars().all()
    if ids:
        free = select(cases.c.id).where(cases.c.id.in_(ids)).with_for_update(skip_locked=True)
        locked = connection.execute(free).scalars().all()
        connection.execute(
            update(judgments).where(short, judgments.c.case_id.in_(locked)).values(until=until)
        )


def touch(connection: Connection, case_id: int, part: str, rater: str, **values: Any) -> None:
    """Note something of a judgment that is held: shown, revealed, first_answer, draft, until."""
    if "draft" in values:
        values["draft"] = json.dumps(values["draft"])
    connection.execute(
        update(judgments)
        .where(*_key(case_id, part, rater), judgments.c.state == "held")
        .values(**{k: clean(v) if isinstance(v, str) else v for k, v in values.items()})
    )


def give(
    connection: Connection,
    case: StoredCase,
    *,
    part: str,
    rater: str,
    answer: Mapping[str, Any],
    now: float,
) -> None:
    """Give a judgment on a locked case: held or left before, or given and now changed.

    `answer`: answer, confidence, note, seconds.
    """
    before = judgment_of(connection, case.id, part, rater)
    if before is None:
        raise DataError(f"case {case.id} was never claimed by {rater}")
    connection.execute(
        update(judgments)
        .where(*_key(case.id, part, rater))
        .values(
            state="given",
            given=now,
            draft=None,
            changes=before.changes + (before.given is not None),
            **{k: clean(v) if isinstance(v, str) else v for k, v in answer.items()},
        )
    )
    if before.state == "left":
        _count(connection, case, part, 1)


def take_back(
    connection: Connection, case: StoredCase, rater: str, *, now: float, until: float
) -> None:
    """Turn a given rating on a locked case into a held one, its answer into a draft.

    Its seconds stay, to which those of the next sitting are added; the pause is none of either.
    """
    before = judgment_of(connection, case.id, RATING, rater)
    if before is None or before.state != "given":
        raise DataError(f"case {case.id} has no rating of {rater} to take back")
    draft = {"answer": before.answer, "confidence": before.confidence, "note": before.note}
    connection.execute(
        update(judgments)
        .where(*_key(case.id, RATING, rater))
        .values(
            state="held", claimed=now, until=until, shown=None,
            answer=None, confidence=None, note=None,
            draft=json.dumps(draft),
        )
    )  # fmt: skip


def leave(connection: Connection, case: StoredCase, part: str, rater: str) -> None:
    """Give a held, locked case back unjudged; its draft stays."""
    changed = connection.execute(
        update(judgments)
        .where(*_key(case.id, part, rater), judgments.c.state == "held")
        .values(state="left")
    )
    if changed.rowcount:
        _count(connection, case, part, -1)


def sweep(connection: Connection, queue: str, *, now: float, most: int = 50) -> int:
    """Give back claims that ran out; returns how many. Cases that somebody locks are left."""
    ran_out = and_(judgments.c.queue == queue, judgments.c.state == "held", judgments.c.until < now)
    found = connection.execute(
        select(judgments.c.case_id, judgments.c.part, judgments.c.rater)
        .where(ran_out)
        .order_by(judgments.c.until)
        .limit(most)
    ).all()
    given_back = 0
    for row in found:
        free = select(cases).where(cases.c.id == row.case_id).with_for_update(skip_locked=True)
        stored = connection.execute(free).one_or_none()
        if stored is None:
            continue
        still = judgment_of(connection, row.case_id, row.part, row.rater)
        if still is None or still.state != "held" or still.until >= now:
            continue
        case = decode_case(stored, None, bare=True)
        leave(connection, case, row.part, row.rater)
        note_action(connection, case, row.rater, "expired", {"part": row.part}, now=now)
        given_back += 1
    return given_back


def note_action(
    connection: Connection,
    case: StoredCase,
    rater: str,
    what: str,
    detail: Mapping[str, Any],
    *,
    now: float,
) -> None:
    """Write down what somebody did."""
    row = {"at": now, "queue": case.queue, "case_id": case.id, "rater": clean(rater), "what": what}
    connection.execute(insert(actions).values(**row, detail=json.dumps(dict(detail))))


def _key(case_id: int, part: str, rater: str) -> tuple[Any, ...]:
    return (
        judgments.c.case_id == case_id,
        judgments.c.part == part,
        judgments.c.rater == clean(rater),
    )


def _count(connection: Connection, case: StoredCase, part: str, by: int) -> None:
    """A ruling takes no rater's place."""
    if part == RATING:
        count_taken(connection, case.id, by)


def decode_judgment(row: Any) -> StoredJudgment:
    """A row of `review_judgments`."""
    values = dict(row._mapping)
    values["draft"] = json.loads(values["draft"]) if values["draft"] else {}
    return StoredJudgment(**values)
