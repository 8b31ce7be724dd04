"""A figure with its interval; intervals of a proportion, and of a mean over few runs.

The proportions' intervals take rows as independent; where rows come in groups, use
`custodes.measure.bootstrap`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from custodes.errors import DataError, InputError
from custodes.measure.arrays import check_share

__all__ = ["Interval", "clopper_pearson", "over_seeds", "wilson"]


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure and the interval around it; NaN where a part is not defined.

    Formats like a float: `f"{interval:.1%}"` gives `81.2% [79.0%, 83.3%]`.
    """

    value: float
    low: float
    high: float

    def __format__(self, spec: str) -> str:
        spec = spec or ".3f"
        value, low, high = (
            "n/a" if math.isnan(x) else format(x, spec) for x in (self.value, self.low, self.high)
        )
        if math.isnan(self.low) and math.isnan(self.high):
            return value
        return f"{value} [{low}, {high}]"

    def __str__(self) -> str:
        return format(self, "")

    def to_values(self) -> dict[str, float | None]:
        """Plain JSON: `value`, `low`, `high`; null for what is not a finite number."""
        parts = {"value": self.value, "low": self.low, "high": self.high}
        return {name: float(x) if math.isfinite(x) else None for name, x in parts.items()}


def over_seeds(values: Iterable[float], level: float = 0.95) -> Interval:
    """The mean of independent runs with Student's t interval; NaN bounds for a single run.

    `DataError` for no runs.
    """
    from scipy.stats import t

    found = np.asarray(list(values), dtype=np.float64)
    if not len(found):
        raise DataError("got no runs; expected at least one")
    mean = float(found.mean())
    if len(found) == 1:
        return Interval(mean, math.nan, math.nan)
    error = float(found.std(ddof=1)) / math.sqrt(len(found))
    half = float(t.ppf((1 + level) / 2, len(found) - 1)) * error
    return Interval(mean, mean - half, mean + half)


def clopper_pearson(successes: int, trials: int, level: float = 0.95) -> Interval:
    """The exact interval of a proportion (Clopper and Pearson 1934): covers at least `level`.

    Zero trials tell nothing: the value is NaN, the interval [0, 1].
    """
    _check_counts(successes, trials, level)
    if trials == 0:
        return Interval(math.nan, 0.0, 1.0)
    from scipy.special import betaincinv

    tail = (1 - level) / 2
    low = float(betaincinv(successes, trials - successes + 1, tail)) if successes else 0.0
    misses = trials - successes
    high = float(betaincinv(successes + 1, misses, 1 - tail)) if misses else 1.0
    return Interval(successes / trials, low, high)


def wilson(successes: int, trials: int, level: float = 0.95) -> Interval:
    """The score interval of a proportion (Wilson 1927): about `level` on average, and shorter.

    Zero trials tell nothing: the value is NaN, the interval [0, 1].
    """
    _check_counts(successes, trials, level)
    if trials == 0:
        return Interval(math.nan, 0.0, 1.0)
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share = successes / trials
    shrink = 1 + z * z / trials
    center = (share + z * z / (2 * trials)) / shrink
    half = z / shrink * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    low = 0.0 if successes == 0 else center - half
    high = 1.0 if successes == trials else center + half
    return Interval(share, low, high)


def _check_counts(successes: int, trials: int, level: float) -> None:
    check_share("level", level, open_ends=True)
    whole = int(successes) == successes and int(trials) == trials
    if not (whole and 0 <= successes <= trials):
        raise InputError(
            f"got {successes!r} successes in {trials!r} trials, expected whole numbers with "
            "0 <= successes <= trials"
        )
