"""Intervals by resampling rows, whole groups of rows, or rows and columns, with replacement.

Efron and Tibshirani 1993, chapters 13 and 16; of a table Owen 2007 (Annals of Applied Statistics 1:
the pigeonhole bootstrap). It knows nothing of the statistic except that it is a function of the
arrays. A resample on which the statistic is NaN (one class only, say) is left out; where more than
half are, the bounds are NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from custodes.errors import DataError, InputError
from custodes.measure.arrays import FloatArray, check_share, same_length
from custodes.measure.intervals import Interval, wilson

__all__ = ["bootstrap", "bootstrap_difference", "crossed_rate", "interval_of", "resample"]

Statistic = Callable[..., Any]
Method = Literal["percentile", "basic"]


def bootstrap(
    statistic: Statistic,
    *arrays: ArrayLike,
    groups: Sequence[Hashable] | None = None,
    seed: int,
    resamples: int = 1000,
    level: float = 0.95,
    method: Method = "percentile",
) -> Interval:
    """The statistic of `arrays` (rows on the first axis) with its bootstrap interval.

    `groups` names each row's group: whole groups are drawn, so that rows which belong together
    do not count as independent; a row whose group is None is a group of its own. With fewer than
    two groups nothing can be learned from resampling and the bounds are NaN.
    """
    value = float(statistic(*_columns(arrays)))
    draws = resample(statistic, *arrays, groups=groups, seed=seed, resamples=resamples)
    return interval_of(value, draws, level=level, method=method)


def bootstrap_difference(
    statistic: Statistic,
    first: Sequence[ArrayLike],
    second: Sequence[ArrayLike],
    *,
    groups: Sequence[Hashable] | None = None,
    seed: int,
    resamples: int = 1000,
    level: float = 0.95,
) -> Interval:
    """`statistic(*first) - statistic(*second)`, paired: both see the same rows in each resample.

    To compare two scorers, give `(labels, their_scores)` and `(labels, other_scores)`.
    """
    cut = len(first)

    def difference(*columns: NDArray[Any]) -> float:
        return float(statistic(*columns[:cut])) - float(statistic(*columns[cut:]))

    return bootstrap(
        difference, *first, *second, groups=groups, seed=seed, resamples=resamples, level=level
    )


def resample(
    statistic: Statistic,
    *arrays: ArrayLike,
    groups: Sequence[Hashable] | None = None,
    seed: int,
    resamples: int = 1000,
) -> FloatArray:
    """The statistic on each resample: `resamples` x the shape of what the statistic returns.

    Several figures at once cost one pass: let the statistic return an array of them.
    """
    if resamples < 1:
        raise InputError(f"resamples: got {resamples}, expected at least 1")
    columns = _columns(arrays)
    members = _members(groups, len(columns[0]))
    if len(members) < 2:
        value = np.asarray(statistic(*columns), dtype=np.float64)
        return np.full((resamples, *value.shape), np.nan)
    # In the order of the rows: a statistic that sorts is then faster on rows sorted beforehand.
    draws = map(np.sort, _draws(members, np.random.default_rng(seed), resamples))
    return np.array(
        [statistic(*(column[rows] for column in columns)) for rows in draws], dtype=np.float64
    )


def crossed_rate(
    successes: ArrayLike,
    trials: ArrayLike,
    *,
    seed: int,
    resamples: int = 1000,
    level: float = 0.95,
) -> Interval:
    """The rate of successes among all trials of a table, both [rows, columns] of whole numbers.

    Rows and columns are drawn, each on their own: cells of one row, or of one column, do not count
    as independent. Of a single row (column) the columns (rows) alone are drawn. Never narrower than
    `wilson` of the sums, so that a table without successes has no interval of no width.
    """
    won, tried = np.asarray(successes, np.float64), np.asarray(trials, np.float64)
    if won.ndim != 2 or won.shape != tried.shape:
        raise DataError(
            f"crossed rate: got successes of shape {won.shape} and trials of shape {tried.shape}, "
            "expected two tables [rows, columns] of one shape"
        )
    least = wilson(int(won.sum()), int(tried.sum()), level)
    if won.size < 2 or not tried.any():
        return least
    rng = np.random.default_rng(seed)
    rows, columns = (
        rng.multinomial(count, np.full(count, 1 / count), resamples).astype(np.float64)
        for count in won.shape
    )
    hits, all_ = (((rows @ table) * columns).sum(axis=1) for table in (won, tried))
    draws = np.divide(hits, all_, out=np.full(resamples, np.nan), where=all_ > 0)
    drawn = interval_of(least.value, draws, level=level)
    # The other's bound where one is NaN: of a table nearly without trials few draws are defined.
    return Interval(
        least.value,
        float(np.fmin(least.low, drawn.low)),
        float(np.fmax(least.high, drawn.high)),
    )


def interval_of(
    value: float, draws: FloatArray, *, level: float = 0.95, method: Method = "percentile"
) -> Interval:
    """The interval of a figure from its bootstrap draws; NaN bounds where most draws are NaN."""
    check_share("level", level, open_ends=True)
    if method not in ("percentile", "basic"):
        raise InputError(f"method: got {method!r}, expected 'percentile' or 'basic'")
    defined = draws[~np.isnan(draws)]
    if np.isnan(value) or 2 * defined.size < draws.size:
        return Interval(value, float("nan"), float("nan"))
    tail = (1 - level) / 2
    low, high = (float(x) for x in np.quantile(defined, [tail, 1 - tail]))
    if method == "basic":
        low, high = 2 * value - high, 2 * value - low
    return Interval(value, low, high)


def _columns(arrays: Sequence[ArrayLike]) -> list[NDArray[Any]]:
    columns = [np.asarray(array) for array in arrays]
    if not columns or any(column.ndim == 0 for column in columns):
        raise DataError("bootstrap: expected at least one array with rows on its first axis")
    if same_length({f"array {i}": column for i, column in enumerate(columns)}) == 0:
        raise DataError("bootstrap: got no rows; a figure over nothing has no meaning")
    return columns


def _members(groups: Sequence[Hashable] | None, rows: int) -> list[NDArray[np.int64]] | range:
    """The rows of each group; a `range` where each row is its own group."""
    if groups is None:
        return range(rows)
    same_length({"rows": range(rows), "groups": groups})
    found: dict[Hashable, list[int]] = {}
    for row, name in enumerate(groups):
        found.setdefault(("row", row) if name is None else ("group", name), []).append(row)
    return [np.array(members, dtype=np.int64) for members in found.values()]


def _draws(
    members: list[NDArray[np.int64]] | range, rng: np.random.Generator, resamples: int
) -> Iterator[NDArray[np.int64]]:
    """Row numbers of one resample after another."""
    number = len(members)
    if isinstance(members, range):
        for _ in range(resamples):
            yield rng.integers(0, number, number)
        return
    sizes = np.array([group.size for group in members])
    starts = np.cumsum(sizes) - sizes
    ordered = np.concatenate(members)
    for _ in range(resamples):
        drawn = rng.integers(0, number, number)
        taken = sizes[drawn]
        # Position within the draw, shifted to where each drawn group starts in `ordered`.
        shift = starts[drawn] - (np.cumsum(taken) - taken)
        yield ordered[np.arange(taken.sum()) + np.repeat(shift, taken)]
