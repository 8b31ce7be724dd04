"""From scores to decisions: a threshold for a false-refusal budget, and honest probabilities.

Pure functions on arrays. The threshold of Constitutional Classifiers++ (arXiv 2601.04603) is a
quantile of benign traffic; the interval around what it really refuses is exact (Clopper-Pearson).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from custodes.classifiers.scorer import Calibration
from custodes.errors import DataError
from custodes.measure import Interval, clopper_pearson, threshold_at_fpr

__all__ = ["Threshold", "benign_rows_needed", "fit_calibration", "threshold_for_budget"]


@dataclass(frozen=True, slots=True)
class Threshold:
    """Stop at `score` and above: it refuses `refused` of `rows` benign texts, `rate` of them.

    `logit`: of the first row that passes, the next number above it. `score`: the same of what is
    compared when a text is judged.
    """

    logit: float
    score: float
    refused: int
    rows: int
    rate: Interval


def benign_rows_needed(budget: float, level: float = 0.95) -> int:
    """Rows of which none may be refused for a rate above `budget` to be ruled out at `level`."""
    return math.ceil(math.log(1.0 - level) / math.log(1.0 - budget))


def threshold_for_budget(
    benign: Sequence[float] | NDArray[np.float64],
    budget: float,
    *,
    level: float = 0.95,
    served: Callable[[float], float] = float,
) -> Threshold:
    """The lowest threshold that refuses at most `budget` of the benign logits [n].

    `served`: logit -> the score that is compared when a text is judged, never falling. Ties with
    the threshold count as refused. `DataError` where `budget` is no rate in (0, 1) or n is below
    `benign_rows_needed`.
    """
    if not 0.0 < budget < 1.0:
        raise DataError(f"false-refusal budget: got {budget}, expected a rate such as 0.01")
    logits = np.asarray(benign, np.float64)
    needed = benign_rows_needed(budget, level)
    if len(logits) < needed:
        raise DataError(
            f"false-refusal budget {budget}: got {len(logits)} benign rows, needs at least "
            f"{needed}; give more benign rows or a larger budget"
        )
    if not np.isfinite(logits).all():
        raise DataError("benign scores: got NaN or infinity, expected finite logits")
    # Just above the first row that must pass: everything at or above the threshold is refused. The
    # step is taken among scores: logits a step apart are mostly one probability.
    scores = np.array([served(float(logit)) for logit in logits])
    threshold = threshold_at_fpr(scores, budget)
    refused = int((scores >= threshold).sum())
    return Threshold(
        logit=threshold_at_fpr(logits, budget),
        score=threshold,
        refused=refused,
        rows=len(logits),
        rate=clopper_pearson(refused, len(logits), level=level),
    )


def fit_calibration(logits: NDArray[np.float64], labels: NDArray[np.int64]) -> Calibration:
    """Platt scaling: slope and intercept of a logistic regression of `labels` on `logits`, [n]."""
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(labels)) < 2:
        raise DataError(
            "calibration: got labels of one class only, expected harmful and benign rows"
        )
    scale = float(np.std(logits)) or 1.0
    fit = LogisticRegression(C=1e4).fit((logits / scale)[:, None], labels)
    # A slope of 0 or below would turn the order round; the floor keeps the scores' own order.
    slope = max(float(fit.coef_[0, 0]) / scale, 1e-3)
    return Calibration(slope=slope, intercept=float(fit.intercept_[0]))
