"""Reconstruction from few active latents whose backward pass touches those alone.

A dense backward pass costs three products of [B, d] with [F, d]; here it is one weighted sum over
the active pairs for each weight matrix, by `embedding_bag`. The gradients are the dense ones, to
rounding. Which latents are active is decided outside, without a gradient.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

__all__ = ["Active", "batch_top_k", "pair_products", "reconstruct", "row_top_k"]


class Active(NamedTuple):
    """Active pairs, row by row: `offsets` [B] where each row begins, `latents` and `values` [n].

    A pair whose value is not above 0 carries no gradient where `rectified`.
    """

    offsets: Tensor
    latents: Tensor
    values: Tensor
    rectified: bool = True


def row_top_k(pre: Tensor, k: int, *, rectified: bool = True) -> Active:
    """The k greatest of each row of [B, F]."""
    values, latents = pre.topk(k, dim=1, sorted=False)
    offsets = torch.arange(0, pre.shape[0] * k, k, device=pre.device)
    return Active(offsets, latents.flatten(), values.flatten(), rectified)


def batch_top_k(pre: Tensor, k: int) -> Active:
    """The k * B greatest of the batch [B, F] (arXiv 2412.06410, eq. 4)."""
    places = pre.flatten().topk(min(k * pre.shape[0], pre.numel()), sorted=False).indices
    places = places.sort().values
    rows, latents = places // pre.shape[1], places % pre.shape[1]
    counts = torch.bincount(rows, minlength=pre.shape[0])
    return Active(counts.cumsum(0) - counts, latents, pre[rows, latents])


def _sum(rows: Tensor, of: Tensor, offsets: Tensor, weights: Tensor) -> Tensor:
    found: Tensor = embedding_bag(rows, of, offsets, mode="sum", per_sample_weights=weights)
    return found


def pair_products(inner: Tensor, encoder: Tensor, active: Active) -> Tensor:
    """Product of each active pair's row of [B, d] with its latent's of [F, d], and no others'."""
    leaf = torch.zeros(len(active.latents), device=inner.device).requires_grad_()
    with torch.enable_grad():
        summed = _sum(active.latents, encoder.detach(), active.offsets, leaf)
    # The kernel behind embedding_bag gives each pair's dot product and never gathers rows.
    (found,) = torch.autograd.grad(summed, leaf, inner.contiguous())
    return found


class _Reconstruct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        inner, encoder, _encoder_bias, decoder, decoder_bias, active = inputs
        ctx.active = active
        values = active.values.relu() if active.rectified else active.values
        with torch.enable_grad():
            leaf = values.detach().requires_grad_()
            summed = _sum(active.latents, decoder.detach(), active.offsets, leaf)
        ctx.graph = (leaf, summed)
        ctx.save_for_backward(inner, encoder)
        found: Tensor = summed.detach() + decoder_bias
        return found

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (grad,) = grads
        inner, encoder = ctx.saved_tensors
        active, (leaf, summed) = ctx.active, ctx.graph
        del ctx.graph
        # The kernel behind embedding_bag gives each pair's dot product and never gathers rows.
        (slopes,) = torch.autograd.grad(summed, leaf, grad)
        if active.rectified:
            slopes = slopes * (active.values > 0)
        count = encoder.shape[0]
        ends = torch.cat([active.offsets[1:], active.offsets.new_tensor([len(active.latents)])])
        batch = torch.arange(len(inner), device=inner.device)
        rows = batch.repeat_interleave(ends - active.offsets)
        order = active.latents.argsort()
        counts = torch.bincount(active.latents, minlength=count)
        offsets = counts.cumsum(0) - counts
        rows, slopes_by_latent = rows[order], slopes[order]
        to_encoder = _sum(rows, inner, offsets, slopes_by_latent)
        to_decoder = _sum(rows, grad.contiguous(), offsets, leaf.detach()[order])
        to_bias = torch.zeros(count, dtype=inner.dtype, device=inner.device)
        to_bias.index_add_(0, active.latents, slopes)
        # inner = x - b_dec, so what reaches it reaches b_dec with the other sign.
        to_decoder_bias = grad.sum(0) - to_bias @ encoder
        return None, to_encoder, to_bias, to_decoder, to_decoder_bias, None


def reconstruct(
    x: Tensor,
    encoder: Tensor,
    encoder_bias: Tensor,
    decoder: Tensor,
    decoder_bias: Tensor,
    active: Active,
) -> Tensor:
    """x^ [B, d] from the active pairs, whose values are (E (x - b_dec) + b_enc) there.

    `encoder` and `decoder` are [F, d]. Gradients flow to all four weights; not to `x`.
    """
    inner = (x - decoder_bias).detach()
    found: Tensor = _Reconstruct.apply(  # type: ignore[no-untyped-call]
        inner, encoder, encoder_bias, decoder, decoder_bias, active
    )
    return found
