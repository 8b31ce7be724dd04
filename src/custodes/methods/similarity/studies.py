"""The statistics of the studies: correlation with others partialled out, and regression.

Knows arrays only. Intervals are Fisher's z by default; where rows come in clusters (one task, one
judge), the cluster bootstrap is the honest one, and both are given.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from custodes.errors import DataError
from custodes.measure import Interval, interval_of, resample
from custodes.methods.similarity.answers import Floats

__all__ = [
    "Coefficient",
    "Correlation",
    "partial_correlation",
    "regression",
    "residuals",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Correlation:
    """Pearson's r of two columns with k others held fixed; `p` two-sided from Student's t.

    `interval`: Fisher's z, rows independent. `clustered`: cluster bootstrap, or None.
    """

    interval: Interval
    p: float
    rows: int
    clustered: Interval | None = None
    clusters: int | None = None

    @property
    def value(self) -> float:
        """r itself."""
        return self.interval.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Coefficient:
    """One slope of a least-squares fit, with its Student interval, t and p."""

    name: str
    interval: Interval
    t: float
    p: float


def _column(name: str, values: ArrayLike, rows: int | None = None) -> Floats:
    column = np.asarray(values, dtype=np.float64)
    if column.ndim != 1 or (rows is not None and len(column) != rows):
        raise DataError(f"{name}: got shape {column.shape}; expected one value a row")
    if not np.isfinite(column).all():
        raise DataError(
            f"{name}: {int((~np.isfinite(column)).sum())} of {len(column)} values are NaN or "
            "infinite; leave those rows out and say so"
        )
    return column


def _design(covariates: Sequence[ArrayLike], rows: int) -> Floats:
    columns = [_column(f"covariate {i}", values, rows) for i, values in enumerate(covariates)]
    return np.column_stack([np.ones(rows), *columns])


def residuals(values: ArrayLike, covariates: Sequence[ArrayLike]) -> Floats:
    """What a least-squares fit on the covariates (and a constant) leaves of the values."""
    column = _column("values", values)
    design = _design(covariates, len(column))
    return column - design @ np.linalg.lstsq(design, column, rcond=None)[0]


def _partial_r(x: Floats, y: Floats, *covariates: Floats) -> float:
    a, b = residuals(x, covariates), residuals(y, covariates)
    # A column that the covariates explain wholly leaves rounding error, not information.
    if a @ a <= 1e-20 * (x @ x) or b @ b <= 1e-20 * (y @ y):
        return float("nan")
    return float(a @ b / math.sqrt((a @ a) * (b @ b)))


def partial_correlation(
    x: ArrayLike,
    y: ArrayLike,
    covariates: Sequence[ArrayLike] = (),
    *,
    clusters: Sequence[Hashable] | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> Correlation:
    """r of x and y given the covariates; NaN where one of them is constant or explained wholly,
    or where there are too few rows (of k covariates fewer than k + 4) to tell.

    Equal to pingouin's `partial_corr` (Fisher's z with n - k - 3 degrees of freedom).
    """
    a = _column("x", x)
    b = _column("y", y, len(a))
    held = [_column(f"covariate {i}", values, len(a)) for i, values in enumerate(covariates)]
    free = len(a) - len(held) - 2
    if free < 2:
        unknown = _unknown()
        return Correlation(
            interval=unknown,
            p=math.nan,
            rows=len(a),
            clustered=None if clusters is None else unknown,
            clusters=None if clusters is None else len(set(clusters)),
        )
    r = _partial_r(a, b, *held)
    clustered = None
    if clusters is not None:
        draws = resample(_partial_r, a, b, *held, groups=clusters, seed=seed, resamples=2000)
        clustered = interval_of(r, draws, level=level)
    return Correlation(
        interval=_fisher(r, free - 1, level),
        p=_student_p(r * math.sqrt(free / max(1 - r * r, 1e-300)), free),
        rows=len(a),
        clustered=clustered,
        clusters=None if clusters is None else len(set(clusters)),
    )


def _unknown() -> Interval:
    return Interval(math.nan, math.nan, math.nan)


def _fisher(r: float, freedom: int, level: float) -> Interval:
    if math.isnan(r) or abs(r) >= 1:
        return Interval(r, float("nan"), float("nan"))
    half = NormalDist().inv_cdf((1 + level) / 2) / math.sqrt(freedom)
    z = math.atanh(r)
    return Interval(r, math.tanh(z - half), math.tanh(z + half))


def _student_p(t: float, freedom: int) -> float:
    from scipy.special import stdtr

    return float(2 * stdtr(freedom, -abs(t)))


def regression(
    y: ArrayLike, columns: Mapping[str, ArrayLike], *, level: float = 0.95
) -> tuple[Coefficient, ...]:
    """Least squares of y on the columns and a constant; the constant comes first.

    Slopes are NaN where a column is constant or follows from the others, or where the rows are too
    few (not more than there are slopes).
    """
    from scipy.special import stdtrit

    target = _column("y", y)
    design = _design(list(columns.values()), len(target))
    free = len(target) - design.shape[1]
    names = ("constant", *columns)
    if free < 1 or np.linalg.matrix_rank(design) < design.shape[1]:
        nan = math.nan
        return tuple(Coefficient(name=name, interval=_unknown(), t=nan, p=nan) for name in names)
    slopes = np.linalg.lstsq(design, target, rcond=None)[0]
    left = target - design @ slopes
    errors = np.sqrt(float(left @ left) / free * np.diag(np.linalg.inv(design.T @ design)))
    reach = float(stdtrit(free, (1 + level) / 2))
    found = []
    for name, slope, error in zip(names, slopes, errors, strict=True):
        t = float(slope / error) if error > 0 else math.inf
        bounds = Interval(float(slope), float(slope - reach * error), float(slope + reach * error))
        found.append(Coefficient(name=name, interval=bounds, t=t, p=_student_p(t, free)))
    return tuple(found)
