"""What was reported by the two sides of a behavior, and how sure that is.

A gap is what the model tuned toward a behavior reports less what its opposite does. It is known by
seed, kind of question, paraphrase and permutation, and its interval draws all four anew (Owen,
arXiv 0708.1000: the pigeonhole bootstrap for crossed factors), so that many paraphrases pass
neither for many models nor for many questions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from custodes.errors import DataError
from custodes.measure import Interval, interval_of, over_seeds

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
    """Mean of [seed, kind, paraphrase, permutation], each drawn anew with replacement; paraphrases
    within a kind, the others crossed.

    Never less than Student's t interval over seeds: draws of two to five seeds reach no further
    than the least and the greatest of them, which holds the truth far less often than it says.
    Axes of one level are not drawn; NaN bounds where all are.
    """
    rng = np.random.default_rng(seed)
    mean = float(values.mean())
    if max(values.shape) < 2:
        return Interval(mean, float("nan"), float("nan"))
    seeds, kinds, paraphrases, permutations = values.shape
    draws = np.empty(resamples)
    for n in range(resamples):
        drawn = values[rng.integers(0, seeds, seeds)]
        drawn = drawn[:, rng.integers(0, kinds, kinds)]
        within = rng.integers(0, paraphrases, (1, kinds, paraphrases, 1))
        drawn = np.take_along_axis(drawn, within, axis=2)
        draws[n] = drawn[..., rng.integers(0, permutations, permutations)].mean()
    found, spread = interval_of(mean, draws), over_seeds(values.mean(axis=(1, 2, 3)))
    # fmin and fmax: of one seed t says nothing (NaN)
    low, high = np.fmin(found.low, spread.low), np.fmax(found.high, spread.high)
    return Interval(mean, float(low), float(high))


def named(cells: Cells, **wanted: Any) -> list[Mapping[str, Any]]:
    """The cells with these values, by seed."""
    found = [c for c in cells if all(c[key] == value for key, value in wanted.items())]
    return sorted(found, key=lambda cell: int(cell["seed"]))


def table_of(
    cells: Cells, key: str, name: str | None = None, *, value: str = "value"
) -> NDArray[np.float64]:
    """One question of some cells as [cell, kind, paraphrase, permutation]; `name` None: all kinds
    of question. `DataError` where it was not asked of each cell, and each kind as often, alike."""
    rows = []
    for cell in cells:
        asked = [a for a in cell["asked"].get(key, []) if name in (None, a["name"])]
        places = sorted(asked, key=lambda a: (a["name"], a["paraphrase"], a["permutation"]))
        each = Counter(a["name"] for a in places)
        permutations = 1 + max((a["permutation"] for a in places), default=0)
        if len(set(each.values())) != 1:
            raise DataError(
                f"question {key}/{name}: not asked alike: got {dict(each) or 'nothing'}, "
                "expected as many answers of each kind"
            )
        rows.append(np.array([a[value] for a in places]).reshape(len(each), -1, permutations))
    if len({row.shape for row in rows}) != 1:
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
    return _bounded(crossed_interval(found, seed=0, resamples=resamples), least=-1)


def told_apart(toward: Cells, against: Cells, key: str, *, resamples: int = 2000) -> Interval:
    """The share of questions whose report is higher in the cell toward the behavior than in that
    of its opposite, same seed (.5: nothing is told apart), with its crossed interval."""
    higher = table_of(toward, key) - table_of(against, key)
    return _bounded(crossed_interval((np.sign(higher) + 1) / 2, seed=0, resamples=resamples))


def shares(cells: Cells, key: str, name: str | None = None, *, resamples: int = 2000) -> Interval:
    """The mean report of cells, with its crossed interval."""
    return _bounded(crossed_interval(table_of(cells, key, name), seed=0, resamples=resamples))


def _bounded(found: Interval, *, least: float = 0.0) -> Interval:
    """Cut at what a share (or a difference of two) can be; Student's t knows no bounds."""
    low, high = np.clip([found.low, found.high], least, 1.0)
    return Interval(found.value, float(low), float(high))


def mean_mass(cells: Cells, key: str, name: str | None = None) -> float:
    """Mean probability of the valid answers."""
    return float(table_of(cells, key, name, value="mass").mean())
