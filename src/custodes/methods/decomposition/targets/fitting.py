"""Fits a target's parameters: AdamW with weight decay .01 and a falling rate."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from custodes.methods.decomposition.config import Schedule
from custodes.methods.decomposition.schedule import rate_at

__all__ = ["fit"]


def fit(
    parameters: dict[str, Tensor],
    loss: Callable[[], Tensor],
    *,
    steps: int,
    rate: float,
    schedule: Schedule,
) -> None:
    """Minimize `loss`, which reads `parameters`; they are left without gradients.

    The loss is a sum over instances, so that each is trained as if it were alone.
    """
    for tensor in parameters.values():
        tensor.requires_grad_(True)
    optimizer = torch.optim.AdamW(list(parameters.values()), lr=rate, weight_decay=0.01)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * rate_at(step, steps, schedule)
        optimizer.zero_grad(set_to_none=True)
        loss().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    for name, tensor in parameters.items():
        parameters[name] = tensor.detach()
