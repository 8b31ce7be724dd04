"""What the console and the audit read: functions from a connection to plain values.

All times are seconds since 1970, as the events carry them; windows are [since, until). Order and
paging go by `seq`, which no clock can turn back. None of these reads more rows than its
arguments say.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, desc, func, insert, select

from custodes.errors import InputError
from custodes.store.chain import Checkpoint, Fault, Verification
from custodes.store.rows import Cipher, StoredEvent, clean, decode
from custodes.store.tables import events, latencies, tallies, verifications
from custodes.store.tallies import WIDTHS, Latency, Tally

__all__ = [
    "FILTERS",
    "Verified",
    "event_at",
    "last_verified",
    "latencies_in",
    "latest",
    "note_verified",
    "stream",
    "tallies_in",
    "versions_in_use",
]

FILTERS = ("action", "rule", "key", "route")
"""The columns that `latest` can be asked for; all but `route` have an index."""


def tallies_in(connection: Connection, *, since: int, until: int, bucket: int) -> list[Tally]:
    """Verdicts by time and kind, oldest first, in buckets of `bucket` seconds from `since` on.

    Empty buckets are left out. `since` must be a multiple of `bucket`, and `bucket` of the finest
    width that is kept; `InputError` otherwise.
    """
    t = tallies.c
    kinds = (t.judged, t.action, t.mode, t.rule, t.failed)
    number, window = _buckets(tallies, since, until, bucket)
    query = (
        select(number, *kinds, func.sum(t.events).label("n"))
        .where(*window)
        .group_by(number, *kinds)
        .order_by(number, *kinds)
    )
    return [
        Tally(
            start=since + row.number * bucket,
            judged=row.judged,
            action=row.action,
            mode=row.mode,
            rule=row.rule,
            failed=bool(row.failed),
            events=int(row.n),
        )
        for row in connection.execute(query)
    ]


def latencies_in(connection: Connection, *, since: int, until: int, bucket: int) -> list[Latency]:
    """Verdicts by time, judged part and step of latency; on the same terms as `tallies_in`."""
    t = latencies.c
    number, window = _buckets(latencies, since, until, bucket)
    query = (
        select(number, t.judged, t.step, func.sum(t.events).label("n"))
        .where(*window)
        .group_by(number, t.judged, t.step)
        .order_by(number, t.judged, t.step)
    )
    return [
        Latency(
            start=since + row.number * bucket, judged=row.judged, step=row.step, events=int(row.n)
        )
        for row in connection.execute(query)
    ]


def _buckets(
    table: Table, since: int, until: int, bucket: int
) -> tuple[Any, tuple[ColumnElement[bool], ...]]:
    fitting = [width for width in WIDTHS if bucket > 0 and bucket % width == 0]
    if not fitting or since % bucket:
        raise InputError(
            f"buckets: got {bucket} s from {since} on, expected a multiple of {WIDTHS[0]} s that "
            "divides the beginning"
        )
    number = ((table.c.start - since) // bucket).label("number")
    window = (
        table.c.width == fitting[-1],
        table.c.start >= since,
        table.c.start < until,
    )
    return number, window


def latest(
    connection: Connection,
    limit: int = 50,
    *,
    before: int | None = None,
    after: int = 0,
    matching: Mapping[str, str] | None = None,
    cipher: Cipher | None = None,
) -> list[StoredEvent]:
    """The last events with `after` < seq < `before`, newest first.

    `matching`: column (of `FILTERS`) -> the value that it must have. One indexed filter finds its
    events at once; for more of them set `after`, or all between may have to be looked at.
    """
    query = select(events).order_by(events.c.seq.desc()).limit(limit)
    for name, value in (matching or {}).items():
        if name not in FILTERS:
            raise InputError(f"filter: got {name!r}, expected one of {', '.join(FILTERS)}")
        query = query.where(events.c[name] == clean(value))
    if before is not None:
        query = query.where(events.c.seq < before)
    if after > 0:
        query = query.where(events.c.seq > after)
    return [decode(row._asdict(), cipher) for row in connection.execute(query)]


def event_at(
    connection: Connection, seq: int, *, cipher: Cipher | None = None
) -> StoredEvent | None:
    """One event by its place in the chain."""
    if not 0 < seq < 2**63:
        return None
    row = connection.execute(select(events).where(events.c.seq == seq)).one_or_none()
    return None if row is None else decode(row._asdict(), cipher)


def stream(
    connection: Connection, *, after: int = 0, cipher: Cipher | None = None
) -> Iterator[StoredEvent]:
    """Every event with a larger `seq` than `after`, oldest first, a few in memory at a time."""
    query = select(events).where(events.c.seq > after).order_by(events.c.seq)
    with connection.execute(query.execution_options(yield_per=1_000)) as rows:
        for row in rows:
            yield decode(row._asdict(), cipher)


def versions_in_use(connection: Connection, among: int = 10_000) -> list[Mapping[str, str]]:
    """The versions (constitution, artifact) of the last `among` events, latest first."""
    last = _last(among).subquery()
    query = select(last.c.versions).group_by(last.c.versions).order_by(func.max(last.c.seq).desc())
    return [json.loads(text) for text in connection.scalars(query)]


def _last(among: int) -> Select[tuple[int, str]]:
    return select(events.c.seq, events.c.versions).order_by(events.c.seq.desc()).limit(among)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What came of verifying the whole chain: when, for which key, how long it took."""

    at: float
    key: str
    seconds: float
    outcome: Verification


def note_verified(connection: Connection, verified: Verified) -> None:
    """Remember an outcome for whoever looks next."""
    outcome = verified.outcome
    connection.execute(
        insert(verifications).values(
            at=verified.at,
            key=clean(verified.key),
            seconds=verified.seconds,
            rows=outcome.rows,
            last_seq=outcome.last.seq,
            last_hash=outcome.last.hash,
            first_bad=outcome.first_bad,
            kind=outcome.kind,
        )
    )


def last_verified(connection: Connection) -> Verified | None:
    """The latest outcome."""
    row = connection.execute(
        select(verifications).order_by(desc(verifications.c.at)).limit(1)
    ).one_or_none()
    if row is None:
        return None
    outcome = Verification(
        rows=row.rows,
        last=Checkpoint(row.last_seq, row.last_hash),
        first_bad=row.first_bad,
        kind=None if row.kind is None else Fault(row.kind),
    )
    return Verified(at=row.at, key=row.key, seconds=row.seconds, outcome=outcome)
