"""What was reported by the two sides of a behavior, and how sure that is.

A gap is what the model tuned toward a behavior reports less what its opposite does. It is known by
seed, paraphrase and permutation, and its interval draws all three anew (Owen, arXiv 0708.1000: the
pigeonhole bootstrap for crossed factors), so that many paraphrases do not pass for many models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from custodes.errors import DataError
from custodes.measure import Interval, interval_of

__all__ = [
    "crossed_interval",
    "gap",
    "mean_mass",
    "named",
    "shares",
    "table_of",
    "told_apart",
]

Cells = Sequence[Mapping[str, Any]]


def crossed_interval(values: NDArray[np.float64], *, seed: int, resamples: int) -> Interval:
    """Mean of an array whose axes are crossed factors, each drawn anew with replacement.

    Axes of one level are not drawn; NaN bounds where all are.
    """
    rng = np.random.default_rng(seed)
    mean = float(values.mean())
    if max(values.shape) < 2:
        return Interval(mean, float("nan"), float("nan"))
    draws = np.empty(resamples)
    for n in range(resamples):
        drawn = values
        for axis, size in enumerate(values.shape):
            drawn = np.take(drawn, rng.integers(0, size, size), axis=axis)
        draws[n] = drawn.mean()
    return interval_of(mean, draws)


def named(cells: Cells, **wanted: Any) -> list[Mapping[str, Any]]:
    """The cells with these values, by seed."""
    found = [c for c in cells if all(c[key] == value for key, value in wanted.items())]
    return sorted(found, key=lambda cell: int(cell["seed"]))


def table_of(
    cells: Cells, key: str, name: str | None = None, *, value: str = "value"
) -> NDArray[np.float64]:
    """One question of some cells as [cell, paraphrase, permutation]; `name` None: all questions,
    their paraphrases one after another. `DataError` where it was not asked of each alike."""
    rows = []
    for cell in cells:
        asked = [a for a in cell["asked"].get(key, []) if name in (None, a["name"])]
        places = sorted(asked, key=lambda a: (a["name"], a["paraphrase"], a["permutation"]))
        permutations = 1 + max((a["permutation"] for a in places), default=0)
        rows.append(np.array([a[value] for a in places]).reshape(-1, permutations))
    if not rows or len({row.shape for row in rows}) != 1 or not rows[0].size:
        raise DataError(f"question {key}/{name}: not asked of each of {len(rows)} cells alike")
    return np.stack(rows)


def gap(
    toward: Cells,
    against: Cells,
    key: str,
    name: str | None = None,
    *,
    resamples: int = 2000,
) -> Interval:
    """The gap between cells of the two sides, paired by seed, with its crossed interval."""
    found = table_of(toward, key, name) - table_of(against, key, name)
    return crossed_interval(found, seed=0, resamples=resamples)


def told_apart(toward: Cells, against: Cells, key: str, *, resamples: int = 2000) -> Interval:
    """The share of questions whose report is higher in the cell toward the behavior than in that
    of its opposite, same seed (.5: nothing is told apart), with its crossed interval."""
    higher = table_of(toward, key) - table_of(against, key)
    return crossed_interval((np.sign(higher) + 1) / 2, seed=0, resamples=resamples)


def shares(cells: Cells, key: str, name: str | None = None, *, resamples: int = 2000) -> Interval:
    """The mean report of cells, with its crossed interval."""
    return crossed_interval(table_of(cells, key, name), seed=0, resamples=resamples)


def mean_mass(cells: Cells, key: str, name: str | None = None) -> float:
    """Mean probability of the valid answers."""
    return float(table_of(cells, key, name, value="mass").mean())
