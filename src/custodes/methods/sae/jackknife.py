"""Intervals of figures over few units, such as seeds, each of which many values share.

Pairs of n seeds are not independent: every seed is in n - 1 of them, so that resampling pairs gives
intervals that are too narrow. Leaving one seed out, with all its pairs, does not (Efron and Stein
1981: it errs, if at all, on the wide side). What the units are is not known here.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from custodes.errors import DataError
from custodes.measure import Interval

__all__ = ["jackknife", "mean_over_pairs"]


def jackknife(value: float, without: Sequence[float], *, level: float = 0.95) -> Interval:
    """A figure of n units with the interval of Student's t, n - 1 degrees of freedom.

    `without` [n]: the figure with each unit left out. NaN bounds for fewer than two units, or where
    a figure without one is NaN.
    """
    from scipy.stats import t

    left, count = np.asarray(without, dtype=np.float64), len(without)
    if count < 2 or not np.isfinite(left).all():
        return Interval(value, float("nan"), float("nan"))
    error = float(np.sqrt((count - 1) / count * np.square(left - left.mean()).sum()))
    reach = float(t.ppf((1 + level) / 2, count - 1)) * error
    return Interval(value, value - reach, value + reach)


def mean_over_pairs(values: Sequence[float], *, level: float = 0.95) -> Interval:
    """The mean over all pairs of n units, in the order of `itertools.combinations`.

    Of a difference of two settings with the same n seeds, give the pairs' differences: a seed is
    then left out of both. Two units leave no pair, so the bounds are NaN. `DataError` where the
    number of values is not n (n - 1) / 2.
    """
    count = round((1 + (1 + 8 * len(values)) ** 0.5) / 2)
    pairs = list(combinations(range(count), 2))
    if not values or len(pairs) != len(values):
        raise DataError(f"pairs: got {len(values)} values; expected all pairs: 1, 3, 6, 10, ...")
    found = np.asarray(values, dtype=np.float64)
    without = [
        float(kept.mean()) if len(kept := found[[unit not in pair for pair in pairs]]) else np.nan
        for unit in range(count)
    ]
    return jackknife(float(found.mean()), without, level=level)
