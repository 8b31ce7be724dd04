"""Run a stranger's function on a batch and bring home whatever comes of it.

The one place where any exception is caught: a worker's top, as the CLI has its own. What went
wrong travels as text, since many exceptions cannot be pickled and read back.
"""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from custodes.engine.base import BatchFunction
from custodes.errors import EngineError

__all__ = [
    "Failure",
    "answer",
    "apply",
    "attempt",
    "checked",
    "pack",
    "rows_named",
    "unpack",
]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Failure:
    """An exception as text: what it said, and where it was raised."""

    message: str
    traceback: str = ""


def attempt(work: Callable[[], T]) -> T | Failure:
    """The result of `work`, or the exception that it raised, as a value."""
    try:
        return work()
    except Exception as error:  # noqa: BLE001 - a worker's top, see the module's docstring
        said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return Failure(said, traceback.format_exc())


def apply(function: BatchFunction, batch: Sequence[Any]) -> list[Any]:
    """The results of a batch; `ValueError` where they are not as many as the rows."""
    results = list(function(batch))
    if len(results) != len(batch):
        raise ValueError(
            f"the function gave {len(results)} results for {len(batch)} rows, expected one a row"
        )
    return results


def pack(work: Callable[[], Any]) -> bytes:
    """The result of `work`, or its failure (that of pickling included), pickled."""
    packed = attempt(lambda: pickle.dumps(work()))
    return pickle.dumps(packed) if isinstance(packed, Failure) else packed


def unpack(parcel: bytes) -> Any:
    """What was packed, or a `Failure`; only for what comes from the other end of our own engine."""
    return attempt(lambda: pickle.loads(parcel))  # noqa: S301


def answer(function: BatchFunction | Failure, parcel: bytes) -> bytes:
    """Packed rows in, packed results out; a failure on either side is passed on."""
    rows = unpack(parcel)
    if isinstance(rows, Failure):
        return pickle.dumps(rows)
    if isinstance(function, Failure):
        return pickle.dumps(function)
    return pack(lambda: apply(function, rows))


def checked(outcome: T | Failure, start: int, count: int) -> T:
    """The outcome of a batch; of a failure an `EngineError` with the rows and the cause.

    The worker's traceback is the error's note.
    """
    if not isinstance(outcome, Failure):
        return outcome
    error = EngineError(f"{rows_named(start, count)} could not be done: {outcome.message}")
    if outcome.traceback:
        error.add_note(f"In the worker:\n{outcome.traceback}")
    raise error


def rows_named(start: int, count: int) -> str:
    """The rows of a batch, in words; rows are numbered from 0."""
    return f"row {start}" if count == 1 else f"rows {start} to {start + count - 1}"
