"""Low-rank changes of the model that features are read through. Knows no training."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from custodes.errors import ConfigError

__all__ = ["Adaptable", "Pairs", "adapted"]

Pairs = Mapping[str, NDArray[np.floating]]
"""Matrix -> `NAME.down` [r, in] and `NAME.up` [out, r]; see `models.trunk`."""


class Adaptable(Protocol):
    """A model whose weights can be changed."""

    def adapt(self, pairs: Pairs, *, name: str) -> None:
        """Change them; `name` goes into the model's description."""
        ...


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
