"""A share of right answers, and the difference of two, with intervals that never vanish.

Where everybody was right, every resample says so, and its interval has no width: as if six trials
could show that nobody ever errs. Exact bounds take its place, in which raters or items, whichever
are fewer, count as one trial each. How the draws were made is not known here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from custodes.measure import Interval, clopper_pearson, interval_of

__all__ = ["Share", "difference"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Share:
    """A share, its bootstrap draws, and how many independent `units` stand behind it."""

    value: float
    draws: Floats
    units: int

    def interval(self, level: float = 0.95) -> Interval:
        """Percentiles of the draws; where these are one, Clopper and Pearson's bounds."""
        found = interval_of(self.value, self.draws, level=level)
        if not _flat(found):
            return found
        # A part of a unit counts against both bounds.
        right = self.value * self.units
        least, most = math.floor(right + 1e-9), math.ceil(right - 1e-9)
        low = clopper_pearson(least, self.units, level).low
        return Interval(self.value, low, clopper_pearson(most, self.units, level).high)


def difference(one: Share, other: Share, *, level: float = 0.95) -> Interval:
    """`one` less `other`, whose draws are of the same resamples.

    Where the draws of either or of the difference are all alike, the interval is widened to the two
    shares' own, joined by squares as Newcombe (1998, method 10) joins Wilson's.
    """
    found = interval_of(one.value - other.value, one.draws - other.draws, level=level)
    alone = [interval_of(each.value, each.draws, level=level) for each in (one, other)]
    if not any(map(_flat, (found, *alone))):
        return found
    a, b = one.interval(level), other.interval(level)
    low = found.value - math.hypot(a.value - a.low, b.high - b.value)
    high = found.value + math.hypot(a.high - a.value, b.value - b.low)
    # unlike min, np.minimum keeps NaN: what resampling could not tell stays untold
    low, high = float(np.minimum(found.low, low)), float(np.maximum(found.high, high))
    return Interval(found.value, low, high)


def _flat(found: Interval) -> bool:
    return found.low == found.high
