"""How sure a similarity is: bootstrap and jackknife intervals, and a permutation null.

All of them resample questions, or whole groups of questions where groups are given (paraphrases
of one item, sentences of one document). A metric is a function of means of terms, so a resample
is a row of weights and all resamples are one matrix product. Knows no particular metric.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from custodes.errors import DataError, InputError
from custodes.measure import Interval, interval_of
from custodes.methods.similarity.answers import Floats, Integers
from custodes.methods.similarity.metrics import Metric, Pair

__all__ = [
    "Null",
    "bootstrap_draws",
    "bootstrap_interval",
    "jackknife_interval",
    "permutation_null",
]

_WEIGHTS_AT_ONCE = 4_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Null:
    """What chance gives: the observed value, the null's mean and 95 % range, a two-sided p."""

    observed: float
    mean: float
    low: float
    high: float
    p: float
    permutations: int


def _group_sums(terms: Floats, groups: Integers | None) -> Floats:
    """Sums of the terms in each group with the group's size as last column, [G, k + 1]."""
    rows = np.concatenate([terms, np.ones((1, terms.shape[1]))]).T
    if groups is None:
        return np.ascontiguousarray(rows)
    if len(groups) != len(rows):
        raise DataError(f"got {len(groups)} groups for {len(rows)} questions; expected one each")
    number, index = np.unique(groups, return_inverse=True)
    sums = np.zeros((len(number), rows.shape[1]))
    np.add.at(sums, index, rows)
    return sums


def bootstrap_draws(
    metric: Metric, pair: Pair, *, groups: Integers | None = None, resamples: int = 1000, seed: int
) -> Floats:
    """The metric on `resamples` resamples of questions (or groups), [resamples]."""
    if resamples < 1:
        raise InputError(f"resamples: got {resamples}, expected at least 1")
    sums = _group_sums(metric.terms(pair), groups)
    units = len(sums)
    rng = np.random.default_rng(seed)
    draws = []
    step = max(1, _WEIGHTS_AT_ONCE // units)
    for start in range(0, resamples, step):
        count = min(step, resamples - start)
        drawn = rng.integers(0, units, (count, units)) + units * np.arange(count)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=count * units).reshape(count, units)
        totals = weights.astype(np.float64) @ sums
        draws.append(metric.value(totals[:, :-1] / totals[:, -1:]))
    return np.concatenate(draws)


def bootstrap_interval(
    metric: Metric,
    pair: Pair,
    *,
    groups: Integers | None = None,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """The metric with percentiles of resampled questions (or groups).

    NaN bounds where there is one unit only, or where most resamples are undefined.
    """
    draws = bootstrap_draws(metric, pair, groups=groups, resamples=resamples, seed=seed)
    units = len(pair.labels) if groups is None else len(np.unique(groups))
    return interval_of(metric.of(pair), draws if units > 1 else np.full(1, np.nan), level=level)


def jackknife_interval(
    metric: Metric, pair: Pair, *, groups: Integers | None = None, level: float = 0.95
) -> Interval:
    """The metric with a normal interval from leaving out one question (or group) at a time.

    No randomness, and the faster one for many pairs. NaN bounds where there is one unit only.
    """
    value = metric.of(pair)
    half = _quantile(level) * _jackknife_error(metric, pair, groups)
    return Interval(value, value - half, value + half)


def _jackknife_error(metric: Metric, pair: Pair, groups: Integers | None) -> float:
    """Standard error from leaving out one unit at a time (Efron and Tibshirani 1993, 11.5)."""
    sums = _group_sums(metric.terms(pair), groups)
    units = len(sums)
    if units < 2:
        return float("nan")
    left = sums.sum(axis=0) - sums
    values = metric.value(left[:, :-1] / left[:, -1:])
    return float(np.sqrt((units - 1) / units * ((values - values.mean()) ** 2).sum()))


def _quantile(level: float) -> float:
    if not 0 < level < 1:
        raise InputError(f"level: got {level!r}, expected 0 < x < 1")
    return NormalDist().inv_cdf((1 + level) / 2)


def permutation_null(
    metric: Metric,
    pair: Pair,
    *,
    groups: Integers | None = None,
    permutations: int = 1000,
    seed: int = 0,
) -> Null:
    """The metric when only the accuracies are kept: mistakes independent, wrong options equal.

    The second model's rows are written relative to the right option, dealt out anew among the
    questions with as many options (whole groups at a time where groups are given; they must then
    be of one size and one number of options each), and their wrong options shuffled, alike within
    a group. κp's null mean is 0 up to the variation of |O|. p counts values at least as far from
    the null's mean.
    """
    if permutations < 1:
        raise InputError(f"permutations: got {permutations}, expected at least 1")
    rng = np.random.default_rng(seed)
    units = _exchangeable(pair.options, groups)
    unit = np.arange(len(pair.labels))
    if groups is not None:
        unit = np.unique(groups, return_inverse=True)[1]
    relative = _to_front(pair.second, pair.labels)
    values = np.empty(permutations)
    for index in range(permutations):
        order = _deal(units, rng, len(pair.labels))
        rows = _shuffle_wrong(relative[order], pair.options, unit, rng)
        shuffled = _from_front(rows, pair.labels)
        values[index] = metric.of(Pair(pair.first, shuffled, pair.labels, pair.options))
    return _summary(metric.of(pair), values[~np.isnan(values)], permutations)


def _summary(observed: float, values: Floats, permutations: int) -> Null:
    if not len(values) or np.isnan(observed):
        nan = float("nan")
        return Null(
            observed=observed, mean=nan, low=nan, high=nan, p=nan, permutations=permutations
        )
    mean = float(values.mean())
    low, high = (float(x) for x in np.quantile(values, [0.025, 0.975]))
    # A hair of slack: the same value computed in another order must count as equal.
    as_far = int((np.abs(values - mean) >= abs(observed - mean) - 1e-12).sum())
    p = (1 + as_far) / (1 + len(values))
    return Null(observed=observed, mean=mean, low=low, high=high, p=p, permutations=permutations)


def _exchangeable(options: Integers, groups: Integers | None) -> list[NDArray[np.int64]]:
    """Sets of units that may change places, each int [units, questions of a unit]."""
    if groups is None:
        return [np.flatnonzero(options == count)[:, None] for count in np.unique(options)]
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    sizes = {len(member) for member in members}
    if len(sizes) > 1 or any(len(set(options[member])) > 1 for member in members):
        raise DataError(
            f"got groups of {min(sizes)} to {max(sizes)} questions; a permutation of groups needs "
            "groups of one size with one number of options each. Use a bootstrap or jackknife"
        )
    first = np.array([options[member[0]] for member in members])
    table = np.stack(members)
    return [table[first == count] for count in np.unique(first)]


def _deal(units: list[NDArray[np.int64]], rng: np.random.Generator, questions: int) -> Integers:
    order = np.arange(questions)
    for unit in units:
        order[unit.ravel()] = unit[rng.permutation(len(unit))].ravel()
    return order


def _to_front(rows: Floats, labels: Integers) -> Floats:
    """The right option first, the wrong ones after it in their order."""
    n, width = rows.shape
    wrong = np.arange(width) != labels[:, None]
    right = rows[np.arange(n), labels][:, None]
    return np.concatenate([right, rows[wrong].reshape(n, width - 1)], axis=1)


def _from_front(rows: Floats, labels: Integers) -> Floats:
    """The inverse of `_to_front`."""
    n, width = rows.shape
    result = np.empty_like(rows)
    wrong = np.arange(width) != labels[:, None]
    result[wrong] = rows[:, 1:].ravel()
    result[np.arange(n), labels] = rows[:, 0]
    return result


def _shuffle_wrong(
    rows: Floats, options: Integers, unit: Integers, rng: np.random.Generator
) -> Floats:
    """Each unit's wrong options in a random order of its own; padding stays behind them.

    One order a unit: a model that repeats its mistake in every question of a group does so in the
    null, too, which would else be far narrower than chance.
    """
    keys = rng.random((int(unit.max()) + 1, rows.shape[1] - 1))[unit]
    keys[np.arange(1, rows.shape[1]) >= options[:, None]] = 2.0
    order = np.argsort(keys, axis=1)
    return np.concatenate([rows[:, :1], np.take_along_axis(rows[:, 1:], order, axis=1)], axis=1)
