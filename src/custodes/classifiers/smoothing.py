"""How a sequence of per-token logits becomes the logit that is served.

Pure functions on whole sequences for training and tests, and `Smoother`, the same thing with one
number of state for streams. Knows no features and no heads.

Sources: exponential moving average and sliding-window mean, Constitutional Classifiers++ (arXiv
2601.04603, section on linear probes); cumulative maximum, Constitutional Classifiers (arXiv
2501.18837, Eq. 1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Smoother", "ema", "ema_weight", "sliding_mean"]


def ema_weight(window: int) -> float:
    """The weight of the newest logit whose moving average has the mean age of a window's mean.

    A window of M has mean age (M - 1) / 2, an average of weight a has (1 - a) / a: a = 2 / (M + 1).
    """
    return 2.0 / (window + 1.0)


def ema(logits: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Exponential moving average over [T], bias-corrected so that early values are plain means."""
    from scipy.signal import lfilter

    new = ema_weight(window)
    both = np.stack([logits, np.ones_like(logits)])
    total, weight = lfilter([new], [1.0, new - 1.0], both, axis=1)
    return np.asarray(total / weight, dtype=np.float64)


def sliding_mean(logits: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Mean of the last `window` logits at each of [T]; shorter at the start."""
    total = np.concatenate([[0.0], np.cumsum(logits)])
    ends = np.arange(1, len(logits) + 1)
    starts = np.maximum(ends - window, 0)
    return np.asarray((total[ends] - total[starts]) / (ends - starts), dtype=np.float64)


@dataclass(slots=True)
class Smoother:
    """Bias-corrected exponential moving average, one logit at a time; window 1 passes them on."""

    window: int
    _sum: float = 0.0
    _weight: float = 0.0

    def push(self, logit: float) -> float:
        """Take the next logit; the smoothed one."""
        new = ema_weight(self.window)
        self._sum = (1.0 - new) * self._sum + new * logit
        self._weight = (1.0 - new) * self._weight + new
        return self._sum / self._weight
