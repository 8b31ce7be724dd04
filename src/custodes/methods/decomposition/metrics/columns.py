"""MMCS and ML2R: do components hold the target's columns, in direction and in length?

arXiv 2501.14926, section 3.1, and 2506.20790, table 1. Of each column of W (one input feature's
vector) the component whose same column points most nearly the same way.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Columns", "match_columns", "match_mechanisms"]

_LEAST = 1e-100  # of a length; shorter ones are nought


@dataclass(frozen=True, slots=True)
class Columns:
    """`mmcs`: mean of the greatest cosines. `ml2r`: mean ratio of lengths. `best` [J]: which."""

    mmcs: float
    ml2r: float
    best: Tensor


def match_columns(columns: Tensor, components: Tensor) -> Columns:
    """`columns` [J, d], `components` [C, J, d]: component c's part in column j is [c, j].

    A column of no length has cosine 0 with everything, and of no components the best is 0 too.
    In float64: components that training has shrunk to 1e-22 have a direction, and squares that
    float32 does not hold. In so few dimensions one of them may point along a column by chance and
    be its best: look at living components alone, too.
    """
    if not len(components):
        return Columns(0.0, 0.0, torch.zeros(len(columns), dtype=torch.long))
    columns, components = columns.cpu().double(), components.cpu().double()
    lengths = components.norm(dim=2)
    whole = columns.norm(dim=1).clamp(min=_LEAST)
    cosines = (components * columns).sum(dim=2) / (lengths.clamp(min=_LEAST) * whole)
    most, best = cosines.max(dim=0)
    ratios = lengths.gather(0, best[None])[0] / whole
    return Columns(float(most.mean()), float(ratios.mean()), best)


def match_mechanisms(mechanisms: Tensor, components: Tensor) -> Columns:
    """The same for whole matrices: mechanisms [J, ...] against components [C, ...]."""
    wanted = mechanisms.flatten(1).cpu().double()
    found = components.flatten(1).cpu().double()
    lengths, whole = found.norm(dim=1), wanted.norm(dim=1).clamp(min=_LEAST)
    cosines = (wanted @ found.T) / (whole[:, None] * lengths.clamp(min=_LEAST))
    most, best = cosines.max(dim=1)
    return Columns(float(most.mean()), float((lengths[best] / whole).mean()), best)
