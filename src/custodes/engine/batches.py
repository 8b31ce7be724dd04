"""Cut rows into numbered batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

__all__ = ["Batch", "batches"]


@dataclass(frozen=True, slots=True)
class Batch:
    """Some consecutive rows; `start` is the number of the first one, from 0."""

    index: int
    start: int
    rows: Sequence[Any]


def batches(rows: Iterable[Any], size: int) -> Iterator[Batch]:
    """Batches of `size` rows, the last one shorter; read lazily."""
    source = iter(rows)
    index = start = 0
    while taken := list(islice(source, size)):
        yield Batch(index, start, taken)
        index += 1
        start += len(taken)
