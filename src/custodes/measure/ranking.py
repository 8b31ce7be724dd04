"""How well scores put the harmful above the benign, whatever the threshold.

Ties are one step: rows of one score enter together. With one class only there is nothing to
rank, and every figure here is NaN; malformed input is a `DataError`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from custodes.measure.arrays import BoolArray, FloatArray, labels_and

__all__ = ["auprc", "auroc", "pr_curve", "roc_curve"]


def auroc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Area under the ROC curve: P(harmful above benign) + P(tie) / 2; NaN with one class only."""
    truth, values = labels_and(labels, scores)
    false, true, _ = _cumulative(truth, values)
    pairs = false[-1] * true[-1]
    if pairs == 0:
        return float("nan")
    return float(np.sum(np.diff(false, prepend=0.0) * (true + _before(true))) / (2 * pairs))


def auprc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Average precision: sum over thresholds of (R_n - R_{n-1}) P_n; NaN with one class only.

    The step-wise sum, not the trapezoid, which is optimistic (Davis and Goadrich 2006).
    """
    truth, values = labels_and(labels, scores)
    false, true, _ = _cumulative(truth, values)
    if false[-1] == 0 or true[-1] == 0:
        return float("nan")
    return float(np.sum((true - _before(true)) * true / (true + false)) / true[-1])


def roc_curve(labels: ArrayLike, scores: ArrayLike) -> tuple[FloatArray, FloatArray, FloatArray]:
    """False-positive rates, true-positive rates and thresholds, from (0, 0) at +inf to (1, 1).

    A row is positive where its score is at or above the threshold. A class that is absent
    makes its rate NaN.
    """
    truth, values = labels_and(labels, scores)
    false, true, thresholds = _cumulative(truth, values)
    return (
        _share(np.concatenate([[0.0], false])),
        _share(np.concatenate([[0.0], true])),
        np.concatenate([[np.inf], thresholds]),
    )


def pr_curve(labels: ArrayLike, scores: ArrayLike) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Recall (ascending), precision and thresholds, one point a distinct score.

    Recall is NaN throughout where no row is harmful. There is no point at recall 0: precision is
    not defined where nothing is flagged.
    """
    truth, values = labels_and(labels, scores)
    false, true, thresholds = _cumulative(truth, values)
    return _share(true), true / (true + false), thresholds


def _cumulative(truth: BoolArray, values: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Counts of benign and of harmful rows at or above each distinct score, scores descending."""
    order = np.argsort(values, kind="stable")[::-1]
    ranked = values[order]
    last_of_tie = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), ranked.size - 1)
    true = np.cumsum(truth[order], dtype=np.float64)[last_of_tie]
    return last_of_tie + 1.0 - true, true, ranked[last_of_tie]


def _before(counts: FloatArray) -> FloatArray:
    return np.concatenate([[0.0], counts[:-1]])


def _share(counts: FloatArray) -> FloatArray:
    return counts / counts[-1] if counts[-1] else np.full_like(counts, np.nan)
