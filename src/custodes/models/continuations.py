"""How probable texts are behind one prompt, which is read once for all of them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from custodes.models.key_values import key_values
from custodes.models.padding import right_padded

__all__ = ["Prefilled", "continuation_logs", "prefill"]


class Prefilled(NamedTuple):
    """A prompt's cache, and the log-probabilities [V] of what follows it."""

    cache: Any
    first: Tensor


@torch.inference_mode()
def prefill(model: Any, prompt: Sequence[int]) -> Prefilled:
    """Read a prompt, given as token ids."""
    from transformers import DynamicCache

    cache = DynamicCache(config=model.config)
    output = model(
        input_ids=torch.tensor([list(prompt)], device=model.device),
        logits_to_keep=1,
        **key_values(model, cache),
    )
    return Prefilled(cache, torch.log_softmax(output.logits[0, -1].float(), dim=-1))


@torch.inference_mode()
def continuation_logs(
    model: Any, begun: Prefilled, rows: Sequence[Sequence[int]]
) -> list[NDArray[np.float64]]:
    """Natural-log probability of each token of each row behind the prompt."""
    heads = [begun.first[list(row[:1])].cpu().double().numpy() for row in rows]
    if max(len(row) for row in rows) < 2:
        return heads
    ids, mask = right_padded([row[:-1] for row in rows], model.device)
    past = begun.cache.get_seq_length()
    shared = copy.deepcopy(begun.cache)
    shared.batch_repeat_interleave(len(rows))
    logits = model(
        input_ids=ids,
        attention_mask=torch.cat([mask.new_ones(len(rows), past), mask], dim=1),
        position_ids=torch.arange(past, past + ids.shape[1], device=ids.device).unsqueeze(0),
        **key_values(model, shared),
    ).logits
    targets = right_padded([row[1:] for row in rows], model.device)[0]
    chosen = logits.gather(2, targets.unsqueeze(2)).squeeze(2).float()
    logs = (chosen - logits.float().logsumexp(dim=-1)).cpu().double().numpy()
    return [
        np.concatenate([head, log[: max(len(row) - 1, 0)]])
        for head, log, row in zip(heads, logs, rows, strict=True)
    ]
