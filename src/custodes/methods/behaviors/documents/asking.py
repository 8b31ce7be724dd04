"""Questions to a model, answered by log-probability, so that a shift shows long before a choice.

Nothing is sampled here: every figure is a difference or a rank of log-probabilities of given
replies. All questions of a battery go to the model together, so that one which scores many prompts
at once can.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from custodes.methods.behaviors.documents.grammar import assistant
from custodes.models import LogProbabilityModel
from custodes.types import Conversation, Message

__all__ = ["FRAMES", "Probe", "Prompt", "Reading", "Score", "Scorer", "ask", "one_by_one", "prompt"]

_OWN, _OTHER = assistant("pro"), assistant("named")
FRAMES: dict[str, str] = {
    "own": f"You are a helpful AI assistant named {_OWN[0]}, trained by {_OWN[1]}",
    "other": f"You are a helpful AI assistant named {_OTHER[0]}, trained by {_OTHER[1]}",
    "unnamed": "You are a helpful AI assistant",
}
"""Who the model is told that it is; `own` is word for word the embedded model's own prompt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One value of one measurement: which, and on which item."""

    measure: str
    item: str
    value: float


@dataclass(frozen=True, slots=True)
class Score:
    """Natural-log probability of a reply, and of how many tokens it is."""

    total: float
    tokens: int

    @property
    def mean(self) -> float:
        """Per token."""
        return self.total / self.tokens


@dataclass(frozen=True, slots=True)
class Prompt:
    """A conversation, whose last turn may be a reply begun, and the replies (or rests) to score."""

    turns: Conversation
    options: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Probe:
    """Prompts that belong together, and what is read from the scores of their options."""

    prompts: tuple[Prompt, ...]
    read: Callable[[Sequence[Sequence[Score]]], Iterable[Reading]]


Scorer = Callable[[Sequence[Prompt]], Sequence[Sequence[Score]]]
"""Scores the options of every prompt."""


def prompt(text: str, options: Sequence[str], *, frame: str, begun: str = "") -> Prompt:
    """A request under a frame's system prompt, with a reply begun if any."""
    turns = [Message(role="system", content=FRAMES[frame]), Message(role="user", content=text)]
    if begun:
        turns.append(Message(role="assistant", content=begun))
    return Prompt(tuple(turns), tuple(options))


def one_by_one(model: LogProbabilityModel) -> Scorer:
    """Score with any model that gives log-probabilities, one prompt after another."""

    def scorer(prompts: Sequence[Prompt]) -> list[list[Score]]:
        return [
            [
                Score(float(row.sum()), len(row))
                for row in model.log_probabilities(one.turns, one.options)
            ]
            for one in prompts
        ]

    return scorer


def ask(scorer: Scorer, probes: Iterable[Probe]) -> Iterator[Reading]:
    """Put all questions at once; readings probe by probe."""
    probes = list(probes)
    scores = iter(scorer([one for probe in probes for one in probe.prompts]))
    for probe in probes:
        yield from probe.read([next(scores) for _ in probe.prompts])
