"""Features turn a judged text into tokens with values; the head turns those into logits.

A dense feature gives each token a vector [d]; a sparse one gives it a bag of hashed ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from custodes.types import Conversation, Mode

__all__ = ["FeatureStream", "Features", "Judged", "Tokens", "layers_joined"]


@dataclass(frozen=True, slots=True)
class Judged:
    """A text to judge: the last turn of `conversation`, in a mode."""

    conversation: Conversation
    mode: Mode


@dataclass(frozen=True, slots=True)
class Tokens:
    """Features of consecutive tokens of one judged text.

    `ends` int64 [n]: characters of the judged text that are wholly covered after each token.
    Dense: `values` float [n, d]. Sparse: `values` int64 [m], the bags one after the other, and
    `offsets` int64 [n], where each bag starts.
    """

    ends: NDArray[np.int64]
    values: NDArray[np.generic]
    offsets: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.ends)

    def part(self, start: int, stop: int) -> Tokens:
        """The tokens [start, stop)."""
        if self.offsets is None:
            return Tokens(self.ends[start:stop], self.values[start:stop])
        bounds = np.append(self.offsets, len(self.values))
        first, last = bounds[start], bounds[min(stop, len(self))]
        offsets = self.offsets[start:stop] - first
        return Tokens(self.ends[start:stop], self.values[first:last], offsets)

    def thinned(self, first: int, every: int) -> Tokens:
        """Dense tokens `first`, `first + every`, ...; of a text that ends before, its last."""
        at = slice(min(first, max(len(self) - 1, 0)), None, every)
        return Tokens(self.ends[at], self.values[at])

    def joined(self, more: Tokens) -> Tokens:
        """These tokens with `more` behind them."""
        if not len(self) or not len(more):
            return self if len(self) else more
        ends = np.concatenate([self.ends, more.ends])
        values = np.concatenate([self.values, more.values])
        if self.offsets is None or more.offsets is None:
            return Tokens(ends, values)
        offsets = np.concatenate([self.offsets, more.offsets + len(self.values)])
        return Tokens(ends, values, offsets)


class FeatureStream(Protocol):
    """One judged text, growing; the tokens are the same for every chunking."""

    def push(self, text: str) -> Tokens:
        """The tokens that became final, perhaps none."""
        ...

    def finish(self) -> Tokens:
        """The remaining tokens."""
        ...


class Features(Protocol):
    """One kind of feature."""

    @property
    def dim(self) -> int:
        """d of a dense feature, number of hash buckets of a sparse one."""
        ...

    @property
    def stride(self) -> int:
        """Points are served after every `stride` tokens, and at the end."""
        ...

    @property
    def fingerprint(self) -> str:
        """Names everything the values depend on besides the text; the key of caches."""
        ...

    def open(self, context: Conversation, mode: Mode) -> FeatureStream:
        """Begin a text that follows `context`."""
        ...

    @property
    def settings(self) -> dict[str, Any]:
        """The settings as JSON values: what an artifact keeps of the features."""
        ...

    @property
    def cached(self) -> bool:
        """Whether the values cost enough to be kept on disk between trainings."""
        ...

    @property
    def max_tokens(self) -> int:
        """Tokens of a text that training reads."""
        ...

    def extract(self, rows: Sequence[Judged], *, limit: int | None = None) -> list[Tokens]:
        """The first `limit` tokens of whole texts, None: all; streams differ by rounding only."""
        ...


def layers_joined(activations: NDArray[np.float32]) -> NDArray[np.float32]:
    """Activations [L, T, d] as one vector a token, layer behind layer, [T, L x d]."""
    layers, tokens, width = activations.shape
    return activations.transpose(1, 0, 2).reshape(tokens, layers * width)
