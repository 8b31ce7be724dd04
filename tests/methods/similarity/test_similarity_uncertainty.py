import math

import numpy as np
import pytest

from custodes.errors import DataError, InputError
from custodes.methods.similarity import (
    METRICS,
    Pair,
    bootstrap_interval,
    jackknife_interval,
    permutation_null,
)
from custodes.methods.similarity.uncertainty import bootstrap_draws

METHODS = {"bootstrap": bootstrap_interval, "jackknife": jackknife_interval}


def interval(metric, pair, *, method="bootstrap", **settings):
    if method == "jackknife":
        settings = {k: v for k, v in settings.items() if k in ("groups", "level")}
    return METHODS[method](metric, pair, **settings)


def pair_of(table, first=0, second=1):
    rows = table.probabilities
    return Pair(rows[first], rows[second], table.labels, table.options)


@pytest.mark.parametrize("metric", METRICS.values(), ids=lambda metric: metric.name)
@pytest.mark.parametrize("method", ["bootstrap", "jackknife"])
def test_intervals_hold_their_value_and_repeat(table, metric, method):
    pair = pair_of(table)
    found = interval(metric, pair, method=method, seed=3)
    assert found.low < found.value < found.high
    assert found.value == metric.of(pair)
    assert found == interval(metric, pair, method=method, seed=3)


def test_bootstrap_is_the_metric_on_resampled_questions(table):
    """The weighted form equals drawing rows: checked on the first resample's own draw."""
    pair, metric = pair_of(table), METRICS["capa"]
    n = len(pair.labels)
    rows = np.random.default_rng(5).integers(0, n, (1, n))[0]
    drawn = Pair(pair.first[rows], pair.second[rows], pair.labels[rows], pair.options[rows])
    assert bootstrap_draws(metric, pair, resamples=1, seed=5)[0] == pytest.approx(metric.of(drawn))


def test_intervals_cover(table):
    """95 % intervals of repeated samples hold the population's value about 95 % of the time."""
    rng = np.random.default_rng(0)
    metric, whole = METRICS["capa"], pair_of(table)
    hits = {"bootstrap": 0, "jackknife": 0}
    for _ in range(200):
        rows = rng.integers(0, len(whole.labels), 150)
        sample = Pair(
            whole.first[rows], whole.second[rows], whole.labels[rows], whole.options[rows]
        )
        for method in hits:
            found = interval(metric, sample, method=method, resamples=200)
            hits[method] += found.low <= metric.of(whole) <= found.high
    assert all(180 <= count <= 199 for count in hits.values())


def test_groups_widen_the_interval_of_repeated_questions(table):
    """Each question four times over is no new information: by groups the width stays."""
    once = pair_of(table)
    rows = np.tile(np.arange(len(once.labels)), 4)
    often = Pair(once.first[rows], once.second[rows], once.labels[rows], once.options[rows])
    for method in ("bootstrap", "jackknife"):
        width = {
            name: found.high - found.low
            for name, found in {
                "once": interval(METRICS["capa"], once, method=method),
                "blind": interval(METRICS["capa"], often, method=method),
                "grouped": interval(METRICS["capa"], often, method=method, groups=rows),
            }.items()
        }
        assert width["blind"] == pytest.approx(width["once"] / 2, rel=0.15)
        assert width["grouped"] == pytest.approx(width["once"], rel=0.1)


def test_one_unit_gives_no_interval(table):
    pair = pair_of(table)
    one_group = np.zeros(len(pair.labels), dtype=np.int64)
    for method in ("bootstrap", "jackknife"):
        found = interval(METRICS["capa"], pair, method=method, groups=one_group)
        assert math.isfinite(found.value) and math.isnan(found.low) and math.isnan(found.high)


def test_null_of_independent_errors_is_around_zero():
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 4, 600)
    first, second = (rng.dirichlet(np.full(4, 0.3), 600) for _ in range(2))
    pair = Pair.of(first, second, labels)
    null = permutation_null(METRICS["capa"], pair, permutations=300, seed=1)
    assert abs(null.mean) < 0.005
    assert null.p > 0.01
    assert null.low < null.observed < null.high


def test_null_rejects_shared_mistakes():
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 4, 300)
    shared = rng.dirichlet(np.full(4, 0.3), 300)
    pair = Pair.of(shared, 0.7 * shared + 0.3 * rng.dirichlet(np.ones(4), 300), labels)
    null = permutation_null(METRICS["capa"], pair, permutations=199, seed=1)
    assert null.p == pytest.approx(1 / 200)
    assert null == permutation_null(METRICS["capa"], pair, permutations=199, seed=1)


def test_null_of_ragged_questions_keeps_accuracy(table):
    pair = pair_of(table)
    null = permutation_null(METRICS["error-consistency"], pair, permutations=50)
    assert null.low < null.mean < null.high


def test_null_by_groups_needs_groups_of_one_size(table):
    pair = pair_of(table)
    with pytest.raises(DataError, match="one size"):
        permutation_null(METRICS["capa"], pair, groups=table.groups)
    rng = np.random.default_rng(0)
    square = Pair.of(*rng.dirichlet(np.ones(3), (2, 60)), rng.integers(0, 3, 60))
    groups = np.arange(60) // 3
    null = permutation_null(METRICS["capa"], square, groups=groups, permutations=40)
    assert null.permutations == 40 and 0 < null.p <= 1


def test_null_of_perfect_models_is_nan():
    pair = Pair.of(np.eye(3), np.eye(3), [0, 1, 2])
    null = permutation_null(METRICS["capa"], pair, permutations=5)
    assert math.isnan(null.observed) and math.isnan(null.p)


def test_wrong_settings_are_refused(table):
    pair = pair_of(table)
    with pytest.raises(InputError, match="resamples"):
        interval(METRICS["capa"], pair, resamples=0)
    with pytest.raises(InputError, match="level"):
        interval(METRICS["capa"], pair, method="jackknife", level=1.0)
    with pytest.raises(InputError, match="permutations"):
        permutation_null(METRICS["capa"], pair, permutations=0)
    with pytest.raises(DataError, match="groups"):
        interval(METRICS["capa"], pair, groups=np.zeros(3, dtype=np.int64))


def test_a_null_of_groups_does_not_reject_more_than_it_says():
    """Independent models that repeat their answer in all ten paraphrases of an item."""
    rng = np.random.default_rng(1)
    items, paraphrases, rejected = 20, 10, 0
    for trial in range(100):
        right = rng.integers(0, 4, items)
        labels = np.repeat(right, paraphrases)
        groups = np.repeat(np.arange(items), paraphrases)

        def model(right=right):
            wrong = (right + rng.integers(1, 4, items)) % 4
            choice = np.where(rng.random(items) < 0.3, right, wrong)
            return np.eye(4)[np.repeat(choice, paraphrases)]

        pair = Pair.of(model(), model(), labels)
        null = permutation_null(METRICS["capa"], pair, groups=groups, permutations=39, seed=trial)
        rejected += null.p <= 0.05
    assert rejected <= 11  # of 100 at .05; shuffled question by question it is about 20
