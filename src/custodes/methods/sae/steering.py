"""Steer: find the clamp that moves predictions by a wanted amount, and write text under it.

All clamps of several features are searched at once, one row of a batch each (the released code of
arXiv 2501.08319 tries whole numbers one after another), and their texts are written side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from custodes.methods.sae.features import Features
from custodes.methods.sae.hooks import beginning, replaced, resumed
from custodes.methods.sae.language import LanguageModel
from custodes.models.key_values import key_values

__all__ = ["PROMPTS", "Unsteered", "Writing", "find_amounts", "find_clamps", "steered_kl",
           "steered_texts"]  # fmt: skip

PROMPTS = ("The explanation is simple:", "I think", "We")
"""Of arXiv 2501.08319, section 4.2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing:
    """How steered text is drawn; temperature 0 is greedy."""

    prompts: Sequence[str] = PROMPTS
    tokens: int = 25
    temperature: float = 0.75
    seed: int = 0

    def begun(self, language: LanguageModel, hook: str) -> list[Unsteered]:
        """The prompts themselves, one by one, as they differ in length."""
        return [
            Unsteered(language, hook, torch.tensor(language.encode([prompt])))
            for prompt in self.prompts
        ]


class Unsteered:
    """Prompts [p, T] as the model reads them: what every steering of them at a hook is compared
    with, and, read as far as the hook's block, begins from."""

    def __init__(self, language: LanguageModel, hook: str, prompts: Tensor) -> None:
        self.prompts = prompts = prompts.to(language.device)
        self.begun = beginning(language.model, hook, input_ids=prompts, use_cache=False)
        self._language = language

    @cached_property
    def log_probabilities(self) -> Tensor:
        """[p, T, V]."""
        return self._language.logits(self.prompts).log_softmax(-1)

    @cached_property
    def mean_logits(self) -> Tensor:
        """[V], over prompts and positions."""
        return self._language.mean_logits(self.prompts)


def steered_kl(
    language: LanguageModel,
    features: Features,
    index: int | Tensor,
    clean: Unsteered,
    amounts: Tensor,
) -> Tensor:
    """KL(clean || steered) [n] of each amount [n], mean over prompts and positions.

    `index`: one feature, or that of each amount.
    """
    count, prompts = len(amounts), clean.prompts
    each = amounts.repeat_interleave(len(prompts))
    which = torch.as_tensor(index).expand(count).repeat_interleave(len(prompts))
    change = features.clamp(which, each)
    with (
        resumed(language.model, clean.begun, count),
        replaced(language.model, features.hook, change),
    ):
        steered = language.logits(prompts.repeat(count, 1)).log_softmax(-1)
    known = clean.log_probabilities
    steered = steered.view(count, *known.shape)
    found: Tensor = (known.exp() * (known - steered)).sum(-1).mean(dim=(1, 2))
    return found


def find_amounts(
    value: Callable[[Tensor, Tensor], Tensor],
    targets: Tensor,
    start: Tensor,
    *,
    limits: tuple[float, float] = (1e-3, 1e4),
    tolerance: float = 0.05,
    steps: int = 30,
) -> Tensor:
    """Amounts [n] at which `value` (rising from 0) meets the targets [n], all at once from `start`.

    `value(amounts, which)` is asked of those amounts alone whose target is not met yet, within
    `tolerance` of itself. Until a target lies between two values, the next amount follows from a
    square law, as divergences have; then from the line between the two in logarithms, kept off
    both ends so that the interval shrinks (safeguarded regula falsi). A target beyond a limit
    gives the limit.
    """
    at = start.to(targets).clamp(*limits)
    # Logarithms of amount and value on either side of the target; not a number: not known yet.
    below, above = (torch.full((2, len(targets)), torch.nan) for _ in range(2))
    left = torch.arange(len(targets))
    for step in range(steps):
        found = value(at[left], left).to(at)
        wanted = targets[left]
        here = torch.stack([at[left], found.clamp(min=1e-30)]).log()
        short = found < wanted  # what is not a number is too far
        below[:, left] = torch.where(short, here, below[:, left])
        above[:, left] = torch.where(short, above[:, left], here)
        met = (found - wanted).abs() <= tolerance * wanted
        ended = torch.where(short, at[left] >= limits[1], at[left] <= limits[0])
        left = left[~met & ~ended]
        if not len(left):
            break
        following = _following(below[:, left], above[:, left], targets[left].log(), step)
        at[left] = following.exp().clamp(*limits)
    # What no step met (the value jumps over the target): the last amount that was short of it.
    known = below[0, left].isfinite()
    at[left] = torch.where(known, below[0, left].exp(), at[left])
    return at


def _following(below: Tensor, above: Tensor, target: Tensor, step: int) -> Tensor:
    """Logarithms of the amounts to try after those known on both sides of the target, [2, n]."""
    low, high = below[0], above[0]
    share = (target - below[1]) / (above[1] - below[1])
    between = low + share.nan_to_num(0.5).clamp(0.1, 0.9) * (high - low)
    up = high.isnan()
    known = torch.where(up, below, above)
    # A square law that has failed once is of no use: by a factor of 4 at least, of 16 at most.
    by_square = ((target - known[1]) / 2).abs().nan_to_num(2.8).clamp(1.4 if step else 0, 2.8)
    beyond = known[0] + torch.where(up, by_square, -by_square)
    return torch.where(low.isnan() | up, beyond, between)


def find_clamps(
    language: LanguageModel,
    features: Features,
    indices: Sequence[int],
    clean: Sequence[Unsteered],
    targets: Sequence[float],
    start: Sequence[float],
) -> Tensor:
    """Clamps [L, n] for signed KL targets (.25, -.25, ...): the sign is the clamp's.

    `clean`: what is steered, prompts of one length each; the divergence is their mean, each counts
    once. `start`: where the search begins for each feature, such as its greatest activation.
    """
    wanted = torch.tensor(list(targets)).repeat(len(indices))
    feature = torch.tensor(list(indices)).repeat_interleave(len(targets))
    sign = wanted.sign()

    def moved(amounts: Tensor, which: Tensor) -> Tensor:
        found = [
            steered_kl(language, features, feature[which], one, sign[which] * amounts)
            for one in clean
        ]
        return torch.stack(found).mean(dim=0)

    first = torch.tensor(list(start)).repeat_interleave(len(targets))
    return (sign * find_amounts(moved, wanted.abs(), first)).view(len(indices), len(targets))


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
        ids = torch.tensor(language.encode([prompt]), device=language.device)
        ids = ids.repeat(len(amounts), 1)
        written: list[Tensor] = []
        cache = DynamicCache(config=language.model.config)
        with replaced(language.model, features.hook, features.clamp(which, amounts)):
            for _ in range(writing.tokens):
                held = key_values(language.model, cache)
                logits = language.model(input_ids=ids, **held).logits[:, -1].float()
                if writing.temperature:
                    chances = (logits / writing.temperature).softmax(-1).cumsum(-1)
                    # The same numbers for every feature, so that none depends on its neighbors.
                    at = torch.rand(count, 1, generator=draw).repeat(len(indices), 1).to(chances)
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
