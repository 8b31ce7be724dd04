"""Which single-token swaps would make a wished-for reply likelier: the gradient step of GCG.

Zou et al., arXiv 2307.15043, section 2.2: the gradient of the reply's log-likelihood by the one-hot
vectors of the suffix's tokens; the greatest entries promise most. White box: it needs the weights.
Knows tensors and tokens; nothing of attacks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from custodes.models.eight_bits import exact

__all__ = ["promising_swaps", "span_tokens", "usable_tokens"]


def span_tokens(tokenizer: Any, text: str, start: int, end: int) -> tuple[list[int], list[int]]:
    """Ids of the whole text, and the places of the tokens that touch the characters [start, end).

    `tokenizer`: one of the tokenizers library.
    """
    encoded = tokenizer.encode(text, add_special_tokens=False)
    places = [i for i, (a, b) in enumerate(encoded.offsets) if a < end and b > start]
    return list(encoded.ids), places


def usable_tokens(tokenizer: Any) -> Tensor:
    """Whether each id stands for printable ASCII that is no special token, bool [V]."""
    size = tokenizer.get_vocab_size()
    texts = tokenizer.decode_batch([[i] for i in range(size)], skip_special_tokens=True)
    return torch.tensor([bool(t.strip()) and t.isascii() and t.isprintable() for t in texts])


def promising_swaps(
    model: Any, ids: Sequence[int], places: Sequence[int], wished: Sequence[int], *, usable: Tensor
) -> Tensor:
    """Score of each token at each place, [places, V]: greater promises more; unusable ones -inf.

    `ids` is the prompt, `wished` the reply whose log-likelihood is to rise. The gradient of a model
    in 8 bits is that of its weights before rounding.
    """
    table = model.get_input_embeddings().weight.detach()
    row = torch.tensor([*ids, *wished], device=table.device)
    spots = torch.tensor(list(places), device=table.device)
    hot = torch.nn.functional.one_hot(row[spots], table.shape[0]).to(table.dtype)
    hot.requires_grad_(True)
    embedded = table[row].clone()
    embedded = embedded.index_put((spots,), hot @ table)
    with exact(model):
        logits = model(inputs_embeds=embedded.unsqueeze(0)).logits[0]
    first = len(ids)
    logs = torch.log_softmax(logits[first - 1 : -1].float(), dim=-1)
    gain = logs.gather(1, row[first:].unsqueeze(1)).sum()
    (slope,) = torch.autograd.grad(gain, hot)
    size = slope.shape[1]
    allowed = torch.zeros(size, dtype=torch.bool, device=slope.device)
    allowed[: min(size, len(usable))] = usable[:size].to(slope.device)
    allowed_slope: Tensor = slope.masked_fill(~allowed, float("-inf"))
    return allowed_slope
