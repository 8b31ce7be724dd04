"""Causal-importance functions: one small MLP a subcomponent, from a number to a number.

gamma_c(h) = sum_k v_ck GELU(w_ck h + b_ck) + d_c (arXiv 2506.20790, appendix "Architecture of
causal importance function MLPs"). They are most of SPD's work: rows x subcomponents x hidden
neurons GELUs a step. On a CPU they are computed in blocks that stay in the cache, forward and
backward, and nothing of the size rows x subcomponents x neurons is ever kept. Shapes: I instances,
N rows, C subcomponents, K hidden neurons.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import gelu, leaky_relu

__all__ = ["LEAK", "Gates", "importance_logits", "lower_leaky", "plain_logits", "upper_leaky"]

LEAK = 0.01
"""Slope of the leaky hard sigmoids where the hard sigmoid is flat."""

_HALF_ROOT = math.sqrt(0.5)
_TWICE_DENSITY = 2 / math.sqrt(math.pi)
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

    What goes into a neuron, sums over neurons and sums over rows are then small matrix products,
    which read a block once. They stand as [2 or 1, R] x [R, K]: MKL's products for processors that
    are not Intel's are several times as slow the other way round.

    With z = sqrt(2) s and twice the normal distribution's P = 1 + erf(s), GELU(z) is P s / sqrt(2)
    and its slope (P + 2 s exp(-s^2) / sqrt(pi)) / 2: erf, the dearest part, serves both.
    """

    @staticmethod
    def forward(ctx: Any, h: Tensor, into: Tensor, bias: Tensor, out: Tensor) -> Tensor:
        turned = h.mT.flatten(0, 1).contiguous()  # [I C, N]
        ctx.save_for_backward(turned, into, bias, out)
        found = torch.empty_like(turned)
        lines, points = _lines(into, bias), _points(turned)
        v = out.flatten(0, 1)[:, None]
        for some, rows in _blocks(turned.shape, out.shape[2]):
            hidden = gelu(torch.bmm(lines[some], points[some, :, rows]))
            torch.bmm(v[some], hidden, out=found[some, None, rows])
        return found.reshape(*into.shape[:2], -1).mT.contiguous()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        turned, into, bias, out = ctx.saved_tensors
        above = grads[0].mT.flatten(0, 1).contiguous()
        below = torch.empty_like(turned)
        lines, points = _lines(into, bias).mul_(_HALF_ROOT), _points(turned)
        weighed = above[:, None] * points  # [I C, 2, N]
        v = out.flatten(0, 1)[:, None]
        steps = v * into.flatten(0, 1)[:, None]
        # What a neuron's parameters get: [I C, 1, K], [I C, 2, K].
        d_out, d_line = torch.zeros_like(v), torch.zeros_like(lines.mT)
        for some, rows in _blocks(turned.shape, out.shape[2]):
            s = torch.bmm(lines[some], points[some, :, rows])
            twice = torch.erf(s).add_(1)
            d_out[some] += torch.bmm(weighed[some, 1:, rows], (s * twice).mT)
            slope = twice.addcmul_(s, torch.square(s).neg_().exp_(), value=_TWICE_DENSITY)
            d_line[some] += torch.bmm(weighed[some, :, rows], slope.mT)
            torch.bmm(steps[some], slope, out=below[some, None, rows])
        below *= above.mul_(0.5)
        # The sums over rows are without v, which is the same on all of them.
        d_line *= v.mul(0.5)
        d_into, d_bias = (part.reshape(into.shape) for part in d_line.unbind(1))
        d_h = below.reshape(*into.shape[:2], -1).mT
        return d_h, d_into, d_bias, d_out.mul_(_HALF_ROOT).reshape(into.shape)


def _lines(into: Tensor, bias: Tensor) -> Tensor:
    """What a neuron makes of a number, w h + b, as [I C, K, 2]."""
    return torch.stack([into, bias], dim=-1).flatten(0, 1)


def _points(turned: Tensor) -> Tensor:
    """The numbers [I C, N] as `_lines` multiplies them, [I C, 2, N]."""
    return torch.stack([turned, torch.ones_like(turned)], dim=1)


def _blocks(shape: torch.Size, neurons: int) -> Iterator[tuple[slice, slice]]:
    """Components and rows of each block, of about `_BLOCK` numbers."""
    components, rows = shape
    length = min(rows, _ROWS)
    width = max(1, _BLOCK // (neurons * max(1, length)))
    for at in range(0, components, width):
        for start in range(0, rows, length):
            yield slice(at, at + width), slice(start, start + length)
