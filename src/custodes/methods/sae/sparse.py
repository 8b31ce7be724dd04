"""Products of few active (row, latent) pairs, whose backward passes touch those pairs alone.

A dense backward pass costs three products of [B, d] with [F, d] and a fourth for the inputs; here
it is one weighted sum over the active pairs for each weight matrix, by `embedding_bag`. The
gradients are the dense ones, to rounding. Which pairs are active is decided outside, without a
gradient. Shapes: n pairs.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

__all__ = ["Pairs", "above_zero", "batch_top_k", "mixed", "pre_activations", "row_top_k"]


class Pairs:
    """Active pairs, row by row: `offsets` [B] where each row begins, `latents` [n] of `count`."""

    def __init__(self, offsets: Tensor, latents: Tensor, count: int) -> None:
        self.offsets, self.latents, self.count = offsets, latents, count

    @cached_property
    def rows(self) -> Tensor:
        """Row of each pair, [n]."""
        ends = torch.cat([self.offsets[1:], self.offsets.new_tensor([len(self.latents)])])
        every = torch.arange(len(self.offsets), device=self.offsets.device)
        return every.repeat_interleave(ends - self.offsets)

    @cached_property
    def by_latent(self) -> tuple[Tensor, Tensor, Tensor]:
        """The order [n] that sorts pairs by latent, their rows in it, and where latents begin."""
        order = self.latents.argsort()
        counts = torch.bincount(self.latents, minlength=self.count)
        return order, self.rows[order], counts.cumsum(0) - counts

    def of(self, dense: Tensor) -> Tensor:
        """Entries [n] of a dense [B, F]."""
        return dense[self.rows, self.latents]


def row_top_k(pre: Tensor, k: int) -> Pairs:
    """The k greatest of each row of [B, F]."""
    latents = pre.topk(k, dim=1, sorted=False).indices
    offsets = torch.arange(0, pre.shape[0] * k, k, device=pre.device)
    return Pairs(offsets, latents.flatten(), pre.shape[1])


def batch_top_k(pre: Tensor, k: int) -> Pairs:
    """The k * B greatest of the batch [B, F] (arXiv 2412.06410, eq. 4)."""
    places = pre.flatten().topk(min(k * pre.shape[0], pre.numel()), sorted=False).indices
    places = places.sort().values
    return _of_rows(places // pre.shape[1], places % pre.shape[1], pre.shape)


def above_zero(pre: Tensor) -> Pairs:
    """Every entry of [B, F] above 0."""
    rows, latents = (pre > 0).nonzero(as_tuple=True)
    return _of_rows(rows, latents, pre.shape)


def _of_rows(rows: Tensor, latents: Tensor, shape: torch.Size) -> Pairs:
    counts = torch.bincount(rows, minlength=shape[0])
    return Pairs(counts.cumsum(0) - counts, latents, shape[1])


def _sum(rows: Tensor, of: Tensor, offsets: Tensor, weights: Tensor) -> Tensor:
    found: Tensor = embedding_bag(rows, of, offsets, mode="sum", per_sample_weights=weights)
    return found


class _Weighted:
    """A weighted sum of each row's latents, and from the same graph each pair's dot product.

    The kernel behind embedding_bag's gradient gives those and never gathers rows.
    """

    def __init__(self, weights: Tensor, of: Tensor, pairs: Pairs) -> None:
        with torch.enable_grad():
            self.leaf = weights.detach().requires_grad_()
            self.summed = _sum(pairs.latents, of.detach(), pairs.offsets, self.leaf)

    def dots(self, rows: Tensor) -> Tensor:
        """Products [n] of each pair's row of [B, d] with its latent's; once only."""
        (found,) = torch.autograd.grad(self.summed, self.leaf, rows.contiguous())
        return found


class _PreActivations(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        x, center, encoder, bias, pairs, known = inputs
        inner = x - center
        ctx.pairs = pairs
        ctx.save_for_backward(inner, encoder)
        found: Tensor
        if known is not None:
            found = pairs.of(known)
        else:
            nothing = torch.zeros(len(pairs.latents), dtype=inner.dtype, device=inner.device)
            found = _Weighted(nothing, encoder, pairs).dots(inner) + bias[pairs.latents]
        return found

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (grad,) = grads
        inner, encoder = ctx.saved_tensors
        order, rows, starts = ctx.pairs.by_latent
        to_encoder = _sum(rows, inner, starts, grad[order])
        to_bias = torch.zeros(ctx.pairs.count, dtype=grad.dtype, device=grad.device)
        to_bias.index_add_(0, ctx.pairs.latents, grad)
        # What reaches x - center reaches the center with the other sign.
        return None, -(to_bias @ encoder), to_encoder, to_bias, None, None


class _Mixed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        values, decoder, pairs = inputs
        ctx.pairs, ctx.weighted = pairs, _Weighted(values, decoder, pairs)
        found: Tensor = ctx.weighted.summed.detach()
        return found

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        grad = grads[0].contiguous()
        weighted, pairs = ctx.weighted, ctx.pairs
        del ctx.weighted
        to_decoder = None
        if ctx.needs_input_grad[1]:
            order, rows, starts = pairs.by_latent
            to_decoder = _sum(rows, grad, starts, weighted.leaf.detach()[order])
        return weighted.dots(grad), to_decoder, None


def pre_activations(
    x: Tensor,
    center: Tensor,
    encoder: Tensor,
    bias: Tensor,
    pairs: Pairs,
    *,
    known: Tensor | None = None,
) -> Tensor:
    """E (x - center) + bias at the pairs, [n], of x [B, d], center [d], E [F, d] and bias [F].

    Gradients flow to all but `x`. `known`: all of them [B, F], where they are known already.
    """
    found: Tensor = _PreActivations.apply(x, center, encoder, bias, pairs, known)  # type: ignore[no-untyped-call]
    return found


def mixed(values: Tensor, decoder: Tensor, pairs: Pairs) -> Tensor:
    """Each row's directions, weighted by its pairs' values [n]: [B, d] of a decoder [F, d]."""
    found: Tensor = _Mixed.apply(values, decoder, pairs)  # type: ignore[no-untyped-call]
    return found
