"""Review as a gateway sees it: the desk on other threads, and what verdicts put on it.

The uncertain band of the guard's verdicts goes to people, and a random share of the rest, so that
what the guard is sure of is looked at too. Knows no HTML.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from custodes.errors import CustodesError
from custodes.review.cases import Case, Quote
from custodes.review.config import QueueConfig
from custodes.review.queue import Desk, Progress
from custodes.review.views import opinion_of, stage_opinions
from custodes.server.config import FeedConfig
from custodes.store.events import Event
from custodes.types import Conversation

if TYPE_CHECKING:
    from custodes.review.overview import QueueAgreement
    from custodes.types import Verdict

__all__ = ["Feed", "Reviews"]

ResultT = TypeVar("ResultT")

_log = logging.getLogger("custodes.server")
_FRESH = 3.0
"""Seconds for which a count of cases is good enough."""


class Reviews:
    """The desk for coroutines, with counts remembered for seconds.

    At most four things at a time, so that review leaves threads to the gateway. `agreements`: what
    was computed last of each queue, when, and why there is none; `computing`: what is at work.
    """

    def __init__(self, desk: Desk, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.desk = desk
        self._clock = clock
        self._room = asyncio.Semaphore(4)
        self.agreements: dict[str, tuple[QueueAgreement | None, float, str]] = {}
        self.computing: set[str] = set()
        self._counted: dict[str, tuple[float, Progress]] = {}

    async def run(self, work: Callable[[Desk], ResultT]) -> ResultT:
        """Do something at the desk on another thread."""
        async with self._room:
            return await asyncio.to_thread(work, self.desk)

    async def progress(self, queue: str) -> Progress:
        """How far a queue is, seconds ago at most."""
        until, found = self._counted.get(queue, (0.0, None))
        if found is None or self._clock() >= until:
            found = await self.run(lambda desk: desk.progress(queue))
            self._counted[queue] = (self._clock() + _FRESH, found)
        return found


class Feed:
    """Puts verdicts on the desk, by policy; what cannot be put there is counted and logged."""

    def __init__(
        self, config: FeedConfig, reviews: Reviews, *, chance: Callable[[], float] = random.random
    ) -> None:
        self.config = config
        self.lost = 0
        self._reviews = reviews
        self._chance = chance
        self._hour = 0
        self._put = 0
        self._queue: QueueConfig | None = None

    def why(self, event: Event) -> str | None:
        """uncertain, audit, or None where people are not asked."""
        if event.failure is not None:
            return None  # the score says nothing of the text
        if self.config.low <= event.score <= self.config.high:
            return "uncertain"
        return "audit" if self._chance() < self.config.audit else None

    async def offer(self, event: Event, verdict: Verdict, said: Conversation) -> None:
        """Put one verdict on the desk if the policy wants it there."""
        origin = self.why(event)
        hour = int(event.at // 3600)
        if hour != self._hour:
            self._hour, self._put = hour, 0
        if origin is None or not said or self._put >= self.config.per_hour:
            return
        self._put += 1
        try:
            if self._queue is None:
                self._queue = await self._reviews.run(self._open)
            case = case_of_verdict(event, verdict, said, self._queue)
            await self._reviews.run(lambda desk: desk.add(self.config.queue, [case], origin=origin))
        except CustodesError as error:
            self.lost += 1
            _log.error("a case for review was lost", extra={"fields": {"why": str(error)}})

    def _open(self, desk: Desk) -> QueueConfig:
        if self.config.queue not in desk.queues():
            desk.put(self.config.queue, QueueConfig())
        return desk.config(self.config.queue)


def case_of_verdict(event: Event, verdict: Verdict, said: Conversation, queue: QueueConfig) -> Case:
    """A verdict as a case: the guard's view first, then each stage's own."""
    why = f"The rule that fits best is {verdict.rule}." if verdict.rule else ""
    view = opinion_of("guard", event.score, queue, reasoning=why)
    evidence: tuple[Quote, ...] = ()
    if verdict.span is not None and 0 <= verdict.span[0] < verdict.span[1] <= len(said[-1].content):
        place = f"message:{len(said) - 1}"
        evidence = (Quote(place=place, start=verdict.span[0], end=verdict.span[1], score=1.0),)
    return Case(
        ref=event.id,
        messages=said,
        opinions=(view, *stage_opinions(event.logits, queue)),
        evidence=evidence,
        slice=event.judged,  # a rule is named only where the guard acted, and cards show slices
        meta={
            "event": event.id,
            "key": event.key,
            "rule": event.rule,
            "judged": event.judged,
            "score": event.score,
            "versions": dict(event.versions),
        },
    )
