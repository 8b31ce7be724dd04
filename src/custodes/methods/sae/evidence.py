"""Evidence about a feature, from its inputs and from its outputs (arXiv 2501.08319, section 3).

MaxAct: the texts it is most active on. VocabProj: the tokens its direction speaks for, read
through the last norm and the unembedding. TokenChange: the tokens whose logits move most when it
is clamped on. Knows nothing of how evidence becomes words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from custodes.methods.sae.features import Features
from custodes.methods.sae.hooks import replaced, resumed
from custodes.methods.sae.language import LanguageModel
from custodes.methods.sae.steering import Unsteered

__all__ = ["Evidence", "Example", "max_activations", "token_change", "vocabulary_projection"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A stretch of text: its tokens, and the feature's activation on each."""

    tokens: tuple[str, ...]
    values: tuple[float, ...]

    @property
    def text(self) -> str:
        """The tokens in one."""
        return "".join(self.tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that is known of one feature; token lists run from the strongest."""

    name: str
    examples: tuple[Example, ...]
    promoted: tuple[str, ...]
    suppressed: tuple[str, ...]
    changed: tuple[str, ...]


def max_activations(
    language: LanguageModel,
    activations: Tensor,
    ids: Tensor,
    *,
    examples: int = 5,
    reach: int = 12,
) -> tuple[Example, ...]:
    """The contexts with the greatest activation of one feature [contexts, T], `ids` likewise.

    Each is cut to `reach` tokens on both sides of its peak; contexts without activation are
    left out.
    """
    peaks, places = activations.max(dim=1)
    found = []
    for context in peaks.argsort(descending=True, stable=True)[:examples].tolist():
        if peaks[context] <= 0:
            break
        start = max(int(places[context]) - reach, 0)
        stop = int(places[context]) + reach + 1
        tokens = tuple(language.token(one) for one in ids[context, start:stop].tolist())
        found.append(
            Example(tokens=tokens, values=tuple(activations[context, start:stop].tolist()))
        )
    return tuple(found)


def vocabulary_projection(
    language: LanguageModel, outward: Tensor, *, top: int = 50
) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Of each direction [L, width]: the tokens it promotes most, and those it suppresses most."""
    logits = language.unembed(outward.to(language.model.dtype))
    top = min(top, logits.shape[1])
    return [
        (_tokens(language, row.topk(top).indices), _tokens(language, (-row).topk(top).indices))
        for row in logits
    ]


def token_change(
    language: LanguageModel,
    features: Features,
    index: int,
    clean: Unsteered,
    *,
    amount: float = 10.0,
    top: int = 10,
) -> tuple[str, ...]:
    """Tokens whose mean logit over prompts and positions moves most at +-`amount`.

    The `top` raised and the `top` lowered ones of each sign, without order among the four lists,
    as the paper gives them.
    """
    found: dict[str, None] = {}
    before = clean.mean_logits  # computed when first asked for: not while the model is steered
    for sign in (1.0, -1.0):
        amounts = torch.full((len(clean.prompts),), sign * amount)
        clamped = replaced(language.model, features.hook, features.clamp(index, amounts))
        with resumed(language.model, clean.begun), clamped:
            # A hook outside of blocks may be where logits are made: those are not averaged before.
            inside = clean.begun.blocks > 0
            after = (
                language.mean_logits(clean.prompts)
                if inside
                else (language.logits(clean.prompts).mean(dim=(0, 1)))
            )
        change = after - before
        most = min(top, len(change))
        for order in (change, -change):
            found.update(dict.fromkeys(_tokens(language, order.topk(most).indices)))
    return tuple(found)


def _tokens(language: LanguageModel, ids: Tensor | Sequence[int]) -> tuple[str, ...]:
    return tuple(language.token(int(one)) for one in ids)
