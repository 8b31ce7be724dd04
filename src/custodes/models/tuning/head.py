"""Log-probabilities of given tokens from hidden states, without keeping the whole vocabulary.

log p(y | h) = w_y . h - log sum_v exp(w_v . h). Its gradient by h, w_y - sum_v p_v w_v, does not
depend on the loss, so it is computed along with the value, in blocks, while the block's logits are
there (as Liger's fused linear cross-entropy does, arXiv 2410.10989, section 3.2, but for any loss).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["token_log_probs"]

_BLOCK = 512


class _TokenLogProbs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, table: Tensor, ids: Tensor, low: Tensor) -> Tensor:
        found = states.new_empty(len(ids))
        slope = torch.empty_like(states) if states.requires_grad or table.requires_grad else None
        norms = states.new_empty(len(ids))
        for at in range(0, len(ids), _BLOCK):
            part = slice(at, at + _BLOCK)
            logits = (states[part].to(low.dtype) @ low.T).float()
            norm = logits.logsumexp(dim=1)
            found[part] = logits.gather(1, ids[part].unsqueeze(1)).squeeze(1) - norm
            norms[part] = norm
            if slope is not None:
                shares = logits.sub_(norm.unsqueeze(1)).exp_().to(low.dtype)
                slope[part] = low[ids[part]].float() - (shares @ low).float()
        ctx.save_for_backward(states, table, ids, low, slope, norms)
        return found

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = outputs
        states, table, ids, low, slope, norms = ctx.saved_tensors
        by_states = gradient.unsqueeze(1) * slope if ctx.needs_input_grad[0] else None
        by_table = None
        if ctx.needs_input_grad[1]:
            by_table = torch.zeros_like(table)
            by_table.index_add_(0, ids, gradient.unsqueeze(1) * states)
            for at in range(0, len(ids), _BLOCK):
                part = slice(at, at + _BLOCK)
                here = states[part].to(low.dtype)
                shares = (here @ low.T).float().sub_(norms[part].unsqueeze(1)).exp_()
                shares *= gradient[part].unsqueeze(1)
                by_table -= (shares.to(low.dtype).T @ here).to(table.dtype)
        return by_states, by_table, None, None


def token_log_probs(
    states: Tensor, table: Tensor, ids: Tensor, low: Tensor | None = None
) -> Tensor:
    """log p(ids[n] | states[n]), float32 [N], under the output matrix `table` [V, d].

    `low` is a copy of the table in the precision of the products; without it, the table itself.
    """
    low = table.detach() if low is None else low
    found: Tensor = _TokenLogProbs.apply(states.float(), table, ids, low)  # type: ignore[no-untyped-call]
    return found
