"""The training losses, as pure functions of per-token logits.

Shapes: `logits` [B, T] float, `mask` [B, T] bool (True where there is a token; every row has one),
`labels` [B] float in {0, 1}, `progress` in [0, 1] (share of training done), `window` the M that
serving smooths over. Each returns [B].

Sources: `bce_token`, `cummax`, `annealed_cummax`: Constitutional Classifiers (arXiv 2501.18837),
Eq. 1; `swim_softmax`: Constitutional Classifiers++ (arXiv 2601.04603), linear probe section;
`ema_softmax`: ours, the same with the average that is served.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from custodes.classifiers.smoothing import ema_weight
from custodes.config import Registry

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "LOSSES",
    "Loss",
    "annealed_cummax",
    "bce_token",
    "cummax",
    "ema_softmax",
    "moving_average",
    "sliding_window",
    "swim_softmax",
]

Loss = Callable[["Tensor", "Tensor", "Tensor", float, int], "Tensor"]

TEMPERATURE = 1.0
"""tau of CC++."""

LOSSES = Registry(
    "losses",
    {
        name: f"custodes.classifiers.losses:{name}"
        for name in (
            "bce_token",
            "cummax",
            "annealed_cummax",
            "swim_softmax",
            "ema_softmax",
        )
    },
)
"""name -> loss."""


def bce_token(logits: Tensor, mask: Tensor, labels: Tensor, progress: float, window: int) -> Tensor:
    """Binary cross-entropy of every token against the label of the whole, averaged over tokens."""
    return _masked_mean(_bce(logits, labels[:, None].expand_as(logits)), mask)


def cummax(logits: Tensor, mask: Tensor, labels: Tensor, progress: float, window: int) -> Tensor:
    """Cross-entropy of the running maximum: what an irrevocable stop serves, w = 1 throughout."""
    return annealed_cummax(logits, mask, labels, 1.0, window)


def annealed_cummax(
    logits: Tensor, mask: Tensor, labels: Tensor, progress: float, window: int
) -> Tensor:
    """p_t = (1 - w) sigmoid(z_t) + w max_{tau <= t} sigmoid(z_tau), w = `progress` (Eq. 1)."""
    import torch

    running = logits.masked_fill(~mask, -30.0).cummax(dim=1).values
    # The mixture of two probabilities has no stable logit; clamp it where float32 would round to
    # 0 or 1 and the gradient would be lost.
    probability = (1.0 - progress) * torch.sigmoid(logits) + progress * torch.sigmoid(running)
    probability = probability.clamp(1e-6, 1.0 - 1e-6)
    target = labels[:, None].expand_as(logits)
    loss = torch.nn.functional.binary_cross_entropy(probability, target, reduction="none")
    return _masked_mean(loss, mask)


def swim_softmax(
    logits: Tensor, mask: Tensor, labels: Tensor, progress: float, window: int
) -> Tensor:
    """sum_{t >= M} softmax(zbar / tau)_t BCE(y, sigmoid(zbar_t)), zbar the mean of M logits.

    A text shorter than M has one window: all of it.
    """
    return _weighed(sliding_window(logits, mask, window), mask, labels, window)


def ema_softmax(
    logits: Tensor, mask: Tensor, labels: Tensor, progress: float, window: int
) -> Tensor:
    """`swim_softmax` with zbar the moving average that serving takes: no mismatch to pay for."""
    return _weighed(moving_average(logits, mask, window), mask, labels, window)


def _weighed(smooth: Tensor, mask: Tensor, labels: Tensor, window: int) -> Tensor:
    import torch

    lengths = mask.sum(dim=1, keepdim=True)
    positions = torch.arange(1, smooth.shape[1] + 1, device=smooth.device)[None, :]
    whole = mask & (positions >= torch.minimum(lengths, torch.full_like(lengths, window)))
    weights = torch.softmax((smooth / TEMPERATURE).masked_fill(~whole, -torch.inf), dim=1)
    return (weights * _bce(smooth, labels[:, None].expand_as(smooth))).sum(dim=1)


def sliding_window(logits: Tensor, mask: Tensor, window: int) -> Tensor:
    """Mean of the last `window` logits at each of [B, T]; shorter at the start."""
    import torch

    total = torch.nn.functional.pad((logits * mask).cumsum(dim=1), (1, 0))
    ends = torch.arange(1, logits.shape[1] + 1, device=logits.device)
    starts = (ends - window).clamp(min=0)
    return (total[:, ends] - total[:, starts]) / (ends - starts)


def moving_average(logits: Tensor, mask: Tensor, window: int) -> Tensor:
    """`smoothing.ema` of [B, T]: an average with weights that fall by the age."""
    import torch

    places = torch.arange(logits.shape[1], device=logits.device)
    ages = places[:, None] - places[None, :]
    kept = 1.0 - ema_weight(window)
    weights = torch.where(ages >= 0, kept ** ages.clamp(min=0).to(logits), 0.0)
    return (logits * mask) @ (weights / weights.sum(dim=1, keepdim=True)).T


def _bce(logits: Tensor, target: Tensor) -> Tensor:
    import torch

    return torch.nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none")


def _masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    return (values * mask).sum(dim=1) / mask.sum(dim=1)
