"""What the console reads of events: counts, pages, one event, the state of the chain.

`MemoryRecords` reads what a gateway without a database remembers; with one it is
`persistence.DatabaseRecords`. Knows no HTML.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol

from custodes.server.events import MemorySink
from custodes.store import (
    Checkpoint,
    Event,
    Latency,
    StoredEvent,
    Tally,
    Verified,
    bucket_of,
    step_of,
)

__all__ = ["ROOM", "Chain", "MemoryRecords", "Page", "Records", "Window"]

ROOM = 100_000
"""Events that one page looks through at most, where its filters have no index of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Seconds [since, until) in buckets of `bucket`; `since` is a multiple of it."""

    since: int
    until: int
    bucket: int

    @classmethod
    def last(cls, seconds: int, *, now: float, bucket: int) -> Window:
        """The last `seconds` and the bucket that has just begun."""
        until = (int(now) // bucket + 1) * bucket
        return cls(since=until - seconds, until=until, bucket=bucket)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Events, newest first. `older`: ask again with `before` this, None at the beginning of all.

    `searched`: every event from this place on was looked at, so a short page may have older ones.
    """

    events: Sequence[StoredEvent]
    older: int | None
    searched: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """The end of the hash chain and what came of the last verification; no `head`: no chain."""

    head: Checkpoint | None = None
    verified: Verified | None = None


class Records(Protocol):
    """Reads events; `StoreError` where they cannot be had."""

    async def tallies(self, window: Window) -> list[Tally]:
        """Verdicts by time and kind."""
        ...

    async def latencies(self, window: Window) -> list[Latency]:
        """Verdicts by time and latency."""
        ...

    async def page(
        self, limit: int, *, before: int | None = None, matching: Mapping[str, str]
    ) -> Page:
        """The newest events before a place, by the filters of `store.FILTERS`; without texts."""
        ...

    async def event(self, seq: int, *, with_text: bool) -> StoredEvent | None:
        """One event; its text only where that was asked for and can be decrypted."""
        ...

    async def versions(self) -> Sequence[Mapping[str, str]]:
        """Which constitutions and artifacts judged the last thousand events, latest first."""
        ...

    async def key_names(self) -> Mapping[str, str]:
        """Id of a key -> whose it is."""
        ...

    async def chain(self) -> Chain:
        """How the chain stands."""
        ...

    async def verify(self, key: str) -> None:
        """Verify the whole chain and remember what came of it; `key` asked for it."""
        ...


class MemoryRecords:
    """Reads a sink in memory; a place is the number of events that had been recorded by then."""

    def __init__(self, sink: MemorySink) -> None:
        self._sink = sink

    async def tallies(self, window: Window) -> list[Tally]:
        """Counts every event that is remembered."""
        counts = Counter(
            (
                bucket_of(e.at, window.bucket),
                e.judged,
                e.action,
                e.mode,
                e.rule or "",
                bool(e.failure),
            )
            for e in self._within(window)
        )
        return [
            Tally(
                start=start,
                judged=judged,
                action=action,
                mode=mode,
                rule=rule,
                failed=failed,
                events=n,
            )
            for (start, judged, action, mode, rule, failed), n in sorted(counts.items())
        ]

    async def latencies(self, window: Window) -> list[Latency]:
        """Counts every event that is remembered."""
        counts = Counter(
            (bucket_of(e.at, window.bucket), e.judged, step_of(e.latency_ms))
            for e in self._within(window)
        )
        return [
            Latency(start=start, judged=judged, step=step, events=n)
            for (start, judged, step), n in sorted(counts.items())
        ]

    async def page(
        self, limit: int, *, before: int | None = None, matching: Mapping[str, str]
    ) -> Page:
        """Looks through all that is remembered."""
        first = self._sink.forgotten + 1
        last = first + len(self._sink.events) - 1
        start = last if before is None else min(last, before - 1)
        found = (
            self._stored(seq, event)
            for seq in range(start, first - 1, -1)
            if (event := self._sink.events[seq - first])
            and all(getattr(event, name) == value for name, value in matching.items())
        )
        events = list(islice(found, limit))
        older = events[-1].seq if len(events) == limit and events[-1].seq > first else None
        return Page(events=events, older=older, searched=first)

    async def event(self, seq: int, *, with_text: bool) -> StoredEvent | None:
        """One that is still remembered."""
        place = seq - self._sink.forgotten - 1
        if not 0 <= place < len(self._sink.events):
            return None
        return self._stored(seq, self._sink.events[place], with_text=with_text)

    async def versions(self) -> Sequence[Mapping[str, str]]:
        """Of the last thousand."""
        found: list[Mapping[str, str]] = []
        for event in reversed(self._sink.events[-1000:]):
            if event.versions not in found:
                found.append(event.versions)
        return found

    async def key_names(self) -> Mapping[str, str]:
        """None has a name here."""
        return {}

    async def chain(self) -> Chain:
        """There is none in memory."""
        return Chain()

    async def verify(self, key: str) -> None:
        """Nothing to verify."""

    def _within(self, window: Window) -> list[Event]:
        return [e for e in self._sink.events if window.since <= e.at < window.until]

    def _stored(self, seq: int, event: Event, *, with_text: bool = False) -> StoredEvent:
        sealed = event.text is not None
        shown = event if with_text else replace(event, text=None)
        return StoredEvent(seq=seq, hash="", sealed=sealed, event=shown)
