"""What a step minimizes, kind by kind: formulas on pairs of a row and a latent that can be active.

The formulas are written once. `_Every` computes them on all pairs by dense products, `_Few` on a
few by sparse ones, whose gradients are the same to rounding; few are several times as fast.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from custodes.methods.sae.config import CoderConfig
from custodes.methods.sae.language import products
from custodes.methods.sae.losses import (
    auxiliary_error,
    jump_relu,
    l0_penalty,
    l1_penalty,
    squared_error,
)
from custodes.methods.sae.sparse import (
    Pairs,
    above_zero,
    batch_top_k,
    mixed,
    pre_activations,
    row_top_k,
)

__all__ = ["Objective", "objective"]

_FEW = 0.1  # active share of all pairs below which sparse products are the faster ones


class Objective(NamedTuple):
    """Squared error (no gradient), what is minimized, which latents were active (an index into
    them); of batchtopk also the least active value."""

    error: Tensor
    loss: Tensor
    alive: Tensor
    least: float | None = None


class _View(Protocol):
    """Pairs, and what is E (x - b_dec) + bias there: one number a pair, as of all that follows."""

    pre: Tensor

    def of(self, latents: Tensor) -> Tensor:
        """Numbers of the latents, for each pair."""

    def mixed(self, values: Tensor, decoder: Tensor) -> Tensor:
        """Directions weighted by the pairs' values, [B, d]."""

    def alive(self, values: Tensor) -> Tensor:
        """Latents with a value above 0 somewhere, as an index."""


class _Every:
    def __init__(self, pre: Tensor) -> None:
        self.pre = pre

    def of(self, latents: Tensor) -> Tensor:
        return latents

    def mixed(self, values: Tensor, decoder: Tensor) -> Tensor:
        return values @ decoder

    def alive(self, values: Tensor) -> Tensor:
        return (values > 0).any(0)


class _Few:
    def __init__(
        self, x: Tensor, part: Mapping[str, Tensor], bias: Tensor, pairs: Pairs,
        known: Tensor | None,
    ) -> None:  # fmt: skip
        self.pairs = pairs
        self.pre = pre_activations(
            x, part["decoder_bias"], part["encoder"], bias, pairs, known=known
        )

    def of(self, latents: Tensor) -> Tensor:
        return latents.index_select(0, self.pairs.latents)

    def mixed(self, values: Tensor, decoder: Tensor) -> Tensor:
        return mixed(values, decoder, self.pairs)

    def alive(self, values: Tensor) -> Tensor:
        return self.pairs.latents[values > 0]


def objective(
    x: Tensor, part: Mapping[str, Tensor], config: CoderConfig, *, rough: bool, dead: Tensor
) -> Objective:
    """Of scaled inputs [B, d]; `dead` [F] are those that AuxK revives.

    `rough`: dense products are in bfloat16. Where they only say which pairs are active, values
    are computed again in float32.
    """
    bias = part["gate_bias" if config.kind == "gated" else "encoder_bias"]
    with products("bfloat16" if rough else "float32", x.device):
        fixed = config.kind in ("topk", "batchtopk")
        pre = _pre_activations(x, part, bias, rounded=fixed or not rough)
        known = None if rough else pre.detach()
        if fixed:
            return _fixed(x, part, config, pre.detach(), known, dead)
        if config.kind == "jumprelu":
            return _jump(x, part, config, pre)
        view: _View = _Every(pre)
        if int((pre > 0).count_nonzero()) < _FEW * pre.numel():
            view = _Few(x, part, bias, above_zero(pre), known)
        return (_gated if config.kind == "gated" else _relu)(x, part, config, view)


def _pre_activations(
    x: Tensor, part: Mapping[str, Tensor], bias: Tensor, *, rounded: bool
) -> Tensor:
    """E (x - b_dec) + bias, [B, F].

    Not `rounded`: the bias is added in float32 where the product is in bfloat16, so that values do
    not all lie on one coarse grid, between whose points a threshold would never be met.
    """
    encoder, center = part["encoder"], part["decoder_bias"]
    # What is added is 0; its gradient is b_dec's, without the [B, d] that x - b_dec's would be.
    zero = encoder.detach() @ (center.detach() - center)
    inner = (x - center).detach()
    if rounded:
        return torch.addmm(bias + zero, inner, encoder.T)
    found: Tensor = inner @ encoder.T + (bias + zero)
    return found


def _fixed(
    x: Tensor, part: Mapping[str, Tensor], config: CoderConfig, pre: Tensor, known: Tensor | None,
    dead: Tensor,
) -> Objective:  # fmt: skip
    bias = part["encoder_bias"]
    pick = row_top_k if config.kind == "topk" else batch_top_k
    view = _Few(x, part, bias, pick(pre, config.k), known)
    values = view.pre.relu()
    found = view.mixed(values, part["decoder"]) + part["decoder_bias"]
    error = squared_error(x, found)
    loss = error
    count = int(dead.sum()) if config.auxiliary else 0
    if count:
        wanted = max(x.shape[1] // 2, 1)
        idle = pre.masked_fill(~dead, -torch.inf)
        revived = _Few(x, part, bias, row_top_k(idle, min(wanted, count)), known)
        guess = revived.mixed(revived.pre, part["decoder"])
        aside = auxiliary_error(x - found, guess, dead=count, wanted=wanted)
        loss = loss + config.auxiliary * aside
    least = None
    if config.kind == "batchtopk":
        positive = values.detach()[values > 0]
        least = float(positive.min()) if len(positive) else None
    return Objective(error.detach(), loss, view.alive(values), least)


def _relu(x: Tensor, part: Mapping[str, Tensor], config: CoderConfig, view: _View) -> Objective:
    values = view.pre.relu()
    error = squared_error(x, view.mixed(values, part["decoder"]) + part["decoder_bias"])
    loss = error + config.sparsity * l1_penalty(values, len(x))
    return Objective(error.detach(), loss, view.alive(values))


def _gated(x: Tensor, part: Mapping[str, Tensor], config: CoderConfig, view: _View) -> Objective:
    decoder, bias = part["decoder"], part["decoder_bias"]
    gate = view.pre.relu()
    scaled = (view.pre - view.of(part["gate_bias"])) * view.of(part["magnitude_log_scale"].exp())
    values = (gate > 0) * (scaled + view.of(part["magnitude_bias"])).relu()
    error = squared_error(x, view.mixed(values, decoder) + bias)
    # The gate's own reconstruction trains the gate and leaves the decoder alone.
    aside = squared_error(x, view.mixed(gate, decoder.detach()) + bias.detach())
    loss = error + config.sparsity * l1_penalty(gate, len(x)) + aside
    return Objective(error.detach(), loss, view.alive(values))


def _jump(x: Tensor, part: Mapping[str, Tensor], config: CoderConfig, pre: Tensor) -> Objective:
    threshold = part["log_threshold"].exp()
    values = jump_relu(pre, threshold, config.bandwidth)
    error = squared_error(x, values @ part["decoder"] + part["decoder_bias"])
    loss = error + config.sparsity * l0_penalty(pre, threshold, config.bandwidth)
    return Objective(error.detach(), loss, (values > 0).any(0))
