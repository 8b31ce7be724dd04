"""Masks chosen to do the most harm, the same for every row of a batch.

A component that is not needed may be left out by any amount; so the worst way to leave out is what
a decomposition should be judged by. Projected gradient ascent by the gradient's sign.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

__all__ = ["attack"]


def attack(
    distance: Callable[[Mapping[str, Tensor]], Tensor],
    floors: Mapping[str, Tensor],
    start: Mapping[str, Tensor],
    *,
    steps: int,
    rate: float,
) -> dict[str, Tensor]:
    """Masks g + (1 - g) r with r [I, 1, C] in [0, 1] that make `distance` large.

    `floors`: importances g [I, N, C]. The best r met is kept for each instance, so that more steps
    never find less. Gradients flow through g, not through the choice of r.
    """
    fixed = {name: g.detach() for name, g in floors.items()}
    r = {name: value.clone() for name, value in start.items()}
    best, reached = r, None
    for step in range(steps + 1):
        tracked = {name: value.detach().requires_grad_(step < steps) for name, value in r.items()}
        with torch.set_grad_enabled(step < steps):
            found = distance(_mixed(fixed, tracked))
        if reached is None:
            best, reached = tracked, found.detach()
        else:
            better = found.detach() > reached
            keep = better[:, None, None]
            best = {name: torch.where(keep, r[name], best[name]) for name in r}
            reached = torch.where(better, found.detach(), reached)
        if step < steps:
            slopes = torch.autograd.grad(found.sum(), list(tracked.values()))
            r = {
                name: (r[name] + rate * slope.sign()).clamp(0, 1)
                for name, slope in zip(r, slopes, strict=True)
            }
    return _mixed(floors, {name: value.detach() for name, value in best.items()})


def _mixed(floors: Mapping[str, Tensor], r: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: g + (1 - g) * r[name] for name, g in floors.items()}
