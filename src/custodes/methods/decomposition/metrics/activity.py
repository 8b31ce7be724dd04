"""How many components are ever needed, and how many at a time."""

from __future__ import annotations

from torch import Tensor

__all__ = ["THRESHOLD", "active_per_row", "alive"]

THRESHOLD = 0.1
"""A component is needed on a row where its importance is above this (as in the reference)."""


def alive(importances: Tensor, weight: Tensor) -> Tensor:
    """Components needed on at least one row, [I, C]; importances [I, N, C], padding weighs 0."""
    return ((importances > THRESHOLD) & (weight > 0)[..., None]).any(dim=1)


def active_per_row(importances: Tensor, weight: Tensor) -> Tensor:
    """L0: mean number of components needed on a row, [I]."""
    number = (importances > THRESHOLD).sum(dim=2)
    return (number * weight).sum(dim=1) / weight.sum(dim=1)
