"""Lists of cases: by state and by a piece of what is judged, as an admin or a rater may see them.

Functions from a connection to plain values; no page reads more rows than its `room`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Label, and_, or_, select
from sqlalchemy import case as sql_case

from custodes.store.review_cases import RATING, StoredCase, decode_case
from custodes.store.review_queries import Fields
from custodes.store.review_tables import cases, judgments
from custodes.store.rows import Cipher, clean

__all__ = ["Listed", "list_cases"]


@dataclass(frozen=True, slots=True)
class Listed:
    """A page of cases, newest first; `older`: the id to go on before, None at the end."""

    cases: list[StoredCase]
    older: int | None


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
    of it), or ref, a piece of the ref, which does as well. What is encrypted cannot be searched.

    `reader` among `matching`: a rater who may not tell a check from a case. To them it is done,
    with their own answer, once they and as many as a case takes judged it.
    """
    wanted = matching or {}
    text, ref = clean(wanted.get("text", "")), clean(wanted.get("ref", ""))
    here = [cases.c.queue == queue]
    if before is not None:
        here.append(cases.c.id < before)
    if "kind" in wanted:
        here.append(cases.c.kind == wanted["kind"])
    reader = wanted.get("reader")
    own = _own_answer(reader)
    if "state" in wanted:
        here.append(_state_to(reader, own) == wanted["state"])
    looked = select(cases.c.id).where(*here).order_by(cases.c.id.desc()).limit(room)
    statement = select(cases, own).where(cases.c.id.in_(looked.scalar_subquery()))
    if text:
        statement = statement.where(_may_hold(text, ref))
    statement = statement.order_by(cases.c.id.desc()).limit(limit)
    found: list[StoredCase] = []
    rows = connection.execute(statement).all()
    while rows:
        for row in rows:
            fields = dict(row._mapping)
            answer = fields.pop("own")
            case = decode_case(Fields(fields), cipher)
            named = bool(ref) and _holds(case.ref, ref)
            if not text or named or (not row.sealed and _says(case, text)):
                found.append(case if reader is None else _as_a_case(case, answer))
        if len(found) >= limit or len(rows) < limit:
            break
        rows = connection.execute(statement.where(cases.c.id < rows[-1].id)).all()
    if len(found) >= limit:
        return Listed(found[:limit], found[limit - 1].id)
    last = connection.execute(looked.offset(room - 1).limit(1)).scalar_one_or_none()
    return Listed(found, last)


def _own_answer(reader: str | None) -> Label[Any]:
    """What the reader said of a case, where that is given."""
    given = select(judgments.c.answer).where(
        judgments.c.case_id == cases.c.id,
        judgments.c.part == RATING,
        judgments.c.rater == (reader or ""),
        judgments.c.state == "given",
    )
    return given.scalar_subquery().label("own")


def _state_to(reader: str | None, own: Label[Any]) -> ColumnElement[str]:
    """The state that the reader may know of; see `_as_a_case`."""
    if reader is None:
        return cases.c.state
    full = and_(cases.c.kind == "gold", own.element.is_not(None), cases.c.taken >= cases.c.needed)
    return sql_case((full, "done"), else_=cases.c.state)


def _as_a_case(case: StoredCase, own: str | None) -> StoredCase:
    """A check as a case that looks like others to whoever said `own` of it, or nothing yet."""
    if case.kind != "gold":
        return case
    done = own is not None and case.taken >= case.needed
    return replace(
        case,
        kind="case",
        gold=None,
        state="done" if done else "open",
        answer=own if done else None,
        settled_by="agreement" if done else None,
        taken=case.needed if done else min(case.taken, case.needed - 1),
    )


def _may_hold(text: str, ref: str) -> ColumnElement[bool]:
    """Every case that `_says` the text, and some that do not: content is JSON, in which the text
    stands as JSON writes it, beside opinions, which must not be found.

    But for letters that fold to those of ASCII (ß to ss, the Kelvin sign to k): those are found as
    they are written alone.
    """
    written = cases.c.content.ilike(_like(json.dumps(text, ensure_ascii=False)[1:-1]), escape="\\")
    plain = written | cases.c.title.ilike(_like(text), escape="\\")
    named = [cases.c.ref.ilike(_like(ref), escape="\\")] if ref else []
    return or_(plain & (cases.c.sealed == 0), *named)


def _like(text: str) -> str:
    """A pattern of LIKE for whatever holds a piece of text. SQLite knows upper and lower case in
    ASCII alone, so that any letters may stand where others have both."""
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{''.join(letter if _is_one(letter) else '%' for letter in escaped)}%"


def _is_one(letter: str) -> bool:
    return letter.isascii() or letter.upper() == letter.lower() == letter.casefold()


def _holds(text: str, piece: str) -> bool:
    return piece.casefold() in text.casefold()


def _says(case: StoredCase, piece: str) -> bool:
    """Whether the title or what is judged holds the piece."""
    texts = [case.title, *(_judged(case.content) if case.content else ())]
    return any(_holds(text, piece) for text in texts)


def _judged(content: Mapping[str, Any]) -> Iterator[str]:
    """Of a case's content what people read in every arm."""
    yield content.get("question") or ""
    for message in content.get("messages") or ():
        yield message["content"]
    for document in content.get("documents") or ():
        yield document.get("title") or ""
        yield document["text"]
