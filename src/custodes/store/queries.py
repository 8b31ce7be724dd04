"""What the console and the audit read: functions from a connection to plain values.

All times are seconds since 1970, as the events carry them; windows are [since, until). Order and
paging go by `seq`, which no clock can turn back.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import BigInteger, ColumnElement, Connection, Select, cast, func, select

from custodes.store.rows import Cipher, StoredEvent, clean, decode
from custodes.store.tables import events

__all__ = ["Count", "counts", "latencies", "latest", "stream", "versions_in_use"]


@dataclass(frozen=True, slots=True)
class Count:
    """How many events of a rule and an action fell in the bucket that begins at `start`."""

    start: float
    action: str
    rule: str | None
    events: int


def counts(connection: Connection, *, since: float, until: float, bucket: float) -> list[Count]:
    """Events by time, action and rule; buckets of `bucket` seconds begin at `since`.

    Empty buckets are left out. Rows come by time, then action, then rule (no rule first).
    """
    number = cast(func.floor((events.c.at - since) / bucket), BigInteger)
    query = (
        select(number, events.c.action, events.c.rule, func.count())
        .where(*_window(since, until))
        .group_by(number, events.c.action, events.c.rule)
    )
    rows = [
        Count(since + n * bucket, action, rule, m)
        for n, action, rule, m in connection.execute(query)
    ]
    return sorted(rows, key=lambda c: (c.start, c.action, c.rule is not None, c.rule or ""))


def latencies(
    connection: Connection, *, since: float, until: float, quantiles: Sequence[float]
) -> dict[float, float]:
    """Latency in milliseconds at each quantile in [0, 1] (nearest rank); empty without events."""
    window = _window(since, until)
    total = connection.scalar(select(func.count()).where(*window)) or 0
    if not total:
        return {}
    ranks = {q: max(1, -int(-q * total // 1)) for q in quantiles}
    ordered = (
        select(
            events.c.latency_ms, func.row_number().over(order_by=events.c.latency_ms).label("rank")
        )
        .where(*window)
        .subquery()
    )
    query = select(ordered.c.rank, ordered.c.latency_ms).where(
        ordered.c.rank.in_(set(ranks.values()))
    )
    found = {row.rank: row.latency_ms for row in connection.execute(query)}
    return {q: found[rank] for q, rank in ranks.items()}


def latest(
    connection: Connection,
    limit: int = 50,
    *,
    before: int | None = None,
    action: str | None = None,
    rule: str | None = None,
    cipher: Cipher | None = None,
) -> list[StoredEvent]:
    """The last events, newest first; `before`: only those with a smaller `seq` (the next page)."""
    query = select(events).order_by(events.c.seq.desc()).limit(limit)
    for column, value in ((events.c.action, action), (events.c.rule, rule)):
        if value is not None:
            query = query.where(column == clean(value))
    if before is not None:
        query = query.where(events.c.seq < before)
    return [decode(row._asdict(), cipher) for row in connection.execute(query)]


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


def _window(since: float, until: float) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return events.c.at >= since, events.c.at < until
