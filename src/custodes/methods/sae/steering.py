"""Steer: find the clamp that moves predictions by a wanted amount, and write text under it.

All clamps of several features are searched at once, one row of a batch each (the released code of
arXiv 2501.08319 tries whole numbers one after another), and their texts are written side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from custodes.methods.sae.features import Features
from custodes.methods.sae.hooks import replaced
from custodes.methods.sae.language import LanguageModel
from custodes.models.key_values import key_values

__all__ = ["PROMPTS", "Writing", "bisect", "find_clamps", "steered_kl", "steered_texts"]

PROMPTS = ("The explanation is simple:", "I think", "We")
"""Of arXiv 2501.08319, section 4.2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing:
    """How steered text is drawn; temperature 0 is greedy."""

    prompts: Sequence[str] = PROMPTS
    tokens: int = 25
    temperature: float = 0.75
    seed: int = 0


def steered_kl(
    language: LanguageModel,
    features: Features,
    index: int | Tensor,
    prompts: Tensor,
    amounts: Tensor,
    *,
    clean: Tensor | None = None,
) -> Tensor:
    """KL(clean || steered) [n] of each amount [n], mean over prompts [p, T] and positions.

    `index`: one feature, or that of each amount. `clean`: the prompts' log-probabilities
    [p, T, V], where they are known already.
    """
    if clean is None:
        clean = language.logits(prompts).log_softmax(-1)
    count = len(amounts)
    rows = prompts.repeat(count, 1)
    each = amounts.repeat_interleave(len(prompts))
    which = torch.as_tensor(index).expand(count).repeat_interleave(len(prompts))
    with replaced(language.model, features.hook, features.clamp(which, each)):
        steered = language.logits(rows).log_softmax(-1)
    steered = steered.view(count, *clean.shape)
    found: Tensor = (clean.exp() * (clean - steered)).sum(-1).mean(dim=(1, 2))
    return found


def bisect(
    value: Callable[[Tensor], Tensor],
    targets: Tensor,
    *,
    start: float = 1.0,
    limit: float = 1e4,
    steps: int = 8,
) -> Tensor:
    """Magnitudes [n] at which `value` (rising from 0) meets the targets [n], all at once.

    Doubles until a target is passed or the limit reached, then halves the interval. A target
    beyond the limit gives the limit.
    """
    low, high = torch.zeros_like(targets), torch.full_like(targets, start)
    while True:
        short = (value(high) < targets) & (high < limit)
        if not short.any():
            break
        low = torch.where(short, high, low)
        high = torch.where(short, (2 * high).clamp(max=limit), high)
    for _ in range(steps):
        middle = (low + high) / 2
        below = value(middle) < targets
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return high


def find_clamps(
    language: LanguageModel,
    features: Features,
    indices: Sequence[int],
    prompts: Tensor,
    targets: Sequence[float],
) -> Tensor:
    """Clamps [L, n] for signed KL targets (.25, -.25, ...): the sign is the clamp's."""
    wanted = torch.tensor(list(targets)).repeat(len(indices))
    which = torch.tensor(list(indices)).repeat_interleave(len(targets))
    sign = wanted.sign()
    clean = language.logits(prompts).log_softmax(-1)

    def moved(amounts: Tensor) -> Tensor:
        return steered_kl(language, features, which, prompts, sign * amounts, clean=clean)

    return (sign * bisect(moved, wanted.abs())).view(len(indices), len(targets))


@torch.inference_mode()
def steered_texts(
    language: LanguageModel,
    features: Features,
    indices: Sequence[int],
    clamps: Tensor,
    writing: Writing,
) -> list[list[str]]:
    """Continuations of each prompt under each clamp [L, n], prompt by prompt, of L features.

    A feature's texts do not depend on which others are written beside them, but for rounding.
    """
    from transformers import DynamicCache

    draw = torch.Generator().manual_seed(writing.seed)
    amounts, count = clamps.flatten(), clamps.shape[1]
    which = torch.tensor(list(indices)).repeat_interleave(count)
    found: list[list[str]] = [[] for _ in indices]
    for prompt in writing.prompts:
        ids = torch.tensor(language.encode([prompt])).repeat(len(amounts), 1)
        written: list[Tensor] = []
        cache = DynamicCache(config=language.model.config)
        with replaced(language.model, features.hook, features.clamp(which, amounts)):
            for _ in range(writing.tokens):
                held = key_values(language.model, cache)
                logits = language.model(input_ids=ids, **held).logits[:, -1].float()
                if writing.temperature:
                    chances = (logits / writing.temperature).softmax(-1).cumsum(-1)
                    # The same numbers for every feature, so that none depends on its neighbors.
                    at = torch.rand(count, 1, generator=draw).repeat(len(indices), 1)
                    ids = torch.searchsorted(chances, at * chances[:, -1:]).clamp(
                        max=logits.shape[1] - 1
                    )
                else:
                    ids = logits.argmax(-1, keepdim=True)
                written.append(ids)
        rows = torch.split(torch.cat(written, dim=1), count)
        for texts, some in zip(found, rows, strict=True):
            texts += [str(language.tokenizer.decode(row)) for row in some.tolist()]
    return found
