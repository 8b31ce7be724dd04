"""Which rows are dropped, and why: length, contradiction, duplicates, a judge's word.

Filters keep the order of the rows and count what they drop by reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from custodes.data import deduplicate, normalize
from custodes.synthesis.config import SynthesisConfig
from custodes.types import Example

__all__ = ["Filtered", "Judge", "contradictions", "filter_rows"]

Judge = Callable[[Sequence[Example]], Sequence[bool | None]]
"""For each row: does it deserve its label? None where the judge's answer was unclear."""


@dataclass(frozen=True, slots=True)
class Filtered:
    """What stayed, in order, and how many rows were dropped for which reason."""

    rows: list[Example]
    dropped: Counter[str] = field(default_factory=Counter)


def filter_rows(
    rows: Iterable[Example], config: SynthesisConfig, *, judge: Judge | None = None
) -> Filtered:
    """Drop what is too short or long, what contradicts another row, what was said before (exactly,
    or nearly where `config.near` is set) and what the judge would label otherwise.

    A near duplicate counts among rows of one label only: a contrast pair is alike on purpose.
    """
    dropped: Counter[str] = Counter()
    kept = _fitting(rows, config, dropped)
    torn = contradictions(kept)
    dropped["label_conflict"] += len(torn)
    kept = [row for row in kept if row.id not in torn]
    kept = _without_duplicates(kept, config.near, dropped)
    if judge is not None and kept:
        verdicts = judge(kept)
        dropped["judge"] += sum(verdict is False for verdict in verdicts)
        kept = [row for row, good in zip(kept, verdicts, strict=True) if good is not False]
    return Filtered(kept, +dropped)


def contradictions(rows: Sequence[Example]) -> set[str]:
    """Ids of the rows whose judged text stands under both labels.

    Judged is the prompt, the reply alone of an `output` row, else the whole exchange.
    """
    labels: dict[tuple[str, ...], set[int | None]] = {}
    keys = [_judged(row) for row in rows]
    for row, key in zip(rows, keys, strict=True):
        labels.setdefault(key, set()).add(row.label)
    return {row.id for row, key in zip(rows, keys, strict=True) if len(labels[key]) > 1}


def _turns(row: Example) -> tuple[str, ...]:
    if row.messages is None:
        return (row.text or "",)
    return tuple(turn.content for turn in row.messages)


def _judged(row: Example) -> tuple[str, ...]:
    turns = _turns(row)
    if row.meta.get("side") == "output":
        return ("output", normalize(turns[-1]))
    return ("turns", *map(normalize, turns))


def _fitting(
    rows: Iterable[Example], config: SynthesisConfig, dropped: Counter[str]
) -> list[Example]:
    kept = []
    for row in rows:
        turns = _turns(row)
        if len(turns[-1]) < config.min_chars:
            dropped["too_short"] += 1
        elif sum(map(len, turns)) > config.max_chars:
            dropped["too_long"] += 1
        else:
            kept.append(row)
    return kept


def _without_duplicates(
    rows: list[Example], near: float | None, dropped: Counter[str]
) -> list[Example]:
    found = deduplicate(rows, near=None)
    dropped["duplicate"] += len(found.exact)
    if near is None:
        return found.rows
    twins: set[str] = set()
    for label in {row.label for row in found.rows}:
        alike = deduplicate([row for row in found.rows if row.label == label], near=near)
        twins |= alike.near.keys()
    dropped["near_duplicate"] += len(twins)
    return [row for row in found.rows if row.id not in twins]
