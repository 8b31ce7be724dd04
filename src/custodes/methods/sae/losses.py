"""What is minimized, as pure functions of inputs [B, d] and activations.

Every loss is a sum over dimensions (or latents) and a mean over rows, as the papers write it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["auxiliary_error", "jump_relu", "l0_penalty", "l1_penalty", "squared_error"]


def squared_error(x: Tensor, reconstruction: Tensor) -> Tensor:
    """Mean over rows of ||x - x^||^2."""
    found: Tensor = (x - reconstruction).square().sum(dim=1).mean()
    return found


def l1_penalty(activations: Tensor, rows: int) -> Tensor:
    """Mean over rows of sum_i a_i, of all activations that are not 0, in any shape.

    Directions are of unit length after every step, so that growing one does not pay.
    """
    return torch.sum(activations) / rows


def auxiliary_error(error: Tensor, reconstruction: Tensor, *, dead: int, wanted: int) -> Tensor:
    """AuxK (arXiv 2406.04093, appendix A.2): dead latents reconstruct what the others left.

    Scaled down where fewer latents are dead than `wanted` take part.
    """
    return squared_error(error.detach(), reconstruction) * min(dead / wanted, 1.0)


class _Jump(torch.autograd.Function):
    """JumpReLU with the straight-through slope of arXiv 2407.14435, eq. 11."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        pre, threshold, bandwidth = inputs
        ctx.save_for_backward(pre, threshold)
        ctx.bandwidth = bandwidth
        found: Tensor = pre * (pre > threshold)
        return found

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (grad,) = grads
        pre, threshold = ctx.saved_tensors
        near = ((pre - threshold).abs() < ctx.bandwidth / 2).to(grad.dtype)
        to_threshold = -(threshold / ctx.bandwidth) * (near * grad).sum(0)
        return grad * (pre > threshold), to_threshold, None


class _Step(torch.autograd.Function):
    """Heaviside with the straight-through slope of arXiv 2407.14435, eq. 12."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        pre, threshold, bandwidth = inputs
        ctx.save_for_backward(pre, threshold)
        ctx.bandwidth = bandwidth
        found: Tensor = (pre > threshold).to(pre.dtype)
        return found

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (grad,) = grads
        pre, threshold = ctx.saved_tensors
        near = ((pre - threshold).abs() < ctx.bandwidth / 2).to(grad.dtype)
        return None, -(near * grad).sum(0) / ctx.bandwidth, None


def jump_relu(pre: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
    """ReLU(pre) where it is above the threshold [F], else 0."""
    found: Tensor = _Jump.apply(pre.relu(), threshold, bandwidth)  # type: ignore[no-untyped-call]
    return found


def l0_penalty(pre: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
    """Mean over rows of the number of latents above their thresholds; trains thresholds only."""
    above: Tensor = _Step.apply(pre.relu(), threshold, bandwidth)  # type: ignore[no-untyped-call]
    return torch.sum(above, dim=1).mean()
