"""The losses of both methods as pure functions; each gives one number an instance, [I].

What is trained and what is reported are these same functions. Shapes: I instances, N rows with
weights [I, N] that add up to the batch's size B, C components.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

__all__ = [
    "divergence",
    "faithfulness",
    "importance_minimality",
    "mean_over_rows",
    "parameter_count",
    "schatten",
]

_SMALL = 1e-16  # keeps the gradient of a power finite at 0, as in the reference code
_TINY = 1e-12  # the same in the importance loss


def parameter_count(weights: Mapping[str, Tensor]) -> int:
    """Entries of all matrices of one instance."""
    return sum(weight[0].numel() for weight in weights.values())


def faithfulness(weights: Mapping[str, Tensor], sums: Mapping[str, Tensor]) -> Tensor:
    """Squared distance of the components' sums from the matrices, a parameter."""
    errors = [((weights[name] - found) ** 2).sum(dim=(1, 2)) for name, found in sums.items()]
    return torch.stack(errors).sum(dim=0) / parameter_count(weights)


def mean_over_rows(values: Tensor, weight: Tensor) -> Tensor:
    """The weighted mean of [I, N] over rows."""
    return (values * weight).sum(dim=1) / weight.sum(dim=1)


def divergence(
    outputs: Tensor, wanted: Tensor, weight: Tensor, kind: Literal["mse", "kl"]
) -> Tensor:
    """How far outputs [I, N, d] are from the target's: mean square, or KL of their softmax."""
    if kind == "mse":
        return mean_over_rows(((outputs - wanted) ** 2).mean(dim=-1), weight)
    logs = torch.log_softmax(wanted, dim=-1)
    rows = (logs.exp() * (logs - torch.log_softmax(outputs, dim=-1))).sum(dim=-1)
    return mean_over_rows(rows, weight)


def importance_minimality(
    importances: Iterable[Tensor], weight: Tensor, *, p: float, frequency: float = 0.0
) -> Tensor:
    """Sum over subcomponents of the mean of g^p; `frequency` beta adds beta mean log2(1 + sum).

    `importances`: upper-leaky values [I, N, C], a tensor a matrix. The second term is that of the
    VPD paper ("frequency minimality"): what is important often is dearer.
    """
    total = torch.zeros_like(weight[:, 0])
    size = weight.sum(dim=1, keepdim=True)
    for g in importances:
        powers = g if p == 1 else g * g if p == 2 else (g + _TINY) ** p
        sums = torch.bmm(weight[:, None], powers)[:, 0]
        means = sums / size
        if frequency:
            means = means + frequency * means * torch.log2(1 + sums)
        total = total + means.sum(dim=1)
    return total


def schatten(
    factors: Sequence[tuple[Tensor, Tensor]], shares: Tensor, *, p: float, parameters: int
) -> Tensor:
    """Simplicity: sum over active components of the Schatten-p norms of their matrices, ^p.

    `factors`: A [I, C, d_in, m] and B [I, C, m, d_out] of each matrix; `shares` [I, C]: how often
    each component is active (arXiv 2501.14926, eq. 8 with the norms of the m outer products in
    place of singular values, as the authors compute it).
    """
    norms = torch.zeros_like(shares)
    for a, b in factors:
        squares = a.square().sum(dim=2) * b.square().sum(dim=3)
        norms = norms + ((squares + _SMALL) ** (p / 2)).sum(dim=2)
    return (norms * shares).sum(dim=1) / parameters
