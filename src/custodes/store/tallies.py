"""Events counted as they come in: by time, judged part, action, mode and rule; latencies by step.

What the console draws is read from these counts, so that it costs the same after a thousand
events and after a billion. They are written in the transaction that adds the events, never more
than two rows of each table an event. The hash chain does not cover them: the events are the
record, these are its summary.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite

from custodes.store.tables import latencies, tallies

__all__ = [
    "WIDTHS",
    "Latency",
    "Tally",
    "add_tallies",
    "bucket_of",
    "latency_of",
    "quantiles",
    "step_of",
]

WIDTHS = (15, 900)
"""Seconds of the buckets that are kept, finest first."""

_FARTHEST = 900_000_000_000
_LOWEST, _HIGHEST = -80, 240
_STEPS = 8
"""Steps of latency between a value and its double: a step is 9 % wide."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How many verdicts of a kind fell in the bucket that begins at `start`.

    `rule` is empty where none was named; `failed`: the guard could not judge.
    """

    start: int
    judged: str
    action: str
    mode: str
    rule: str
    failed: bool
    events: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """How many verdicts of the bucket took about `latency_of(step)` milliseconds."""

    start: int
    judged: str
    step: int
    events: int


def step_of(latency_ms: float) -> int:
    """The step of a latency; what is below 1 µs or above 18 minutes falls in the outermost."""
    if latency_ms <= 0:
        return _LOWEST
    return max(_LOWEST, min(_HIGHEST, math.floor(_STEPS * math.log2(latency_ms))))


def latency_of(step: int) -> float:
    """The middle of a step in milliseconds: within 4.5 % of every latency in it."""
    return float(2.0 ** ((step + 0.5) / _STEPS))


def quantiles(steps: Mapping[int, int], shares: Sequence[float]) -> list[float]:
    """Latency in milliseconds at each share in [0, 1] (nearest rank); `steps` must hold some."""
    order = sorted(steps)
    seen = list(accumulate(steps[step] for step in order))
    ranks = [max(1, math.ceil(share * seen[-1])) for share in shares]
    return [latency_of(order[bisect_left(seen, rank)]) for rank in ranks]


def add_tallies(connection: Connection, rows: Iterable[Mapping[str, Any]]) -> None:
    """Count new rows of `events`; the caller's transaction holds the chain's head."""
    kinds: Counter[tuple[Any, ...]] = Counter()
    steps: Counter[tuple[Any, ...]] = Counter()
    for row in rows:
        step = step_of(row["latency_ms"])
        failed = int(row["failure"] is not None)
        for width in WIDTHS:
            start = bucket_of(row["at"], width)
            kind = (row["judged"], row["action"], row["mode"], row["rule"] or "", failed)
            kinds[width, start, *kind] += 1
            steps[width, start, row["judged"], step] += 1
    _add(connection, tallies, kinds)
    _add(connection, latencies, steps)


def bucket_of(at: float, width: int) -> int:
    """Where the bucket of a time begins."""
    return int(max(-_FARTHEST, min(_FARTHEST, at)) // width * width)


def _add(connection: Connection, table: Table, counts: Mapping[tuple[Any, ...], int]) -> None:
    insert: Callable[[Table], Any]
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement = insert(table)
    statement = statement.on_conflict_do_update(
        index_elements=list(table.primary_key.columns),
        set_={"events": table.c.events + statement.excluded.events},
    )
    names = table.columns.keys()
    rows = [dict(zip(names, (*key, count), strict=True)) for key, count in counts.items()]
    connection.execute(statement, rows)
