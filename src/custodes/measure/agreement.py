"""How far raters agree beyond chance.

Categories are names, not quantities: no rating is nearer to another. Where chance alone would
give full agreement (everybody always says the same), kappa is 0/0 and documented as NaN.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from custodes.errors import DataError
from custodes.measure.arrays import same_length

__all__ = ["cohen_kappa", "fleiss_kappa"]


def cohen_kappa(first: Sequence[Hashable], second: Sequence[Hashable]) -> float:
    """Cohen's kappa (1960) of two raters over the same items; NaN where both never vary."""
    items = same_length({"first": first, "second": second})
    if items == 0:
        raise DataError("ratings: got no items; expected at least one that both raters judged")
    codes: dict[Hashable, int] = {}
    pairs = [
        (codes.setdefault(one, len(codes)), codes.setdefault(two, len(codes)))
        for one, two in zip(first, second, strict=True)
    ]
    if any(name is None or name != name for name in codes):  # noqa: PLR0124 - NaN is not itself
        raise DataError("ratings: a rating is missing; leave out items that a rater did not judge")
    table = np.zeros((len(codes), len(codes)))
    np.add.at(table, tuple(np.array(pairs).T), 1 / items)
    expected = float(table.sum(axis=0) @ table.sum(axis=1))
    return _beyond_chance(float(np.trace(table)), expected)


def fleiss_kappa(counts: ArrayLike) -> float:
    """Fleiss' kappa (1971). `counts`: items x categories, how many raters chose each.

    Every item needs the same number of raters, at least two. NaN where only one category was
    ever used.
    """
    table = np.asarray(counts, dtype=np.float64)
    if table.ndim != 2 or table.size == 0:
        raise DataError(f"counts: got shape {table.shape}, expected items x categories")
    raters = table.sum(axis=1)
    if not np.isfinite(table).all() or (table < 0).any() or (table % 1).any():
        raise DataError("counts: expected whole numbers of raters, 0 or more")
    if raters.min() != raters.max() or raters[0] < 2:
        raise DataError(
            f"counts: got {raters.min():g} to {raters.max():g} raters an item, expected one "
            "number of at least 2 for all"
        )
    n = raters[0]
    observed = float(np.mean((np.sum(table**2, axis=1) - n) / (n * (n - 1))))
    expected = float(np.sum((table.sum(axis=0) / table.sum()) ** 2))
    return _beyond_chance(observed, expected)


def _beyond_chance(observed: float, expected: float) -> float:
    # Shares are sums of 1/n: "one category only" may miss 1 by a rounding error.
    return math.nan if expected > 1 - 1e-12 else (observed - expected) / (1 - expected)
