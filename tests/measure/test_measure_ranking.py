"""Ranking: scikit-learn as the oracle, ties, one class only, malformed input."""

import math

import numpy as np
import pytest

from custodes.errors import DataError
from custodes.measure import auprc, auroc, pr_curve, roc_curve


def sample(seed: int, rows: int = 400, digits: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, rows)
    return labels, np.round(rng.normal(labels, 1.0), digits)


@pytest.mark.parametrize("digits", [0, 1, 8])
def test_agrees_with_scikit_learn_with_ties(digits: int) -> None:
    from sklearn.metrics import average_precision_score, roc_auc_score

    labels, scores = sample(digits, digits=digits)
    assert auroc(labels, scores) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert auprc(labels, scores) == pytest.approx(
        average_precision_score(labels, scores), abs=1e-12
    )


def test_roc_points_agree_with_scikit_learn() -> None:
    from sklearn.metrics import roc_curve as oracle

    labels, scores = sample(3)
    for ours, theirs in zip(
        roc_curve(labels, scores), oracle(labels, scores, drop_intermediate=False), strict=True
    ):
        np.testing.assert_allclose(ours, theirs)


def test_pr_points_agree_with_scikit_learn() -> None:
    from sklearn.metrics import precision_recall_curve as oracle

    labels, scores = sample(4)
    recall, precision, thresholds = pr_curve(labels, scores)
    theirs = oracle(labels, scores)
    np.testing.assert_allclose(recall, theirs[1][:-1][::-1])
    np.testing.assert_allclose(precision, theirs[0][:-1][::-1])
    np.testing.assert_allclose(thresholds, theirs[2][::-1])


def test_all_tied_is_chance_and_the_base_rate() -> None:
    assert auroc([0, 1, 0, 1], [0.5] * 4) == 0.5
    assert auprc([0, 1, 0, 0], [0.5] * 4) == 0.25


def test_perfect_and_reversed() -> None:
    assert auroc([0, 0, 1], [0.1, 0.2, 0.9]) == 1.0
    assert auroc([1, 1, 0], [0.1, 0.2, 0.9]) == 0.0
    assert auprc([False, True], [-math.inf, math.inf]) == 1.0


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_is_nan(label: int) -> None:
    labels = [label] * 3
    assert math.isnan(auroc(labels, [0.1, 0.2, 0.3]))
    assert math.isnan(auprc(labels, [0.1, 0.2, 0.3]))
    false, true, _ = roc_curve(labels, [0.1, 0.2, 0.3])
    assert np.isnan(false if label else true).all()
    assert np.isnan(pr_curve(labels, [0.1, 0.2, 0.3])[0]).all() == (label == 0)


@pytest.mark.parametrize("metric", [auroc, auprc, roc_curve, pr_curve])
@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([], [], "no values"),
        ([0, 1], [0.1], "different lengths: labels 2, scores 1"),
        ([0, 1, 1], [0.1, math.nan, 0.2], "1 of 3 values are NaN or missing, the first at index 1"),
        ([0, 2], [0.1, 0.2], "got 2, expected 0"),
        ([0, None], [0.1, 0.2], "labels: 1 of 2"),
        (["yes", "no"], [0.1, 0.2], "expected numbers"),
        ([[0, 1]], [0.1, 0.2], "one dimension"),
    ],
)
def test_malformed_input_is_an_error(metric, labels, scores, message) -> None:
    with pytest.raises(DataError, match=message):
        metric(labels, scores)
