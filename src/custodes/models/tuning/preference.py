"""Tuning on preferences: of two replies to a prompt, the one that is wanted.

Direct preference optimization (Rafailov et al., arXiv 2305.18290, Eq. 7). The reference is the
model as it was when the phase began; its log-probabilities are computed once, before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from custodes.models.tuning.loop import Trace, TuneConfig, batches_of, fit
from custodes.models.tuning.model import TunableModel
from custodes.models.tuning.rows import Row
from custodes.models.tuning.scoring import row_log_probs

__all__ = ["Preference", "dpo_loss", "tune_preferences"]


@dataclass(frozen=True, slots=True)
class Preference:
    """A chosen and a rejected row of the same prompt; their log-probabilities by the reference."""

    chosen: Row
    rejected: Row
    reference: tuple[float, float] = (0.0, 0.0)


def dpo_loss(logs: Tensor, reference: Tensor, *, beta: float) -> Tensor:
    """Mean of -log sigmoid(beta ((l_c - r_c) - (l_r - r_r))); logs and reference [pairs, 2]."""
    gain = logs - reference
    margin = beta * (gain[:, 0] - gain[:, 1])
    return -torch.nn.functional.logsigmoid(margin).mean()


def tune_preferences(
    model: TunableModel,
    pairs: Sequence[tuple[Row, Row]],
    config: TuneConfig,
    *,
    beta: float = 0.1,
) -> Trace:
    """DPO on (chosen, rejected) rows; the phase is left open (see `fit`)."""
    # Rounded as the loss rounds: before the first step their difference is nil.
    flat = row_log_probs(model, [row for pair in pairs for row in pair], exact=False)
    items = [
        Preference(chosen, rejected, (flat[2 * n], flat[2 * n + 1]))
        for n, (chosen, rejected) in enumerate(pairs)
    ]

    def objective(model: TunableModel, batch: list[Preference]) -> Tensor:
        rows = [row for pair in batch for row in (pair.chosen, pair.rejected)]
        logs, _ = model.row_log_probs(model.pack(rows))
        reference = torch.tensor([pair.reference for pair in batch], device=logs.device)
        return dpo_loss(logs.view(-1, 2), reference, beta=beta)

    return fit(model, batches_of(items, config), objective, config)
