"""From verdicts to events: what is recorded of a request, and where to.

A sink acknowledges an event when it is safe. Nobody waits for that on the hot path; an event
that could not be recorded is counted, logged, and makes the gateway unready.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from custodes.errors import CustodesError
from custodes.server.wire.base import Ruling
from custodes.store.events import Event

__all__ = ["EventSink", "MemorySink", "Origin", "Recorder", "describe", "wordless"]


class EventSink(Protocol):
    """Where events are kept."""

    async def record(self, event: Event) -> object:
        """Returns when the event is safe; `CustodesError` or `OSError` where it cannot be kept."""
        ...

    async def close(self) -> None:
        """Make sure of everything that was given."""
        ...


class MemorySink:
    """Keeps the last events in memory: for tests, and for gateways without a database."""

    def __init__(self, *, remember: int = 10_000) -> None:
        self.events: list[Event] = []
        self.forgotten = 0
        self._remember = remember

    async def record(self, event: Event) -> None:
        """Keep one event, forget the oldest."""
        self.events.append(event)
        surplus = max(0, len(self.events) - self._remember)
        del self.events[:surplus]
        self.forgotten += surplus

    async def close(self) -> None:
        """Nothing is pending."""


class Recorder:
    """Hands events to a sink in the background and remembers whether that works.

    `on_loss` is told of every event that could not be recorded.
    """

    def __init__(self, sink: EventSink, *, on_loss: Callable[[Event, BaseException], None]) -> None:
        self._sink = sink
        self._on_loss = on_loss
        self._pending: set[asyncio.Task[None]] = set()
        self.healthy = True

    def record(self, event: Event) -> None:
        """Begin to record one event."""
        task = asyncio.get_running_loop().create_task(self._record(event))
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)

    async def _record(self, event: Event) -> None:
        try:
            await self._sink.record(event)
            self.healthy = True
        except (CustodesError, OSError) as error:
            self.healthy = False
            self._on_loss(event, error)

    async def close(self) -> None:
        """Wait for every event, then close the sink."""
        while self._pending:
            await asyncio.gather(*self._pending)
        await self._sink.close()


@dataclass(frozen=True, slots=True)
class Origin:
    """Which key asked which route, and what verdicts do to its traffic."""

    key: str
    route: str
    mode: str


def wordless(failure: str) -> str:
    """A failure without an exception's own words, which may quote what it could not judge."""
    return re.sub(r"(raised \w+):.*", r"\1", failure, flags=re.DOTALL)


def describe(
    ruling: Ruling, *, id_: str, at: float, origin: Origin, latency_ms: float, text: str | None
) -> Event:
    """The event of one verdict; `text` None: of a failure no words but the guard's own are kept."""
    verdict = ruling.verdict
    failure = verdict.failure
    if failure is not None and text is None:
        failure = wordless(failure)
    return Event(
        id=id_,
        at=at,
        key=origin.key,
        route=origin.route,
        mode=origin.mode,
        judged=verdict.mode.value,
        action=verdict.action.value,
        rule=verdict.rule,
        score=verdict.score,
        logits=dict(ruling.logits),
        versions={"constitution": verdict.constitution, "artifact": verdict.artifact},
        latency_ms=latency_ms,
        stop_at=ruling.stop_at,
        failure=failure,
        text=text,
    )
