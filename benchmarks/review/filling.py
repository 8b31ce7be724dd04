"""Cases for a big queue: plain, short, harmless."""

from __future__ import annotations

import time

from custodes.review.cases import Case, Opinion, Quote
from custodes.review.config import QueueConfig
from custodes.review.queue import Desk
from custodes.store import connect, migrate
from custodes.types import Message


def cases(count: int, start: int = 0) -> list[Case]:
    return [
        Case(
            ref=f"case-{n}",
            messages=(
                Message("user", f"How do I bake bread number {n}? I have flour and water."),
                Message("assistant", "Mix flour and water. Add salt. Let it rest for an hour. "
                        f"Then bake it at {180 + n % 60} degrees until it is brown."),
            ),
            opinions=(Opinion(source="guard", answer="benign", confidence=0.5 + n % 50 / 100),),
            evidence=(Quote(place="message:1", start=0, end=20, score=1.0),),
        )
        for n in range(start, start + count)
    ]  # fmt: skip


def fill(url: str, count: int, **settings: object) -> float:
    """A queue `bread` with so many cases; seconds that it took."""
    engine = connect(url, timeout=60)
    migrate(engine)
    desk = Desk(engine, now=time.time)
    desk.put("bread", QueueConfig(**settings))
    began = time.perf_counter()
    for start in range(0, count, 5_000):
        desk.add("bread", cases(min(5_000, count - start), start))
    engine.dispose()
    return time.perf_counter() - began
