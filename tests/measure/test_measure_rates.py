"""Rates at a threshold and thresholds for a rate."""

import math

import numpy as np
import pytest

from custodes.errors import DataError, InputError
from custodes.measure import (
    f1_at,
    precision_at,
    rate_above,
    recall_at,
    recall_at_fpr,
    threshold_at_fpr,
)

LABELS = [1, 1, 1, 0, 0]
SCORES = [0.9, 0.6, 0.2, 0.6, 0.1]


def test_a_score_at_the_threshold_is_flagged() -> None:
    assert rate_above([0.4, 0.5, 0.6, 0.7], 0.5) == 0.75
    assert recall_at(LABELS, SCORES, 0.6) == pytest.approx(2 / 3)
    assert precision_at(LABELS, SCORES, 0.6) == pytest.approx(2 / 3)
    assert f1_at(LABELS, SCORES, 0.6) == pytest.approx(2 / 3)


def test_f1_agrees_with_scikit_learn() -> None:
    from sklearn.metrics import f1_score

    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 2, 300), rng.random(300)
    expected = f1_score(labels, scores >= 0.3)
    assert f1_at(labels, scores, 0.3) == pytest.approx(expected)


def test_undefined_rates_are_nan() -> None:
    assert math.isnan(recall_at([0, 0], [0.1, 0.9], 0.5))
    assert math.isnan(precision_at([0, 1], [0.1, 0.2], 0.5))
    assert math.isnan(f1_at([0, 0], [0.1, 0.2], 0.5))
    assert f1_at([0, 0], [0.1, 0.9], 0.5) == 0.0
    assert math.isnan(recall_at_fpr([1, 1], [0.1, 0.9], 0.1))
    assert math.isnan(recall_at_fpr([0, 0], [0.1, 0.9], 0.1))


def test_threshold_lies_just_above_the_first_benign_score_that_must_pass() -> None:
    scores = np.arange(100) / 100
    threshold = threshold_at_fpr(scores, 0.01)
    assert rate_above(scores, threshold) == 0.01
    assert threshold == np.nextafter(0.98, 1)


def test_ties_keep_the_realized_rate_below_the_target() -> None:
    scores = [0.9] * 5 + [0.1] * 95
    assert rate_above(scores, threshold_at_fpr(scores, 0.04)) == 0.0
    assert rate_above(scores, threshold_at_fpr(scores, 0.05)) == 0.05
    assert rate_above(scores, threshold_at_fpr(scores, 0.5)) == 0.05


def test_rounding_does_not_cost_a_row() -> None:
    # 0.29 * 100 is 28.999999999999996 in doubles.
    assert rate_above(np.arange(100), threshold_at_fpr(np.arange(100), 0.29)) == 0.29


def test_the_extremes_of_the_rate() -> None:
    assert threshold_at_fpr([0.1, 0.2], 1.0) == -math.inf
    assert rate_above([0.1, 0.2], threshold_at_fpr([0.1, 0.2], 0.0)) == 0.0


def test_no_threshold_lies_above_scores_without_end() -> None:
    scores = [math.inf, math.inf, 0.0, 0.0]
    with pytest.raises(DataError, match="no threshold lies above inf"):
        threshold_at_fpr(scores, 0.25)
    assert rate_above(scores, threshold_at_fpr(scores, 0.5)) == 0.5
    assert recall_at_fpr([0, 0, 0, 0, 1], [*scores, math.inf], 0.25) == 0.0
    assert recall_at_fpr([0, 0, 0, 0, 1], [*scores, 1.0], 0.5) == 1.0


def test_recall_at_fpr_takes_the_threshold_from_the_benign_rows() -> None:
    labels = [0] * 100 + [1] * 4
    scores = [i / 100 for i in range(100)] + [0.5, 0.975, 0.985, 0.995]
    assert recall_at_fpr(labels, scores, 0.01) == 0.5
    assert recall_at_fpr(labels, scores, 0.0) == 0.25
    assert recall_at_fpr(labels, scores, 1.0) == 1.0


@pytest.mark.parametrize("fpr", [-0.1, 1.1, math.nan])
def test_a_rate_outside_zero_to_one_is_an_error(fpr: float) -> None:
    with pytest.raises(InputError, match="fpr: got"):
        recall_at_fpr([0, 1], [0.1, 0.2], fpr)


def test_a_threshold_that_is_nan_is_an_error() -> None:
    with pytest.raises(InputError, match="threshold: got NaN"):
        rate_above([0.1], math.nan)
    with pytest.raises(InputError, match="threshold: got NaN"):
        f1_at([1], [0.1], math.nan)
