import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from custodes.classifiers import (
    Calibration,
    benign_rows_needed,
    fit_calibration,
    threshold_for_budget,
)
from custodes.errors import DataError

LOGITS = st.lists(st.integers(-5, 5).map(float), min_size=60, max_size=200)


@given(LOGITS, st.sampled_from([0.05, 0.1, 0.3]))
def test_the_budget_is_never_exceeded_and_the_threshold_is_the_lowest(logits, budget):
    found = threshold_for_budget(logits, budget)
    refused = sum(logit >= found.logit for logit in logits)
    assert refused == found.refused
    assert refused <= budget * len(logits)
    below = max(logit for logit in logits if logit < found.logit)
    assert sum(logit >= below for logit in logits) > budget * len(logits)
    assert found.rate.low <= refused / len(logits) <= found.rate.high


@given(LOGITS, st.sampled_from([0.05, 0.1, 0.3]), st.integers(0, 6).map(float))
def test_the_budget_holds_for_the_probabilities_that_are_compared(logits, budget, shift):
    served = Calibration(slope=1.7, intercept=shift).probability
    found = threshold_for_budget(logits, budget, served=served)
    refused = sum(served(logit) >= found.score for logit in logits)
    assert refused == found.refused <= budget * len(logits)
    assert served(max(logit for logit in logits if logit < found.logit)) < found.score


def test_a_budget_too_small_for_the_rows_says_how_many_it_needs():
    assert benign_rows_needed(0.01) == 299
    with pytest.raises(DataError, match="at least 299"):
        threshold_for_budget(np.zeros(298), 0.01)
    threshold_for_budget(np.arange(299.0), 0.01)


@pytest.mark.parametrize("budget", [0.0, 1.0, -0.1, 7])
def test_a_budget_is_a_rate(budget):
    with pytest.raises(DataError, match="budget"):
        threshold_for_budget(np.zeros(500), budget)


def test_scores_that_are_no_numbers_are_refused():
    with pytest.raises(DataError, match="NaN"):
        threshold_for_budget([float("nan")] * 500, 0.1)


def test_platt_scaling_finds_the_odds():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=20_000)
    labels = (rng.random(20_000) < 1 / (1 + np.exp(-(1.7 * logits - 0.6)))).astype(int)
    fit = fit_calibration(logits, labels)
    assert fit.slope == pytest.approx(1.7, abs=0.1)
    assert fit.intercept == pytest.approx(-0.6, abs=0.06)


def test_platt_scaling_never_reorders():
    fit = fit_calibration(np.arange(10.0), (np.arange(10) < 5).astype(int))
    assert fit.slope > 0


def test_platt_scaling_needs_both_classes():
    with pytest.raises(DataError, match="one class"):
        fit_calibration(np.arange(5.0), np.ones(5, int))
