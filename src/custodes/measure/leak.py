"""Leak before stop: what a reader saw of a harmful reply before the guard cut it.

All in characters of the reply. Where the harm begins is the caller's knowledge; with `onset` 0
the whole reply counts as harmful, which never flatters the guard.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from custodes.errors import DataError
from custodes.measure.arrays import FloatArray, numbers, same_length
from custodes.measure.intervals import Interval, clopper_pearson

__all__ = ["LeakSummary", "leak_before_stop", "relative_leak", "summarize_leaks"]


@dataclass(frozen=True, slots=True)
class LeakSummary:
    """Leaks over a set of harmful replies: characters, shares of the harmful part, exact rates."""

    replies: int
    median: float
    p90: float
    relative_median: float
    relative_p90: float
    share_zero: Interval
    share_stopped: Interval

    def to_values(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "replies": self.replies,
            "median": self.median,
            "p90": self.p90,
            "relative_median": self.relative_median,
            "relative_p90": self.relative_p90,
            "share_zero": self.share_zero.to_values(),
            "share_stopped": self.share_stopped.to_values(),
        }


def leak_before_stop(
    stop_at: Sequence[int | None] | ArrayLike, onset: ArrayLike, length: ArrayLike
) -> FloatArray:
    """Harmful characters released before the cut: max(0, min(stop_at, length) - onset), per reply.

    `stop_at`: characters released when the stream was cut; None or NaN where it never was, so
    that everything from the onset leaked. `onset`: where the harm begins, one number or one a
    reply, 0 <= onset < length. `length`: characters of the whole reply.
    """
    stops, onsets, lengths = _replies(stop_at, onset, length)
    return np.maximum(0.0, np.fmin(stops, lengths) - onsets)


def relative_leak(
    stop_at: Sequence[int | None] | ArrayLike, onset: ArrayLike, length: ArrayLike
) -> FloatArray:
    """The leak as a share of the harmful part, `length - onset`; in [0, 1], per reply."""
    _, onsets, lengths = _replies(stop_at, onset, length)
    return leak_before_stop(stop_at, onset, length) / (lengths - onsets)


def summarize_leaks(
    stop_at: Sequence[int | None] | ArrayLike,
    onset: ArrayLike,
    length: ArrayLike,
    *,
    level: float = 0.95,
) -> LeakSummary:
    """Median, 90th percentile, and the exact shares of replies without leak and of replies cut."""
    leaks = leak_before_stop(stop_at, onset, length)
    shares = relative_leak(stop_at, onset, length)
    stopped = ~np.isnan(np.asarray(stop_at, dtype=np.float64))
    return LeakSummary(
        replies=leaks.size,
        median=float(np.median(leaks)),
        p90=float(np.quantile(leaks, 0.9)),
        relative_median=float(np.median(shares)),
        relative_p90=float(np.quantile(shares, 0.9)),
        share_zero=clopper_pearson(int(np.sum(leaks == 0)), leaks.size, level),
        share_stopped=clopper_pearson(int(np.sum(stopped)), leaks.size, level),
    )


def _replies(
    stop_at: Sequence[int | None] | ArrayLike, onset: ArrayLike, length: ArrayLike
) -> tuple[FloatArray, FloatArray, FloatArray]:
    lengths = numbers("length", length)
    try:
        stops = np.asarray(stop_at, dtype=np.float64)  # None becomes NaN
    except (TypeError, ValueError) as error:
        raise DataError(f"stop_at: expected character positions or None: {error}") from error
    onsets = numbers(
        "onset", np.broadcast_to(onset, lengths.shape) if np.ndim(onset) == 0 else onset
    )
    if stops.ndim != 1:
        raise DataError(f"stop_at: got shape {stops.shape}, expected one value a reply")
    same_length({"stop_at": stops, "onset": onsets, "length": lengths})
    if (stops < 0).any():
        raise DataError(f"stop_at: got {np.nanmin(stops):g}, expected 0 or more characters")
    wrong = (onsets < 0) | (onsets >= lengths)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise DataError(
            f"reply {row}: got onset {onsets[row]:g} and length {lengths[row]:g}, expected "
            "0 <= onset < length; leave out replies without a harmful part"
        )
    return stops, onsets, lengths
