"""Causal-importance functions: one small MLP a subcomponent, from a number to a number.

gamma_c(h) = sum_k v_ck GELU(w_ck h + b_ck) + d_c (arXiv 2506.20790, appendix "Architecture of
causal importance function MLPs"). They are most of SPD's work: rows x subcomponents x hidden
neurons GELUs a step. On a CPU they are computed in blocks that stay in the cache, forward and
backward, and nothing of the size rows x subcomponents x neurons is ever kept. Shapes: I instances,
N rows, C subcomponents, K hidden neurons.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import gelu, leaky_relu

__all__ = ["LEAK", "Gates", "importance_logits", "lower_leaky", "plain_logits", "upper_leaky"]

LEAK = 0.01
"""Slope of the leaky hard sigmoids where the hard sigmoid is flat."""

_BLOCK, _ROWS = 131_072, 512  # numbers and rows of a block: small enough for the cache


@dataclass(frozen=True, slots=True)
class Gates:
    """Parameters of one matrix' functions.

    `into`, `bias`, `out` [I, C, K]; `offset` [I, C].
    """

    into: Tensor
    bias: Tensor
    out: Tensor
    offset: Tensor


def plain_logits(h: Tensor, gates: Gates) -> Tensor:
    """The formula as it stands, [I, N, C]; keeps [I, N, C, K] for the backward pass."""
    hidden = gelu(h[..., None] * gates.into[:, None] + gates.bias[:, None])
    return (hidden * gates.out[:, None]).sum(dim=-1) + gates.offset[:, None]


def importance_logits(h: Tensor, gates: Gates) -> Tensor:
    """The same [I, N, C], in blocks where that is the faster way."""
    if h.device.type != "cpu":
        return plain_logits(h, gates)
    found: Tensor = _Blocked.apply(h, gates.into, gates.bias, gates.out)  # type: ignore[no-untyped-call]
    return found + gates.offset[:, None]


def lower_leaky(logits: Tensor) -> Tensor:
    """Hard sigmoid with a slope of .01 below 0: the masks of a forward pass."""
    return leaky_relu(logits, LEAK).clamp(max=1)


def upper_leaky(logits: Tensor) -> Tensor:
    """Hard sigmoid with a slope of .01 above 1: what the importance loss sees."""
    # relu, not clamp: at exactly 0, where untrained functions are on empty rows, its slope is 0.
    return torch.sub(torch.relu(logits), torch.relu(logits - 1), alpha=1 - LEAK)


class _Blocked(torch.autograd.Function):
    """Component by component: [B, K, R] of a few components and rows at a time.

    Sums over neurons and over rows are then small matrix products, which read a block once.
    """

    @staticmethod
    def forward(ctx: Any, h: Tensor, into: Tensor, bias: Tensor, out: Tensor) -> Tensor:
        turned = h.mT.flatten(0, 1).contiguous()  # [I C, N]
        ctx.save_for_backward(turned, into, bias, out)
        found = torch.empty_like(turned)
        w, b, v = (p.flatten(0, 1) for p in (into, bias, out))
        for some, rows in _blocks(turned.shape, w.shape[1]):
            z = torch.addcmul(b[some, :, None], w[some, :, None], turned[some, None, rows])
            torch.bmm(v[some, None], gelu(z), out=found[some, None, rows])
        return found.reshape(*into.shape[:2], -1).mT.contiguous()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        turned, into, bias, out = ctx.saved_tensors
        above = grads[0].mT.flatten(0, 1).contiguous()
        below = torch.empty_like(turned)
        # What a neuron's three parameters get, side by side: [I C, K, 1], [I C, K, 2].
        w, b, v = (p.flatten(0, 1) for p in (into, bias, out))
        d_out, d_both = torch.zeros_like(w[..., None]), torch.zeros((*w.shape, 2)).to(w)
        sides = torch.stack([torch.ones_like(turned), turned], dim=2)  # [I C, N, 2]
        steps = (v * w)[:, None]
        for some, rows in _blocks(turned.shape, w.shape[1]):
            z = torch.addcmul(b[some, :, None], w[some, :, None], turned[some, None, rows])
            grad = above[some, None, rows]
            d_out[some] += torch.bmm(gelu(z), grad.mT)
            slope = torch.ops.aten.gelu_backward(grad.expand_as(z), z)
            d_both[some] += torch.bmm(slope, sides[some, rows])
            torch.bmm(steps[some], slope, out=below[some, None, rows])
        # The sums over rows are without v, which is the same on all of them.
        d_both *= v[..., None]
        d_bias, d_into = (part.reshape(into.shape) for part in d_both.unbind(2))
        d_h = below.reshape(*into.shape[:2], -1).mT
        return d_h, d_into, d_bias, d_out.reshape(into.shape)


def _blocks(shape: torch.Size, neurons: int) -> Iterator[tuple[slice, slice]]:
    """Components and rows of each block, of about `_BLOCK` numbers."""
    components, rows = shape
    length = min(rows, _ROWS)
    width = max(1, _BLOCK // (neurons * max(1, length)))
    for at in range(0, components, width):
        for start in range(0, rows, length):
            yield slice(at, at + width), slice(start, start + length)
