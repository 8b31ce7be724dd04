"""Heads turn a token's features into logits: the harmful one first, then one a rule.

Inference in numpy, so that a guard loads without the training extras; `training` fits the same
arrays with torch. A head knows no text and no smoothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from custodes.classifiers.features.base import Tokens

__all__ = ["Head"]

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Head:
    """A linear map, or two with a ReLU between.

    `first` [d, h] and `first_bias` [h]; for an MLP `second` [h, 1 + rules], `second_bias`
    [1 + rules]; for a linear head h = 1 + rules and the second pair is None. A sparse feature's
    bag is the sum of its rows of `first`, divided by the square root of their number.

    `sides` [1 + rules]: of a head that tells permitted rules apart too, 1 for a restricted rule and
    -1 for a permitted one (0: the first output). Its harmful logit is the first output and what
    restricted rules have over permitted ones (`over_permitted`); None: the first output alone.
    """

    first: Array
    first_bias: Array
    second: Array | None = None
    second_bias: Array | None = None
    sides: Array | None = None

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> Head:
        """Read what `arrays` wrote, whatever the precision."""
        return cls(**{name: np.asarray(value, np.float32) for name, value in arrays.items()})

    @classmethod
    def averaged(cls, heads: Sequence[Head]) -> Head:
        """One head whose outputs are the mean of theirs; MLPs stand side by side in one."""
        if len(heads) == 1:
            return heads[0]
        sides = heads[0].sides
        if all(head.second is None for head in heads):
            return cls(
                np.mean([head.first for head in heads], axis=0, dtype=np.float32),
                np.mean([head.first_bias for head in heads], axis=0, dtype=np.float32),
                sides=sides,
            )
        seconds = [head.second for head in heads if head.second is not None]
        biases = [head.second_bias for head in heads if head.second_bias is not None]
        return cls(
            np.concatenate([head.first for head in heads], axis=1),
            np.concatenate([head.first_bias for head in heads]),
            np.concatenate(seconds) / np.float32(len(heads)),
            np.mean(biases, axis=0, dtype=np.float32),
            sides,
        )

    def arrays(self) -> dict[str, NDArray[np.float16]]:
        """Half-precision copies by name."""
        named = {
            "first": self.first,
            "first_bias": self.first_bias,
            "second": self.second,
            "second_bias": self.second_bias,
            "sides": self.sides,
        }
        # In C order: safetensors writes an array's bytes as they lie.
        return {k: v.astype(np.float16, order="C") for k, v in named.items() if v is not None}

    def logits(self, tokens: Tokens) -> Array:
        """Logits of each token: harmful, then of each restricted rule."""
        if len(tokens) == 0:
            return np.zeros((0, self.outputs), np.float32)
        told = self._project(tokens) + self.first_bias
        if self.second is not None:
            told = np.asarray(np.maximum(told, 0.0) @ self.second + self.second_bias, np.float32)
        if self.sides is None:
            return told
        restricted = told[:, self.sides > 0]
        permitted = told[:, self.sides < 0]
        harmful = told[:, 0] + _log_sum(restricted) - _log_sum(permitted)
        return np.concatenate([harmful[:, None], restricted], axis=1, dtype=np.float32)

    @property
    def outputs(self) -> int:
        """1 + restricted rules."""
        if self.sides is not None:
            return 1 + int((self.sides > 0).sum())
        return len(self.first_bias) if self.second_bias is None else len(self.second_bias)

    def _project(self, tokens: Tokens) -> Array:
        if tokens.offsets is None:
            return np.asarray(tokens.values.astype(np.float32, copy=False) @ self.first, np.float32)
        sizes = np.diff(tokens.offsets, append=len(tokens.values))
        result = np.zeros((len(tokens), self.first.shape[1]), np.float32)
        filled = np.flatnonzero(sizes)
        if len(filled):
            gathered = self.first[tokens.values.astype(np.int64, copy=False)]
            result[filled] = np.add.reduceat(gathered, tokens.offsets[filled], axis=0)
            result[filled] /= np.sqrt(sizes[filled], dtype=np.float32)[:, None]
        return result


def _log_sum(values: Array) -> Array:
    """log sum exp over the last axis of [n, k]."""
    greatest = values.max(axis=1, keepdims=True)
    return np.asarray(np.log(np.exp(values - greatest).sum(axis=1)) + greatest[:, 0], np.float32)
