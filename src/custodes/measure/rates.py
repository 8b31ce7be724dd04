"""Rates at a threshold, and the threshold for a rate.

One convention throughout custodes: a row is flagged where its score is *at or above* the
threshold. Comparisons are made in double precision. How much benign data a threshold needs to
keep its promise on new traffic is not known here: see `custodes.classifiers.calibrate`.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from custodes.errors import DataError, InputError
from custodes.measure.arrays import FloatArray, check_share, labels_and, numbers

__all__ = [
    "f1_at",
    "precision_at",
    "rate_above",
    "recall_at",
    "recall_at_fpr",
    "threshold_at_fpr",
]


def rate_above(scores: ArrayLike, threshold: float) -> float:
    """Share of scores at or above the threshold: recall over harmful rows, FPR over benign ones."""
    _check_threshold(threshold)
    return float(np.mean(numbers("scores", scores) >= threshold))


def recall_at(labels: ArrayLike, scores: ArrayLike, threshold: float) -> float:
    """Flagged share of the harmful rows; NaN where there are none."""
    true, _, missed = _confusion(labels, scores, threshold)
    return _ratio(true, true + missed)


def precision_at(labels: ArrayLike, scores: ArrayLike, threshold: float) -> float:
    """Harmful share of the flagged rows; NaN where nothing is flagged."""
    true, false, _ = _confusion(labels, scores, threshold)
    return _ratio(true, true + false)


def f1_at(labels: ArrayLike, scores: ArrayLike, threshold: float) -> float:
    """F1 = 2 TP / (2 TP + FP + FN); NaN where nothing is harmful and nothing is flagged."""
    true, false, missed = _confusion(labels, scores, threshold)
    return _ratio(2 * true, 2 * true + false + missed)


def threshold_at_fpr(benign_scores: ArrayLike, fpr: float) -> float:
    """The lowest threshold that flags at most the share `fpr` of these benign scores.

    With ties the realised share stays below the target, never above. It is the next double above
    a benign score (keep it in double precision), or -inf where `fpr` lets everything through.
    `DataError` where more scores than that are inf: no threshold lies above them.
    """
    check_share("fpr", fpr)
    passing = _first_passing(numbers("benign_scores", benign_scores), fpr)
    if passing is None:
        return -math.inf
    if passing == math.inf:
        raise DataError(
            f"benign_scores: got more that are inf than a rate of {fpr} allows, and no threshold "
            "lies above inf; give finite scores, or a higher rate"
        )
    return float(np.nextafter(passing, np.inf))


def recall_at_fpr(labels: ArrayLike, scores: ArrayLike, fpr: float) -> float:
    """Recall at the lowest threshold whose false-positive rate is at most `fpr`.

    The threshold comes from the benign rows of the same sample (`threshold_at_fpr`); where they
    are inf it would flag nothing, and recall is 0. NaN with one class only.
    """
    check_share("fpr", fpr)
    truth, values = labels_and(labels, scores)
    if truth.all() or not truth.any():
        return math.nan
    passing = _first_passing(values[~truth], fpr)
    return 1.0 if passing is None else float(np.mean(values[truth] > passing))


def _first_passing(benign: FloatArray, fpr: float) -> float | None:
    """The greatest of these scores that must not be flagged; None where all may be."""
    allowed = _at_most(fpr, benign.size)
    return None if allowed == benign.size else float(np.sort(benign)[::-1][allowed])


def _at_most(share: float, total: int) -> int:
    """The largest k with k / total <= share; the product alone rounds (0.29 * 100 < 29)."""
    k = min(total, math.floor(share * total) + 1)
    while k / total > share:
        k -= 1
    return k


def _confusion(labels: ArrayLike, scores: ArrayLike, threshold: float) -> tuple[int, int, int]:
    """True positives, false positives, false negatives."""
    _check_threshold(threshold)
    truth, values = labels_and(labels, scores)
    flagged = values >= threshold
    return (
        int(np.sum(flagged & truth)),
        int(np.sum(flagged & ~truth)),
        int(np.sum(~flagged & truth)),
    )


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else math.nan


def _check_threshold(threshold: float) -> None:
    if math.isnan(threshold):
        raise InputError("threshold: got NaN, expected a number; nothing compares with NaN")
