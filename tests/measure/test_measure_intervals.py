"""Intervals: exact ones against SciPy's and the binomial itself, resampling against theory."""

import math

import numpy as np
import pytest

from custodes.errors import DataError, InputError
from custodes.measure import (
    Interval,
    auprc,
    auroc,
    bootstrap,
    bootstrap_difference,
    clopper_pearson,
    crossed_rate,
    interval_of,
    resample,
    wilson,
)


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (1, 10), (10, 10), (7, 200), (99, 100)])
def test_proportions_agree_with_scipy(successes: int, trials: int) -> None:
    from scipy.stats import binomtest

    for ours, method in ((clopper_pearson, "exact"), (wilson, "wilson")):
        theirs = binomtest(successes, trials).proportion_ci(0.9, method=method)
        mine = ours(successes, trials, 0.9)
        assert mine.value == successes / trials
        assert (mine.low, mine.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


@pytest.mark.parametrize("interval", [clopper_pearson, wilson])
def test_no_trials_tell_nothing(interval) -> None:
    nothing = interval(0, 0)
    assert math.isnan(nothing.value)
    assert (nothing.low, nothing.high) == (0.0, 1.0)


@pytest.mark.parametrize("interval", [clopper_pearson, wilson])
@pytest.mark.parametrize(("successes", "trials"), [(3, 2), (-1, 2), (0.5, 2)])
def test_impossible_counts_are_errors(interval, successes, trials) -> None:
    with pytest.raises(InputError, match="successes in"):
        interval(successes, trials)


def test_a_level_outside_zero_to_one_is_an_error() -> None:
    with pytest.raises(InputError, match="level"):
        clopper_pearson(1, 2, 95)


def test_an_interval_formats_like_a_number() -> None:
    interval = Interval(0.8123, 0.79, 0.8333)
    assert str(interval) == "0.812 [0.790, 0.833]"
    assert f"{interval:.1%}" == "81.2% [79.0%, 83.3%]"
    assert str(Interval(0.5, math.nan, math.nan)) == "0.500"
    assert str(Interval(math.nan, 0.0, 1.0)) == "n/a [0.000, 1.000]"
    assert Interval(0.5, math.nan, math.inf).to_values() == {
        "value": 0.5, "low": None, "high": None,
    }  # fmt: skip


def test_the_bootstrap_of_a_mean_agrees_with_theory() -> None:
    values = np.random.default_rng(0).normal(3, 2, 2000)
    error = 1.96 * values.std() / math.sqrt(values.size)
    for method in ("percentile", "basic"):
        interval = bootstrap(np.mean, values, seed=1, resamples=2000, method=method)
        assert interval.value == values.mean()
        assert interval.high - interval.value == pytest.approx(error, rel=0.1)
        assert interval.value - interval.low == pytest.approx(error, rel=0.1)


def test_one_seed_one_interval() -> None:
    values = np.random.default_rng(0).random(100)
    first, again, other = (bootstrap(np.mean, values, seed=seed) for seed in (5, 5, 6))
    assert first == again
    assert first != other


def test_groups_are_drawn_whole() -> None:
    groups = ["a"] * 3 + ["b"] * 2 + ["c"]
    values = np.array([1, 1, 1, 10, 10, 100])
    draws = resample(lambda rows: [np.sum(rows == v) for v in (1, 10, 100)], values,
                     groups=groups, seed=0, resamples=200)  # fmt: skip
    assert draws.shape == (200, 3)
    assert not (draws[:, 0] % 3).any()
    assert not (draws[:, 1] % 2).any()
    assert (draws[:, 0] / 3 + draws[:, 1] / 2 + draws[:, 2] == 3).all()


def test_copies_of_rows_do_not_narrow_a_grouped_interval() -> None:
    values = np.random.default_rng(2).normal(size=200)
    once = bootstrap(np.mean, values, seed=0)
    copied = bootstrap(
        np.mean, np.repeat(values, 10), groups=list(np.repeat(range(200), 10)), seed=0
    )
    fooled = bootstrap(np.mean, np.repeat(values, 10), seed=0)
    assert copied.high - copied.low == pytest.approx(once.high - once.low, rel=0.1)
    assert fooled.high - fooled.low < 0.5 * (once.high - once.low)


def test_rows_without_a_group_stand_alone() -> None:
    draws = resample(np.size, np.arange(5), groups=[None] * 5, seed=0, resamples=20)
    assert (draws == 5).all()
    varied = resample(np.mean, np.arange(5), groups=[None] * 5, seed=0, resamples=20)
    assert len(set(varied)) > 5


def test_one_group_gives_no_bounds() -> None:
    interval = bootstrap(np.mean, [1.0, 2.0], groups=["a", "a"], seed=0)
    assert interval.value == 1.5
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)


def test_undefined_resamples_are_left_out_unless_they_are_most() -> None:
    labels = [0] * 3 + [1] * 3
    assert not math.isnan(bootstrap(auroc, labels, range(6), seed=0).low)
    assert interval_of(0.5, np.array([0.5, math.nan])).low == 0.5
    assert math.isnan(interval_of(0.5, np.array([0.5, math.nan, math.nan])).low)
    assert math.isnan(interval_of(math.nan, np.array([0.5])).low)


def test_a_paired_difference_is_narrower_than_two_intervals() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 500)
    good = rng.normal(labels, 1)
    worse = good + rng.normal(0, 0.3, 500)
    difference = bootstrap_difference(auprc, (labels, good), (labels, worse), seed=0, resamples=300)
    alone = bootstrap(auprc, labels, good, seed=0, resamples=300)
    assert difference.value == pytest.approx(auprc(labels, good) - auprc(labels, worse))
    assert difference.high - difference.low < 0.7 * (alone.high - alone.low)


def test_arrays_of_two_dimensions_are_drawn_by_rows() -> None:
    table = np.arange(12).reshape(6, 2)
    draws = resample(lambda t: (t[:, 1] - t[:, 0]).mean(), table, seed=0, resamples=5)
    assert (draws == 1).all()


@pytest.mark.parametrize(
    ("arrays", "options", "message"),
    [
        ((), {}, "at least one array"),
        ((3.0,), {}, "rows on its first axis"),
        (([],), {}, "no rows"),
        (([1, 2], [1]), {}, "different lengths"),
        (([1, 2],), {"groups": ["a"]}, "different lengths"),
        (([1, 2],), {"resamples": 0}, "resamples: got 0"),
        (([1, 2],), {"level": 1.0}, "level"),
        (([1, 2],), {"method": "bca"}, "method"),
    ],
)
def test_bad_bootstraps_are_errors(arrays, options, message) -> None:
    with pytest.raises((DataError, InputError), match=message):
        bootstrap(lambda *_: 0.0, *arrays, seed=0, **options)


def test_a_crossed_rate_holds_what_wilson_holds_and_more_where_columns_differ() -> None:
    tries = np.ones((41, 8))
    none = crossed_rate(np.zeros((41, 8)), tries, seed=0)
    assert none == wilson(0, 328)
    one_column = np.zeros((41, 8))
    one_column[:, 2] = 1
    for table, counts in (
        (one_column, tries),
        (one_column.T, tries.T),
        (3 * one_column, 3 * tries),
    ):
        found = crossed_rate(table, counts, seed=0)
        assert found == crossed_rate(table, counts, seed=0)
        assert (found.value, found.low) == (1 / 8, 0.0) and found.high >= 3 / 8


def test_a_crossed_rate_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    held = np.zeros(2)
    for _ in range(200):
        odds = -2.0 + rng.normal(size=(20, 1)) + rng.normal(size=(1, 20))
        broken = rng.random((20, 20)) < 1 / (1 + np.exp(-odds))
        crossed = crossed_rate(broken, np.ones((20, 20)), seed=0)
        for place, found in enumerate((wilson(int(broken.sum()), 400), crossed)):
            held[place] += found.low <= 0.1841 <= found.high  # the mean over both normals
    assert held[0] / 200 < 0.75
    assert held[1] / 200 >= 0.9


def test_a_single_row_draws_its_columns_and_a_single_cell_is_wilsons() -> None:
    row = [[9, 9, 0, 0, 0, 0, 0, 0]]
    assert crossed_rate(row, [[9] * 8], seed=0).high > wilson(18, 72).high
    assert crossed_rate([[3]], [[9]], seed=0) == wilson(3, 9)
    nothing = crossed_rate(np.zeros((0, 0)), np.zeros((0, 0)), seed=0)
    assert math.isnan(nothing.value) and (nothing.low, nothing.high) == (0.0, 1.0)
    # Most resamples of a table with one filled cell are empty.
    assert crossed_rate([[1, 0], [0, 0]], [[2, 0], [0, 0]], seed=0) == wilson(1, 2)
    with pytest.raises(DataError, match=r"shape \(2,\)"):
        crossed_rate([1, 0], [1, 1], seed=0)


def test_a_thousand_resamples_of_auprc_are_quick() -> None:
    from time import process_time

    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 3000)
    start = process_time()
    bootstrap(auprc, labels, rng.random(3000), seed=0)
    assert process_time() - start < 5
