"""Recovery, and intervals that resample seeds and, within each, facts.

A table is [seeds, facts] of 0 and 1: was the question of this fact answered rightly? Figures
compare tables of the same facts. Knows nothing of how they came about.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from custodes.errors import DataError
from custodes.measure import Interval, interval_of

__all__ = ["accuracy", "difference", "nested", "recovery", "recovery_over", "recovery_value"]

Floats = NDArray[np.float64]


def recovery_value(before: float | Floats, after: float | Floats, chance: float) -> Floats:
    """(after - chance) / (before - chance): 1 all came back, 0 nothing did; NaN where there was
    nothing to come back."""
    known = np.asarray(before, np.float64) - chance
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(known > 0, (np.asarray(after, np.float64) - chance) / known, np.nan)


def nested(
    statistic: Callable[..., Floats], *tables: ArrayLike, seed: int = 0, resamples: int = 2000
) -> Interval:
    """A function of the tables' means with its interval: seeds are drawn with replacement, and
    facts within each drawn seed, the same for all tables. A single seed: facts alone are drawn.

    `DataError` where the tables' shapes differ.
    """
    columns = [np.asarray(table, np.float64) for table in tables]
    shapes = {column.shape for column in columns}
    if len(shapes) != 1 or columns[0].ndim != 2 or columns[0].size == 0:
        raise DataError(f"tables: got shapes {sorted(shapes)}, expected one shape [seeds, facts]")
    seeds, facts = columns[0].shape
    rng = np.random.default_rng(seed)
    runs = rng.integers(0, seeds, (resamples, seeds, 1))
    drawn = rng.integers(0, facts, (resamples, seeds, facts))
    value = float(statistic(*(column.mean() for column in columns)))
    means = [column[runs, drawn].mean(axis=(1, 2)) for column in columns]
    return interval_of(value, np.asarray(statistic(*means), np.float64))


def accuracy(table: ArrayLike, *, resamples: int = 2000) -> Interval:
    """Mean of a table."""
    return nested(lambda mean: mean, table, resamples=resamples)


def difference(first: ArrayLike, second: ArrayLike, *, resamples: int = 2000) -> Interval:
    """Mean of the first minus that of the second, paired."""
    return nested(lambda one, two: one - two, first, second, resamples=resamples)


def recovery(
    before: ArrayLike, after: ArrayLike, *, chance: float, resamples: int = 2000
) -> Interval:
    """How much of the accuracy over chance was there again after relearning."""
    return nested(
        lambda one, two: recovery_value(one, two, chance), before, after, resamples=resamples
    )


def recovery_over(
    before: ArrayLike,
    after: ArrayLike,
    control: ArrayLike,
    *,
    chance: float,
    resamples: int = 2000,
) -> Interval:
    """Recovery minus what relearning gave a control that never knew, on the same scale."""

    def statistic(known: Floats, found: Floats, guessed: Floats) -> Floats:
        return recovery_value(known, found, chance) - recovery_value(known, guessed, chance)

    return nested(statistic, before, after, control, resamples=resamples)
