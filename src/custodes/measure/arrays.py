"""What every metric asks of its arrays: one place that checks, so that no number comes of nonsense.

It knows shapes and values, not what a metric is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sized

import numpy as np
from numpy.typing import ArrayLike, NDArray

from custodes.errors import DataError, InputError

__all__ = [
    "BoolArray",
    "FloatArray",
    "check_share",
    "labels_and",
    "numbers",
    "probabilities",
    "same_length",
]

FloatArray = NDArray[np.float64]
"""Numbers in double precision."""

BoolArray = NDArray[np.bool_]
"""Labels: true is harmful."""


def numbers(name: str, values: ArrayLike) -> FloatArray:
    """`values` as a 1-D array without NaN; `DataError` where they are empty or no such thing."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name}: expected numbers: {error}") from error
    if array.ndim != 1:
        raise DataError(f"{name}: got an array of shape {array.shape}, expected one dimension")
    if array.size == 0:
        raise DataError(f"{name}: got no values; a figure over nothing has no meaning")
    bad = int(np.isnan(array).sum())
    if bad:
        first = int(np.flatnonzero(np.isnan(array))[0])
        raise DataError(
            f"{name}: {bad} of {array.size} values are NaN or missing, the first at index "
            f"{first}; leave those rows out and say so"
        )
    return array


def probabilities(name: str, values: ArrayLike) -> FloatArray:
    """`values` as numbers in [0, 1], else `DataError`."""
    array = numbers(name, values)
    if array.min() < 0 or array.max() > 1:
        raise DataError(
            f"{name}: got values from {array.min():g} to {array.max():g}, expected probabilities "
            "in [0, 1]; calibrate the scores first"
        )
    return array


def labels_and(
    labels: ArrayLike, scores: ArrayLike, *, name: str = "scores"
) -> tuple[BoolArray, FloatArray]:
    """Labels (0 or 1) and scores of one length, else `DataError`."""
    truth, values = numbers("labels", labels), numbers(name, scores)
    strange = truth[(truth != 0) & (truth != 1)]
    if strange.size:
        raise DataError(f"labels: got {strange[0]:g}, expected 0 (benign) or 1 (harmful)")
    same_length({"labels": truth, name: values})
    return truth == 1, values


def same_length(columns: Mapping[str, Sized]) -> int:
    """The length that all columns share, else `DataError`."""
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        got = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise DataError(f"columns of different lengths: {got}; expected one value a row in each")
    return next(iter(lengths.values()), 0)


def check_share(name: str, value: float, *, open_ends: bool = False) -> None:
    """`InputError` unless `value` lies in [0, 1] (or in (0, 1) with `open_ends`)."""
    inside = 0 < value < 1 if open_ends else 0 <= value <= 1
    if not inside:
        raise InputError(
            f"{name}: got {value!r}, expected {'0 < x < 1' if open_ends else '0 to 1'}"
        )
