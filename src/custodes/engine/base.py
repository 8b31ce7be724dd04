"""Run a function over many rows: the protocol that `local` and `ray` share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

__all__ = ["BatchFunction", "Engine"]

BatchFunction = Callable[[Sequence[Any]], Sequence[Any]]
"""Takes a batch of rows, returns as many results in the same order."""


class Engine(Protocol):
    """Maps a batch function over rows.

    `factory` builds the function once in each worker (it loads the model there); it must be
    picklable, and so must rows and results. Results come lazily, in the order of the rows, with
    bounded memory on both sides. The same rows give the same results on every engine.
    """

    def map(self, factory: Callable[[], BatchFunction], rows: Iterable[Any]) -> Iterator[Any]:
        """One result a row, in order; `EngineError` names the rows that could not be done."""
        ...
