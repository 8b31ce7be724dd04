"""Read activations token by token: what a streaming classifier stands on.

Knows windows and order; knows nothing of tensors: `begin` opens a fresh pass of whatever model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["ActivationStream", "Step"]

Step = Callable[[Sequence[int]], NDArray[np.float32]]
"""Takes the next tokens of a pass (at least one), returns their activations, float32 [L, t, d]."""


class ActivationStream:
    """One growing text, read incrementally with the model's key-value cache.

    Gives, at every position, what `activations` gives for the whole text (to 1e-4 of its scale),
    whichever way the tokens are cut. Like it, it begins a fresh pass every `window` tokens, so that
    memory is bounded. One thread at a time.
    """

    def __init__(
        self, begin: Callable[[], Step], *, window: int, layers: Sequence[int], width: int
    ) -> None:
        self._begin = begin
        self._window = window
        self._room = 0
        self._step: Step | None = None
        self.layers = tuple(layers)
        self.width = width

    def push_tokens(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Activations of the next tokens, float32 [L, len(ids), d], in the order of `layers`."""
        parts = [np.zeros((len(self.layers), 0, self.width), dtype=np.float32)]
        start = 0
        while start < len(ids):
            if self._step is None or self._room == 0:
                self._step, self._room = self._begin(), self._window
            part = ids[start : start + self._room]
            parts.append(self._step(part))
            self._room -= len(part)
            start += len(part)
        return np.concatenate(parts, axis=1)
