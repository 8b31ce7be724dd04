"""Recovery, and intervals that resample seeds and, within each, facts.

A table has a row a seed, of 0 and 1 by fact: was its question answered rightly? Rows may be of
unlike lengths, since a model may know more of one seed's facts; a mean is that of the seeds' means.
Figures compare tables of the same facts. Knows nothing of how they came about.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from custodes.errors import DataError
from custodes.measure import Interval, interval_of

__all__ = [
    "Table",
    "accuracy",
    "difference",
    "nested",
    "recovery",
    "recovery_over",
    "recovery_value",
]

Floats = NDArray[np.float64]
Table = Sequence[ArrayLike]


def recovery_value(before: float | Floats, after: float | Floats, chance: float) -> Floats:
    """(after - chance) / (before - chance): 1 all came back, 0 nothing did; NaN where there was
    nothing to come back."""
    known = np.asarray(before, np.float64) - chance
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(known > 0, (np.asarray(after, np.float64) - chance) / known, np.nan)


def nested(
    statistic: Callable[..., Floats], *tables: Table, seed: int = 0, resamples: int = 2000
) -> Interval:
    """A function of the tables' means with its interval: seeds are drawn with replacement, and
    facts within each drawn seed, the same for all tables. A single seed: facts alone are drawn.

    `DataError` where the tables do not have as many facts in each seed.
    """
    rows = [[np.asarray(row, np.float64) for row in table] for table in tables]
    shapes = {tuple(len(row) for row in table) for table in rows}
    if len(shapes) != 1 or not all(next(iter(shapes))):
        raise DataError(
            f"tables: got {sorted(shapes)} facts by seed, expected the same in all, at least one"
        )
    facts = np.array(next(iter(shapes)))
    rng = np.random.default_rng(seed)
    runs = rng.integers(0, len(facts), (resamples, len(facts), 1))
    drawn = rng.integers(0, facts[runs], (resamples, len(facts), facts.max()))
    counted = np.arange(facts.max()) < facts[runs]

    def means(table: list[Floats]) -> Floats:
        whole = np.stack([np.pad(row, (0, facts.max() - len(row))) for row in table])
        of_seeds = (whole[runs, drawn] * counted).sum(axis=2) / facts[runs[..., 0]]
        return np.asarray(of_seeds.mean(axis=1))

    value = float(statistic(*(np.mean([row.mean() for row in table]) for table in rows)))
    return interval_of(value, np.asarray(statistic(*map(means, rows)), np.float64))


def accuracy(table: Table, *, resamples: int = 2000) -> Interval:
    """Mean of a table."""
    return nested(lambda mean: mean, table, resamples=resamples)


def difference(first: Table, second: Table, *, resamples: int = 2000) -> Interval:
    """Mean of the first minus that of the second, paired."""
    return nested(lambda one, two: one - two, first, second, resamples=resamples)


def recovery(before: Table, after: Table, *, chance: float, resamples: int = 2000) -> Interval:
    """How much of the accuracy over chance was there again after relearning."""
    return nested(
        lambda one, two: recovery_value(one, two, chance), before, after, resamples=resamples
    )


def recovery_over(
    before: Table,
    after: Table,
    control: Table,
    *,
    chance: float,
    resamples: int = 2000,
) -> Interval:
    """Recovery minus what relearning gave a control that never knew, on the same scale."""

    def statistic(known: Floats, found: Floats, guessed: Floats) -> Floats:
        return recovery_value(known, found, chance) - recovery_value(known, guessed, chance)

    return nested(statistic, before, after, control, resamples=resamples)
