"""Time, throughput, CPU and memory of every way to the same upstream.

A round sends the same load through every contestant, in random order; what is reported is the
difference to (or the ratio with) the straight way of the same rounds, with a bootstrap over rounds.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np
from contestants import Contestant, contestants, peer_version

from custodes.measure import Figure, Interval

STRAIGHT = "straight"
WHOLE = "custodes, whole guard"
PERCENTILES = (50, 95, 99)


@dataclass(frozen=True)
class Load:
    """`requests` streams of `tokens` tokens, `concurrency` at once, one token every `pace` s."""

    concurrency: int
    requests: int
    tokens: int
    pace: float
    spread: float = 0.0


# As a model would say them: what is added, CPU, memory.
PACED = (Load(1, 6, 96, 0.01), Load(16, 16, 96, 0.04, 1.0), Load(128, 128, 96, 0.05, 2.0))
# As fast as they go: requests a second.
FAST = (Load(1, 24, 64, 0.0), Load(16, 96, 64, 0.0), Load(128, 256, 64, 0.0))
MOST_STREAMS = {WHOLE: 16}
"""Contestants that two cores cannot serve more streams of."""
ROUNDS = {"tiny": 1, "full": 6}


@dataclass
class Seen:
    """What one contestant's rounds came to: a list entry a round."""

    streams: list[list[dict[str, Any]]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)

    def values(self, of: str) -> list[np.ndarray]:
        """Milliseconds a round: of every stream, or of every token in it."""
        found = []
        for streams in self.streams:
            each = [stream[of] for stream in streams]
            flat = np.concatenate(each) if each and isinstance(each[0], list) else np.array(each)
            found.append(1000 * flat)
        return found


def latency(options: Any, **common: Any) -> Iterator[Figure]:
    """What is added to the first token and to every token, CPU and memory."""
    for load, seen in _measured(options, PACED):
        straight = seen[STRAIGHT]
        for name, each in seen.items():
            label = f"{_label(name)}, {load.concurrency} streams"
            if name == STRAIGHT:
                yield from _plain_rows(label, each, **common)
            else:
                yield from _added_rows(name, label, each, straight, **common)
                yield from _cost_rows(label, each, load, **common)


def throughput(options: Any, **common: Any) -> Iterator[Figure]:
    """Requests a second where nothing waits, each of 64 tokens."""
    for load, seen in _measured(options, FAST):
        for name, each in seen.items():
            label = f"{_label(name)}, {load.concurrency} streams"
            rates = _bootstrap(np.median, each.rates)
            yield Figure.of(f"{label}: requests/s of 64 tokens", rates, unit="1/s", **common)
            if name == STRAIGHT:
                continue
            pairs = zip(each.values("whole"), seen[STRAIGHT].values("whole"), strict=True)
            gain = [
                1000 * (np.median(ours) - np.median(theirs)) / load.tokens for ours, theirs in pairs
            ]
            if load.concurrency == 1:
                yield Figure.of(
                    f"{label}: added to a reply, a token (upstream as fast as it goes)",
                    _bootstrap(np.median, gain),
                    unit="us",
                    **common,
                )


def _measured(options: Any, loads: Sequence[Load]) -> Iterator[tuple[Load, dict[str, Seen]]]:
    """Every load with what was seen of every contestant, in interleaved rounds."""
    names = ("no guard", "stage 1", "whole guard", "litellm")
    numbers = count(1)
    with contestants(options.work, names, install=options.install_peer) as (port, client, found):
        _round(found, Load(4, 8, 96, 0.0), port, client, numbers, {}, options.seed)  # warm
        for load in loads:
            few = [c for c in found if load.concurrency <= MOST_STREAMS.get(c.name, 10**6)]
            seen = {each.name: Seen() for each in few}
            for place in range(ROUNDS[options.size]):
                _round(few, load, port, client, numbers, seen, options.seed + place)
            yield load, seen


def _round(
    found: Sequence[Contestant],
    load: Load,
    upstream: int,
    client: Any,
    numbers: Iterator[int],
    seen: dict[str, Seen],
    seed: int,
) -> None:
    for contestant in random.Random(seed).sample(found, len(found)):
        first = next(numbers) * 10_000
        job = {
            "port": contestant.port,
            "upstream": upstream,
            "model": contestant.model,
            "headers": contestant.headers,
            "first": first,
            **vars(load),
        }
        before, _ = contestant.usage()
        client.stdin.write(json.dumps(job) + "\n")
        client.stdin.flush()
        told = json.loads(client.stdout.readline())
        after, memory = contestant.usage()
        if (into := seen.get(contestant.name)) is not None:
            into.streams.append(told["streams"])
            into.errors += told["errors"]
            into.cpu.append(after - before)
            into.memory.append(memory)
            into.rates.append(len(told["streams"]) / told["seconds"])


def _label(name: str) -> str:
    return peer_version() if name == "litellm" else name


def _plain_rows(label: str, seen: Seen, **common: Any) -> Iterator[Figure]:
    """What the differences are differences to."""
    for what, of in (("time to first token", "first"), ("delay of a token", "delays")):
        value = _pooled(seen.values(of), 50)
        yield Figure.of(f"{label}: {what}, p50", value, unit="ms", **common)


def _added_rows(
    name: str, label: str, seen: Seen, straight: Seen, **common: Any
) -> Iterator[Figure]:
    guarded = name.endswith(("stage 1", "whole guard"))
    held = ", hold-back not counted" if guarded else ""
    first = {50: "< 2 ms"} if name.endswith("no guard") else {}
    token = {"no guard": {50: "< 0.2 ms"}, "stage 1": {50: "< 1 ms"}}
    targets = next((each for end, each in token.items() if name.endswith(end)), {})
    rows = [("added to the first token" + held, "start" if guarded else "first", first)]
    if guarded:
        rows.append(("added to the first token, hold-back counted", "first", {}))
    rows.append(("added to each token" + held, "reactions", targets))
    if guarded:
        rows.append(("added to each token, hold-back counted", "delays", {}))
    rows.append(("added between two arrivals", "gaps", {}))
    for what, of, bounds in rows:
        for percent in PERCENTILES:
            yield Figure.of(
                f"{label}: {what}, p{percent}",
                _difference(seen.values(of), straight.values(of), percent),
                unit="ms",
                target=bounds.get(percent, ""),
                **common,
            )


def _cost_rows(label: str, seen: Seen, load: Load, **common: Any) -> Iterator[Figure]:
    spent = [
        1000 * cpu / (load.tokens * max(len(streams), 1))
        for cpu, streams in zip(seen.cpu, seen.streams, strict=True)
    ]
    yield Figure.of(
        f"{label}: CPU seconds for 1,000 tokens", _bootstrap(np.median, spent), unit="s", **common
    )
    yield Figure.of(f"{label}: memory", max(seen.memory), unit="MiB", **common)
    if seen.errors:
        print(f"  {label}: {seen.errors[:3]}")
    yield Figure.of(
        f"{label}: errors in {sum(map(len, seen.streams)) + len(seen.errors)} streams",
        len(seen.errors),
        target="== 0" if label.startswith("custodes") else "",
        **common,
    )


def _difference(ours: list[np.ndarray], straight: list[np.ndarray], percent: int) -> Interval:
    """Difference of percentiles over all rounds, the same rounds drawn for both."""

    def at(places: np.ndarray) -> float:
        mine = np.percentile(np.concatenate([ours[i] for i in places]), percent)
        return float(mine - np.percentile(np.concatenate([straight[i] for i in places]), percent))

    return _drawn(at, len(ours))


def _pooled(values: list[np.ndarray], percent: int) -> Interval:
    return _drawn(
        lambda places: float(np.percentile(np.concatenate([values[i] for i in places]), percent)),
        len(values),
    )


def _bootstrap(statistic: Callable[[Any], Any], values: Sequence[float]) -> Interval:
    array = np.array(values)
    return _drawn(lambda places: float(statistic(array[places])), len(array))


def _drawn(at: Callable[[np.ndarray], float], rounds: int, *, draws: int = 300) -> Interval:
    rng = np.random.default_rng(0)
    found = [at(rng.integers(0, rounds, rounds)) for _ in range(draws)]
    low, high = np.percentile(found, (2.5, 97.5))
    return Interval(at(np.arange(rounds)), float(low), float(high))
