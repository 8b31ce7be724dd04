"""Causal-importance functions: one small MLP a subcomponent, from a number to a number.

gamma_c(h) = sum_k v_ck GELU(w_ck h + b_ck) + d_c (arXiv 2506.20790, appendix "Architecture of
causal importance function MLPs"). They are most of SPD's work: rows x subcomponents x hidden
neurons GELUs a step. On a CPU they are computed in blocks that stay in the cache, forward and
backward, and nothing of the size rows x subcomponents x neurons is ever kept. Shapes: I instances,
N rows, C subcomponents, K hidden neurons.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import gelu

__all__ = ["LEAK", "Gates", "importance_logits", "lower_leaky", "plain_logits", "upper_leaky"]

LEAK = 0.01
"""Slope of the leaky hard sigmoids where the hard sigmoid is flat."""

_BLOCK = 24_576  # numbers of a block: five buffers of this many floats stay in the cache


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
    return torch.where(logits > 0, logits, LEAK * logits).clamp(max=1)


def upper_leaky(logits: Tensor) -> Tensor:
    """Hard sigmoid with a slope of .01 above 1: what the importance loss sees."""
    # relu, not clamp: at exactly 0, where untrained functions are on empty rows, its slope is 0.
    return torch.where(logits > 1, 1 + LEAK * (logits - 1), torch.relu(logits))


class _Blocked(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, h: Tensor, into: Tensor, bias: Tensor, out: Tensor) -> Tensor:
        ctx.save_for_backward(h, into, bias, out)
        found = torch.zeros_like(h, memory_format=torch.contiguous_format)
        for index, rows in _blocks(h):
            block, total = h[index, rows], found[index, rows]
            z, g = torch.empty_like(block), torch.empty_like(block)
            for w, b, v in zip(*_neurons(index, into, bias, out), strict=True):
                torch.addcmul(b, block, w, out=z)
                torch.ops.aten.gelu.out(z, out=g)
                total.addcmul_(g, v)
        return found

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        (grad,) = grads
        h, into, bias, out = ctx.saved_tensors
        d_h = torch.zeros_like(h, memory_format=torch.contiguous_format)
        d_into, d_bias, d_out = (torch.zeros_like(x) for x in (into, bias, out))
        for index, rows in _blocks(h):
            block, above, below = h[index, rows], grad[index, rows], d_h[index, rows]
            z, g, slope = (torch.empty_like(block) for _ in range(3))
            neurons = zip(*_neurons(index, into, bias, out), strict=True)
            for k, (w, b, v) in enumerate(neurons):
                torch.addcmul(b, block, w, out=z)
                torch.ops.aten.gelu.out(z, out=g)
                d_out[index, :, k] += torch.mul(above, g, out=g).sum(dim=0)
                torch.ops.aten.gelu_backward.grad_input(above, z, grad_input=slope)
                # The sums over rows are without v and w, which are the same on all of them.
                d_bias[index, :, k] += v * slope.sum(dim=0)
                d_into[index, :, k] += v * torch.mul(slope, block, out=g).sum(dim=0)
                below.addcmul_(slope, v * w)
        return d_h, d_into, d_bias, d_out


def _blocks(h: Tensor) -> list[tuple[int, slice]]:
    """Instance and rows of each block."""
    instances, rows, width = h.shape
    step = max(1, _BLOCK // max(1, width))
    return [(i, slice(at, at + step)) for i in range(instances) for at in range(0, rows, step)]


def _neurons(index: int, *parameters: Tensor) -> tuple[tuple[Tensor, ...], ...]:
    """Of each parameter [I, C, K] the instance's values neuron by neuron, [C] each."""
    return tuple(p[index].T.contiguous().unbind(0) for p in parameters)
