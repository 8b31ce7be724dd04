"""What both methods offer: losses to train on, masks, outputs under masks, components to look at.

Everything is by instance: seeds do not know one another. Knows no training loop and no figure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor

from custodes.methods.decomposition.targets.base import Batch, Target
from custodes.methods.decomposition.vectors import Vectors

__all__ = ["Decomposition", "Products"]


class Decomposition(Protocol):
    """Parameters that split a target's matrices into components."""

    @property
    def target(self) -> Target:
        """The network."""
        ...

    @property
    def parameters(self) -> dict[str, Tensor]:
        """Name -> [I, ...]; what the optimizer changes."""
        ...

    def prepare(self) -> None:
        """What comes before the first step."""
        ...

    def losses(self, batch: Batch, done: float) -> dict[str, Tensor]:
        """Each loss and their weighted sum `total`, [I]; `done`: share of training behind."""
        ...

    def before_step(self) -> None:
        """May change gradients."""
        ...

    def after_step(self) -> None:
        """May change parameters."""
        ...

    def importances(self, batch: Batch) -> dict[str, Tensor]:
        """How much each component is needed, 0 to 1: [I, N, C] by group of components."""
        ...

    def floors(self, batch: Batch) -> dict[str, Tensor]:
        """The same, with 0 for what is no component and may be masked as well."""
        ...

    def probed(self, batch: Batch) -> dict[str, Tensor]:
        """The same on inputs with one feature each."""
        ...

    def outputs(self, batch: Batch, masks: Mapping[str, Tensor] | None) -> Tensor:
        """The network of components times masks [I, N or 1, C]; None: all of them."""
        ...

    def sums(self) -> dict[str, Tensor]:
        """What the components add up to, by matrix: [I, d_in, d_out]."""
        ...

    def group_of(self, name: str) -> str:
        """The group (a key of `importances`) that a matrix' components belong to."""
        ...

    def matrices(self, name: str, instance: int) -> Tensor:
        """An instance's components of a matrix, [C, d_in, d_out]."""
        ...


class Products:
    """Products that a step needs more than once, computed once.

    A network that is run with masks on one matrix at a time repeats most of its plain run.
    """

    def __init__(self, weights: Mapping[str, Tensor], readers: Mapping[str, Tensor]) -> None:
        self._weights, self._readers = weights, readers
        # The rows stand beside their product: while they live, no other has their key.
        self._plain: dict[tuple[str, tuple[int, ...]], tuple[Vectors, Vectors]] = {}
        self._inner: dict[tuple[str, tuple[int, ...]], tuple[Vectors, Tensor]] = {}

    def plain(self, name: str, rows: Vectors) -> Vectors:
        """Rows times the target's own matrix."""
        key = (name, rows.key)
        if key not in self._plain:
            self._plain[key] = (rows, rows.times(self._weights[name]))
        return self._plain[key][1]

    def inner(self, name: str, rows: Vectors) -> Tensor:
        """Rows times what the components read, [I, N, C]."""
        key = (name, rows.key)
        if key not in self._inner:
            self._inner[key] = (rows, rows.through(self._readers[name]))
        return self._inner[key][1]
