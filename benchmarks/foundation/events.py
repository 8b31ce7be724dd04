"""A week of verdicts in SQLite: what it costs to record them, to look at them, to verify them."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from timing import processor_seconds, rate, times

from custodes.server.console.overview import SPANS, overview, window_of
from custodes.store import (
    Event,
    EventLog,
    connect,
    latencies_in,
    latest,
    migrate,
    reading,
    snapshot,
    tallies_in,
    verify,
)

WEEK = 7 * 86_400
RULES = tuple(f"rule-{n}" for n in range(8))
MODES = ("enforce", "flag", "shadow")


def week(number: int, *, now: float) -> Iterator[Event]:
    """Verdicts spread evenly over the last week, of as many kinds as a busy gateway has."""
    draw = random.Random(0)
    for n in range(number):
        stopped = draw.random() < 0.1
        yield Event(
            id=f"{n:012d}",
            at=now - WEEK + WEEK * n / number,
            key=f"key-{draw.randrange(20)}",
            route=draw.choice(("/v1/chat/completions", "/v1/messages")),
            mode=draw.choice(MODES),
            judged=draw.choice(("input", "exchange")),
            action="stop" if stopped else "release",
            score=draw.random(),
            rule=draw.choice(RULES) if stopped else None,
            logits={"hashed": draw.gauss(0, 1), "activations": draw.gauss(0, 1)},
            versions={"constitution": "1", "artifact": "0" * 64},
            latency_ms=draw.lognormvariate(3, 1),
        )


def events(options: Any) -> list[dict]:
    """Processor time of recording, of the console's reads, of verifying."""
    number = 200_000 if options.size == "full" else 5_000
    path = Path(options.work) / "events.db"
    for old in path.parent.glob("events.db*"):
        old.unlink()
    engine = connect(f"sqlite:///{path.resolve()}")
    migrate(engine)
    now = time.time()

    def record() -> None:
        with EventLog(engine) as log:
            last = None
            for event in week(number, now=now):
                last = log.append(event, wait=60.0)
            if last is not None:
                last.result()

    rows = [
        {"figure": "events, over a week", "value": number},
        {
            "figure": "recorded, with the hash chain and the counts",
            "value": rate(number, processor_seconds(record, 1)),
            "unit": "events/s",
        },
    ]
    for name, span in SPANS.items():
        window = window_of(span, now=now)
        bounds = {"since": window.since, "until": window.until, "bucket": window.bucket}

        def look(span: Any = span, bounds: dict[str, int] = bounds) -> None:
            with reading(engine) as connection:
                kinds = tallies_in(connection, **bounds)
                slow = latencies_in(connection, **bounds)
            overview(span, kinds, slow, now=now)

        rows.append(_row(f"overview of {name}", processor_seconds(look, options.repeats)))
    for said, matching in (
        ("no filter", {}),
        ("one filter", {"action": "stop"}),
        ("two filters that nothing matches", {"rule": "rule-0", "key": "nobody"}),
    ):

        def page(matching: dict[str, str] = matching) -> None:
            with reading(engine) as connection:
                after = max(number - 100_000, 0)  # as the console asks where filters are several
                latest(connection, 50, after=after if len(matching) > 1 else 0, matching=matching)

        rows.append(_row(f"50 events, {said}", processor_seconds(page, options.repeats)))

    def check() -> None:
        with snapshot(engine) as connection:
            if not verify(connection).ok:
                raise SystemExit("events: the chain does not verify")

    verified = processor_seconds(check, 1)
    rows.append({"figure": "verified", "value": rate(number, verified), "unit": "events/s"})
    engine.dispose()
    for old in path.parent.glob("events.db*"):
        old.unlink()
    return rows


def _row(figure: str, seconds: Any) -> dict:
    return {"figure": figure, "value": times(seconds, 1e3), "unit": "ms"}
