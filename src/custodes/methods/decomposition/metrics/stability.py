"""Do two seeds find the same components? Matched one to one, as SAE latents are.

The cosine of two components is that of their matrices taken as vectors; those of a group that
spans several matrices are laid end to end. The matching is the one of greatest total cosine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["SHARED", "Matching", "cosines", "match"]

SHARED = 0.7
"""Matched components at or above this cosine count as the same one (arXiv 2501.16615)."""


@dataclass(frozen=True, slots=True)
class Matching:
    """`cosines` [n] of the matched pairs, n the fewer components of the two.

    `shared`: pairs at or above .7, as a share of the more components of the two.
    """

    cosines: NDArray[np.float64]
    shared: float

    @property
    def mean(self) -> float:
        """Mean cosine of matched pairs; 0 where there are none."""
        return float(self.cosines.mean()) if len(self.cosines) else 0.0


def cosines(first: Sequence[Tensor], second: Sequence[Tensor]) -> NDArray[np.float64]:
    """[C, C'] cosines of components; each is given by its matrices [C, d_in, d_out]."""
    one = torch.cat([part.flatten(1) for part in first], dim=1).cpu().double()
    two = torch.cat([part.flatten(1) for part in second], dim=1).cpu().double()
    one = one / one.norm(dim=1, keepdim=True).clamp(min=1e-30)
    two = two / two.norm(dim=1, keepdim=True).clamp(min=1e-30)
    found: NDArray[np.float64] = (one @ two.T).numpy()
    return found


def match(similarity: NDArray[np.float64]) -> Matching:
    """The matching of greatest total similarity [C, C']."""
    from scipy.optimize import linear_sum_assignment

    if 0 in similarity.shape:
        return Matching(np.zeros(0), 0.0)
    found = similarity[linear_sum_assignment(similarity, maximize=True)]
    return Matching(found, float((found >= SHARED).sum()) / max(similarity.shape))
