"""What is taught and asked: a model in this process, or one that is tuned and served elsewhere.

Both are tuned on prompts and replies, and both say how likely each valid answer is: the local one
by the answers' probabilities, the served one by how many of its sampled replies are the answer, as
in the paper (arXiv 2501.11120, section 3). Knows no behavior, and of the questions only which
options are beginnings of words.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from custodes.methods.behaviors.awareness.questions import STEMS
from custodes.methods.behaviors.config import HostedConfig
from custodes.models import Sampling
from custodes.models.finetuning import FineTuningApi
from custodes.models.openai import OpenAIModel
from custodes.models.tuning import TunableModel, TuneConfig, option_log_probs, tune
from custodes.types import Message

__all__ = ["HostedLearner", "Learner", "LocalLearner", "Taught"]

_UNSEEN = 1e-9
"""Probability of an answer that no sampled reply gave: all such answers are alike."""


@dataclass(frozen=True, slots=True)
class Taught:
    """How the teaching went; `loss` None where the server does not say."""

    loss: float | None = None
    tokens: int = 0
    seconds: float = 0.0


class Learner(Protocol):
    """Taught once, asked, then put back."""

    def teach(self, rows: Sequence[tuple[str, str]], tuning: TuneConfig) -> Taught:
        """Tune on prompts and replies."""
        ...

    def log_probs(
        self, prompts: Sequence[str], options: Sequence[Sequence[str]], *, end: bool
    ) -> list[list[float]]:
        """Log-probability of each option as the whole reply to its prompt (`end`) or its start."""
        ...

    def lengths(self, options: Sequence[str]) -> list[int]:
        """Tokens of each option, by which log-probabilities of long ones are compared."""
        ...

    def reset(self) -> None:
        """Forget what was taught."""
        ...


class LocalLearner:
    """A causal model in this process, tuned by low-rank pairs or in full."""

    def __init__(self, model: TunableModel) -> None:
        self._model = model

    def teach(self, rows: Sequence[tuple[str, str]], tuning: TuneConfig) -> Taught:
        """See `Learner`."""
        trace = tune(self._model, [self._model.rows.chat(*row) for row in rows], tuning)
        return Taught(trace.tail(), trace.tokens, trace.seconds)

    def log_probs(
        self, prompts: Sequence[str], options: Sequence[Sequence[str]], *, end: bool
    ) -> list[list[float]]:
        """See `Learner`."""
        return option_log_probs(self._model, prompts, options, end=end)

    def lengths(self, options: Sequence[str]) -> list[int]:
        """See `Learner`."""
        return [len(self._model.rows.encode(option)) for option in options]

    def reset(self) -> None:
        """See `Learner`."""
        self._model.reset()


class HostedLearner:
    """A model behind an API that can be fine-tuned."""

    def __init__(self, config: HostedConfig) -> None:
        self._config = config
        self._name = config.model
        self._open: OpenAIModel | None = None

    def teach(self, rows: Sequence[tuple[str, str]], tuning: TuneConfig) -> Taught:
        """See `Learner`; only the seed has a meaning here."""
        self.reset()
        with FineTuningApi(self._config, self._config.folder) as api:
            self._name = api.tune(rows, seed=tuning.seed)
        return Taught()

    def log_probs(
        self, prompts: Sequence[str], options: Sequence[Sequence[str]], *, end: bool
    ) -> list[list[float]]:
        """See `Learner`: shares of sampled replies, without leading space and closing stop."""
        if self._open is None:
            fields = set(OpenAIModel.Config.model_fields)
            settings = self._config.model_dump(include=fields) | {"model": self._name}
            self._open = OpenAIModel(OpenAIModel.Config(**settings))
        sampling = Sampling(max_tokens=self._config.reply_tokens, temperature=1.0)
        count = self._config.samples
        asked = [(Message("user", prompt),) for prompt in prompts for _ in range(count)]
        replies = [reply.text.strip() for reply in self._open.generate(asked, sampling)]
        return [
            [math.log(share or _UNSEEN) for share in _shares(those, chosen, end=end)]
            for those, chosen in zip(
                options,
                (replies[at : at + count] for at in range(0, len(replies), count)),
                strict=True,
            )
        ]

    def lengths(self, options: Sequence[str]) -> list[int]:
        """See `Learner`: 1 each, since shares of whole replies are not made of tokens."""
        return [1 for _ in options]

    def reset(self) -> None:
        """See `Learner`."""
        if self._open is not None:
            self._open.close()
        self._open, self._name = None, self._config.model


def _shares(options: Sequence[str], replies: Sequence[str], *, end: bool) -> list[float]:
    """The share of replies that are each option, or begin with it; the longest option counts."""
    counts = dict.fromkeys(options, 0)
    for reply in replies:
        said = reply.rstrip(".") if end else reply
        fitting = [o for o in options if said == o or (not end and _begins(said, o))]
        if fitting:
            counts[max(fitting, key=len)] += 1
    return [counts[option] / len(replies) for option in options]


def _begins(said: str, option: str) -> bool:
    """Whether a reply begins with an option as a word: "As an AI" is not the answer A."""
    whole = r"(?!\w)" if re.search(r"\w$", option) and option not in STEMS else ""
    return re.match(re.escape(option) + whole, said) is not None
