"""Capability against similarity: are better models more alike? (arXiv 2502.04313, section 5)

Rows are pairs of models, and pairs share models; so what is resampled is models, not pairs. Knows
arrays only: a similarity matrix of any metric, and accuracies.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from custodes.errors import DataError
from custodes.measure import Interval, interval_of
from custodes.methods.similarity.answers import Floats, Integers

__all__ = ["Capability", "TrendBin", "capability"]

_WEIGHTS_AT_ONCE = 4_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TrendBin:
    """Pairs of like accuracy: their mean accuracy, how many, and their mean similarity."""

    accuracy: float
    pairs: int
    similarity: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Capability:
    """Correlation of a pair's similarity with its mean accuracy, and the trend in bins.

    Intervals resample models. They know nothing of how the models were chosen.
    """

    correlation: Interval
    bins: tuple[TrendBin, ...]
    pairs: int


def capability(
    similarity: ArrayLike,
    accuracy: ArrayLike,
    *,
    bins: int = 5,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Capability:
    """The trend over the pairs i < j of M models, from a matrix [M, M] and accuracies [M].

    Pairs whose similarity is NaN are left out. Bins hold equal numbers of pairs. `DataError`
    where fewer pairs are left than bins.
    """
    matrix, right = np.asarray(similarity, np.float64), np.asarray(accuracy, np.float64)
    models = len(right)
    if right.ndim != 1 or matrix.shape != (models, models) or not np.isfinite(right).all():
        raise DataError(
            f"got similarities of shape {matrix.shape} and accuracies of shape {right.shape}; "
            "expected [M, M] and [M], accuracies finite"
        )
    first, second = np.triu_indices(models, k=1)
    known = ~np.isnan(matrix[first, second])
    first, second = first[known], second[known]
    x, y = (right[first] + right[second]) / 2, matrix[first, second]
    if not 1 <= bins <= len(x):
        raise DataError(f"bins: got {bins} for {len(x)} pairs, expected 1 to {len(x)}")
    parts = np.array_split(np.argsort(x, kind="stable"), bins)
    weights = _draws(first, second, models, resamples, np.random.default_rng(seed))
    draws = np.concatenate([_statistics(some, x, y, parts) for some in weights])
    values = _statistics(np.ones((1, len(x))), x, y, parts)[0]
    correlation, *means = (
        interval_of(float(value), column, level=level)
        for value, column in zip(values, draws.T, strict=True)
    )
    return Capability(
        correlation=correlation,
        bins=tuple(
            TrendBin(accuracy=float(x[part].mean()), pairs=len(part), similarity=mean)
            for part, mean in zip(parts, means, strict=True)
        ),
        pairs=len(x),
    )


def _draws(
    first: Integers, second: Integers, models: int, resamples: int, rng: np.random.Generator
) -> Iterator[Floats]:
    """How often each pair comes when models are drawn with replacement, [some, pairs] at a time.

    A model's similarity with a copy of itself is no pair and does not count.
    """
    step = max(1, _WEIGHTS_AT_ONCE // len(first))
    for start in range(0, resamples, step):
        drawn = rng.integers(0, models, (min(step, resamples - start), models))
        counts = np.stack([np.bincount(row, minlength=models) for row in drawn])
        yield (counts[:, first] * counts[:, second]).astype(np.float64)


def _statistics(weights: Floats, x: Floats, y: Floats, parts: list[Integers]) -> Floats:
    """Weighted correlation of x and y, then the mean of y in each part: [some, 1 + parts]."""
    a, b = x - x.mean(), y - y.mean()
    columns = np.stack([np.ones_like(a), a, b, a * a, b * b, a * b], axis=1)
    total, *sums = (weights @ columns).T
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_a, mean_b, aa, bb, ab = (part / total for part in sums)
        spread = (aa - mean_a**2) * (bb - mean_b**2)
        # A column without variation leaves rounding error, not information.
        usable = spread > 1e-20 * aa * bb
        r = np.where(usable, (ab - mean_a * mean_b) / np.sqrt(np.where(usable, spread, 1)), np.nan)
        means = [weights[:, part] @ y[part] / weights[:, part].sum(axis=1) for part in parts]
    return np.stack([r, *means], axis=1)
