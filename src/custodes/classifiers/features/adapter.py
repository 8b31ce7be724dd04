"""Features that are read through a model: what they share, and low-rank changes of the model.

Knows no training.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from custodes.errors import ConfigError

__all__ = ["Adaptable", "ModelFeatures", "Pairs", "adapted"]

_REMEMBERED = 100_000
"""Words whose tokens are kept."""

Pairs = Mapping[str, NDArray[np.floating]]
"""Matrix -> `NAME.down` [r, in] and `NAME.up` [out, r]; see `models.trunk`."""


class Adaptable(Protocol):
    """A model whose weights can be changed."""

    def adapt(self, pairs: Pairs, *, name: str) -> None:
        """Change them; `name` goes into the model's description."""
        ...


class ModelFeatures:
    """Settings, a model that encodes words, and what the model's weights were changed by."""

    def __init__(self, config: Any, model: Any) -> None:
        self.config = config
        self.model = model
        self.adapter: Pairs = {}
        self._pieces: dict[str, tuple[int, ...]] = {}

    def adapt(self, pairs: Pairs) -> None:
        """Read through a fine-tuned model from now on; see `adapted`."""
        self.adapter = adapted(self.model, self.adapter, pairs)

    def ids(self, word: str) -> tuple[int, ...]:
        """A word's token ids, remembered."""
        known = self._pieces.get(word)
        if known is None:
            if len(self._pieces) > _REMEMBERED:
                self._pieces.clear()
            found, _ = self.model.encode(word)
            known = self._pieces[word] = tuple(found)
        return known

    @property
    def max_tokens(self) -> int:
        """Tokens of a text that training reads."""
        return int(self.config.max_tokens)

    @property
    def settings(self) -> dict[str, Any]:
        """What an artifact keeps."""
        kept: dict[str, Any] = self.config.model_dump(mode="json")
        return kept

    @property
    def cached(self) -> bool:
        """A pass of the model is worth keeping."""
        return True


def adapted(model: Adaptable, present: Pairs, pairs: Pairs) -> Pairs:
    """Give `model` the pairs; what was given to it. `ConfigError` where some are `present`.

    They are rounded to half precision first, as an artifact keeps them, so that a stage judges
    the same before it is saved and after.
    """
    if present:
        raise ConfigError("these features have an adapter already; open them anew")
    kept = {name: each.astype(np.float16, order="C") for name, each in sorted(pairs.items())}
    digest = hashlib.sha256()
    for name, each in kept.items():
        digest.update(name.encode() + each.tobytes())
    model.adapt(kept, name=digest.hexdigest()[:16])
    return kept
