"""Whether a probability of 0.8 comes true eight times in ten.

Only probabilities of harm in [0, 1] are judged; how to calibrate scores is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from custodes.errors import InputError
from custodes.measure.arrays import BoolArray, FloatArray, labels_and, probabilities
from custodes.measure.intervals import clopper_pearson

__all__ = [
    "Reliability",
    "brier",
    "calibration_gaps",
    "expected_calibration_error",
    "reliability_curve",
]


@dataclass(frozen=True, slots=True)
class Reliability:
    """Per bin that holds rows: mean probability, harmful share with exact bounds, rows."""

    predicted: FloatArray
    observed: FloatArray
    low: FloatArray
    high: FloatArray
    counts: NDArray[np.int64]


def brier(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Mean squared distance between probability and label (Brier 1950); 0 is perfect."""
    truth, values = _judged(labels, probabilities)
    return float(np.mean((values - truth) ** 2))


def expected_calibration_error(
    labels: ArrayLike, probabilities: ArrayLike, bins: int = 15
) -> float:
    """Mean over rows of |harmful share - mean probability| of the row's bin, equal-width bins.

    The form for a binary probability of Naeini et al. (2015). It depends on `bins` and is biased
    upwards on few rows: state both.
    """
    return float(np.sum(np.abs(calibration_gaps(labels, probabilities, bins))))


def calibration_gaps(labels: ArrayLike, probabilities: ArrayLike, bins: int = 15) -> FloatArray:
    """Harmful share less mean probability of each bin, [bins], weighed by its share of the rows.

    Their sizes sum to the expected calibration error.
    """
    truth, values = _judged(labels, probabilities)
    place = _bin(values, bins)
    return np.bincount(place, weights=truth - values, minlength=bins) / values.size


def reliability_curve(
    labels: ArrayLike, probabilities: ArrayLike, bins: int = 10, level: float = 0.95
) -> Reliability:
    """The points of a reliability diagram, empty bins left out, with Clopper-Pearson bounds."""
    truth, values = _judged(labels, probabilities)
    place = _bin(values, bins)
    counts = np.bincount(place, minlength=bins)
    filled = counts > 0
    harmful = np.bincount(place, weights=truth, minlength=bins)[filled]
    counts = counts[filled]
    bounds = [clopper_pearson(int(k), int(n), level) for k, n in zip(harmful, counts, strict=True)]
    return Reliability(
        predicted=np.bincount(place, weights=values, minlength=bins)[filled] / counts,
        observed=harmful / counts,
        low=np.array([bound.low for bound in bounds]),
        high=np.array([bound.high for bound in bounds]),
        counts=counts,
    )


def _judged(labels: ArrayLike, values: ArrayLike) -> tuple[BoolArray, FloatArray]:
    return labels_and(labels, probabilities("probabilities", values), name="probabilities")


def _bin(values: FloatArray, bins: int) -> NDArray[np.int64]:
    if bins < 1:
        raise InputError(f"bins: got {bins}, expected at least 1")
    return np.minimum((values * bins).astype(np.int64), bins - 1)
