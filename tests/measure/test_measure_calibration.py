"""Calibration: by hand, and scikit-learn as the oracle."""

import numpy as np
import pytest

from custodes.errors import DataError, InputError
from custodes.measure import brier, expected_calibration_error, reliability_curve


def test_brier_agrees_with_scikit_learn() -> None:
    from sklearn.metrics import brier_score_loss

    rng = np.random.default_rng(0)
    labels, values = rng.integers(0, 2, 200), rng.random(200)
    assert brier(labels, values) == pytest.approx(brier_score_loss(labels, values))


def test_calibration_error_by_hand() -> None:
    # Bins [0, .5) and [.5, 1]: gaps |0.5 - 0.25| over 2 rows and |1 - 0.9| over 2 rows.
    labels, values = [0, 1, 1, 1], [0.2, 0.3, 0.8, 1.0]
    assert expected_calibration_error(labels, values, bins=2) == pytest.approx(0.175)
    assert expected_calibration_error([0, 1], [0.0, 1.0]) == 0.0
    assert expected_calibration_error([1, 0], [0.0, 1.0]) == 1.0


def test_a_calibrated_sample_has_little_error() -> None:
    rng = np.random.default_rng(0)
    values = rng.random(20_000)
    assert expected_calibration_error(rng.random(20_000) < values, values) < 0.02


def test_reliability_agrees_with_scikit_learn_and_leaves_empty_bins_out() -> None:
    from sklearn.calibration import calibration_curve

    rng = np.random.default_rng(0)
    values = rng.random(500) * 0.6
    labels = rng.random(500) < values
    curve = reliability_curve(labels, values, bins=10)
    observed, predicted = calibration_curve(labels, values, n_bins=10)
    np.testing.assert_allclose(curve.observed, observed)
    np.testing.assert_allclose(curve.predicted, predicted)
    assert curve.counts.sum() == 500
    assert curve.counts.size == 6
    assert (curve.low <= curve.observed).all()
    assert (curve.observed <= curve.high).all()


@pytest.mark.parametrize("metric", [brier, expected_calibration_error, reliability_curve])
def test_log_odds_are_no_probabilities(metric) -> None:
    with pytest.raises(DataError, match=r"from -2 to 3, expected probabilities"):
        metric([0, 1], [-2.0, 3.0])


@pytest.mark.parametrize("metric", [expected_calibration_error, reliability_curve])
def test_no_bins_is_an_error(metric) -> None:
    with pytest.raises(InputError, match="bins: got 0"):
        metric([0, 1], [0.2, 0.3], 0)
