"""Intervals of shares that never vanish."""

import math

import numpy as np
import pytest

from custodes.measure import clopper_pearson
from custodes.review.shares import Share, difference


def share(value, *draws, units=6):
    return Share(value=value, draws=np.array(draws, dtype=float), units=units)


def test_draws_that_vary_are_taken_as_they_are():
    found = share(0.5, 0.4, 0.5, 0.6).interval(0.5)
    assert (found.low, found.high) == (pytest.approx(0.45), pytest.approx(0.55))
    two = difference(share(0.5, 0.4, 0.6), share(0.2, 0.3, 0.1), level=0.5)
    assert two.low == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("value", "right"), [(0.0, (0, 0)), (1.0, (6, 6)), (0.5, (3, 3)), (0.4, (2, 3))]
)
def test_draws_that_are_all_alike_give_way_to_exact_bounds(value, right):
    found = share(value, value, value, value).interval()
    assert found.low == clopper_pearson(right[0], 6).low
    assert found.high == clopper_pearson(right[1], 6).high


def test_a_difference_is_as_unsure_as_both():
    same = share(1, 1, 1, 1)
    found = difference(same, same)
    assert found.value == 0
    assert found.high == -found.low == pytest.approx(1 - clopper_pearson(6, 6).low)
    # each varies, and both alike: that they always would is not known
    paired = difference(share(0.5, 0.4, 0.5, 0.6), share(0.5, 0.4, 0.5, 0.6))
    assert paired.low < 0 < paired.high
    apart = difference(share(1, 1, 1, units=1), share(0, 0, 0, units=1))
    assert apart.value == apart.high == 1
    assert -1 <= apart.low < 0


def test_what_is_not_defined_stays_so():
    nothing = share(math.nan, math.nan, math.nan, units=0)
    assert math.isnan(nothing.interval().low)
    found = difference(nothing, share(1, 1, 1))
    assert math.isnan(found.value) and math.isnan(found.low) and math.isnan(found.high)
