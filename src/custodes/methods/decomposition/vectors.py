"""Rows of a wide space as coefficients times a basis, multiplied out only where they must be.

A residual stream of 1,000 numbers that is always a combination of 100 embedding vectors costs a
tenth when matrices are folded into the basis first: x (E W) in place of (x E) W. Shapes: I
instances, N rows. Knows no network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from torch import Tensor

__all__ = ["Linear", "Vectors"]


@dataclass(frozen=True, slots=True, eq=False)
class Vectors:
    """The sum of its parts: coefficients [I, N, k] @ basis [I, k, d]; with none, the rows."""

    parts: tuple[tuple[Tensor, Tensor | None], ...]

    @classmethod
    def of(cls, rows: Tensor, basis: Tensor | None = None) -> Self:
        """Rows as they are, or coefficients over a basis."""
        return cls(((rows, basis),))

    def __add__(self, other: Vectors) -> Vectors:
        return Vectors(self.parts + other.parts)

    @property
    def key(self) -> tuple[int, ...]:
        """The same for vectors made of the very same tensors, while those live."""
        return tuple(id(tensor) for part in self.parts for tensor in part)

    def dense(self) -> Tensor:
        """The rows, [I, N, d]."""
        return _sum([a if basis is None else a @ basis for a, basis in self.parts])

    def through(self, matrix: Tensor) -> Tensor:
        """The rows times a matrix [I, d, e], multiplied out: [I, N, e]."""
        return _sum([a @ (matrix if basis is None else basis @ matrix) for a, basis in self.parts])

    def times(self, matrix: Tensor) -> Vectors:
        """The same, left as it is where the result would be wider than what makes it up."""
        parts = [(a, matrix if basis is None else basis @ matrix) for a, basis in self.parts]
        if all(a.shape[-1] < folded.shape[-1] for a, folded in parts):
            return Vectors(tuple(parts))
        return Vectors.of(_sum([a @ folded for a, folded in parts]))

    def scaled(self, factors: Tensor) -> Vectors:
        """Every row times its factor; factors [I, N, 1]."""
        return Vectors(tuple((a * factors, basis) for a, basis in self.parts))


def _sum(terms: list[Tensor]) -> Tensor:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


Linear = Callable[[str, Vectors], Vectors]
"""What stands for a named matrix in a forward pass: takes rows, returns them multiplied."""
