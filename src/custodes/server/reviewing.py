"""Review as a gateway sees it: the desk on other threads, and what verdicts put on it.

The uncertain band of the guard's verdicts goes to people, and a random share of the rest, so that
what the guard is sure of is looked at too. Knows no HTML.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from custodes.errors import CustodesError
from custodes.review.cases import Case, Quote, hash_of
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
_REMEMBERED = 10_000
"""Hashes of turns that were offered lately, so that those which come again cost nothing."""


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
        self._put: Counter[str] = Counter()
        self._made = False
        self._seen: OrderedDict[int, None] = OrderedDict()

    def why(self, event: Event) -> str | None:
        """uncertain, audit, or None where people are not asked."""
        if event.failure is not None:
            return None  # the score says nothing of the text
        if self.config.low <= event.score <= self.config.high:
            return "uncertain"
        return "audit" if self._chance() < self.config.audit else None

    async def offer(self, event: Event, verdict: Verdict, said: Conversation) -> None:
        """Put one verdict on the desk if the policy wants it there: on the last turn of `said`.

        Audits have an hour's number of their own: if uncertain cases could use it up, audits would
        come from quiet times alone, and rates measured on them be off.
        Clients send a conversation again with every turn; what is there already counts for none.
        """
        origin = self.why(event)
        hour = int(event.at // 3600)
        if hour != self._hour:
            self._hour = hour
            self._put.clear()
        if origin is None or not said or self._put[origin] >= self.config.per_hour:
            return
        turns = hash(said)
        if turns in self._seen:
            return
        self._seen[turns] = None
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        self._put[origin] += 1
        try:
            new = await self._reviews.run(
                lambda desk: self._add(desk, event, verdict, said, origin)
            )
        except CustodesError as error:
            self.lost += 1
            self._seen.pop(turns, None)
            _log.error("a case for review was lost", extra={"fields": {"why": str(error)}})
            return
        if not new and hour == self._hour:  # it was there before this process began
            self._put[origin] -= 1

    def _add(
        self, desk: Desk, event: Event, verdict: Verdict, said: Conversation, origin: str
    ) -> int:
        queue = self.config.queue
        if not self._made and queue not in desk.queues():
            desk.put(queue, QueueConfig())
        self._made = True
        case = case_of_verdict(event, verdict, said, desk.config(queue))
        return desk.add(queue, [case], origin=origin)


def case_of_verdict(event: Event, verdict: Verdict, said: Conversation, queue: QueueConfig) -> Case:
    """A verdict as a case: the guard's view first, then each stage's own."""
    why = f"The rule that fits best is {verdict.rule}." if verdict.rule else ""
    view = opinion_of("guard", event.score, queue, reasoning=why)
    evidence: tuple[Quote, ...] = ()
    if verdict.span is not None and 0 <= verdict.span[0] < verdict.span[1] <= len(said[-1].content):
        place = f"message:{len(said) - 1}"
        evidence = (Quote(place=place, start=verdict.span[0], end=verdict.span[1], score=1.0),)
    return Case(
        ref=f"judged-{hash_of(said)}",  # judged again, it is the same case
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
