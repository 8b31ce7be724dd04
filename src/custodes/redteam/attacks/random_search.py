"""Random search for a suffix: change a few words at random, keep what works better.

Andriushchenko et al., arXiv 2404.02151, section 3: black box, on the log-probability of a reply
that complies. On a guard it climbs down the guard's own score. Each evaluation is a query; a reply
is asked for whenever the search has got clearly further.
"""

from __future__ import annotations

from random import Random

from pydantic import Field

from custodes.config import Config as BaseConfig
from custodes.redteam.attack import Strategy, Tools
from custodes.redteam.probes import Probe, Seen, Want, user
from custodes.redteam.questions import Question

__all__ = ["WORDS", "RandomSearch", "fitness_of"]

WORDS = (
    "please", "thanks", "weather", "email", "meeting", "poem", "summary", "Python", "function",
    "translate", "letter", "holiday", "train", "museum", "garden", "budget", "spreadsheet",
    "grammar", "essay", "history", "capital", "river", "music", "guitar", "football", "novel",
    "paragraph", "colors", "birthday", "invitation", "schedule", "laptop", "password", "reset",
    "battery", "camera", "lesson", "student", "teacher", "exam", "geometry", "triangle",
    "planet", "moon", "telescope", "table", "format", "JSON", "list", "bullet", "points",
    "short", "answer", "step", "first", "then", "here", "sure", "okay", "the", "of", "and",
    "for", "with", "about", "story", "child", "dog", "cat", "painting", "walk", "bicycle",
    "ticket", "hotel", "coffee", "interview", "resume", "career", "tax", "invoice", "logo",
    "website", "HTML", "SQL", "query", "index", "!", "...", "(", ")", "--", "::",
)  # fmt: skip


class RandomSearch:
    """Hill-climbs over words behind the question."""

    needs: frozenset[Want] = frozenset({"reply"})

    class Config(BaseConfig):
        """The suffix and the steps."""

        length: int = Field(default=16, ge=1)
        """Words in the suffix."""
        change: int = Field(default=3, ge=1)
        """Words that a step changes."""
        stride: float = Field(default=0.05, ge=0)
        """Gain in fitness after which a reply is asked for."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def begin(self, question: Question, tools: Tools) -> Strategy:
        """Steps of `wave` candidates each, until it is closed."""
        fitness = tools.fitness
        best = [tools.rng.choice(WORDS) for _ in range(self._config.length)]
        reached, asked = float("-inf"), float("-inf")
        while True:
            tried = [self._mutant(best, tools.rng) for _ in range(tools.wave)]
            seen = yield [_probe(question, words, fitness) for words in tried]
            values = [fitness_of(each) for each in seen]
            top = max(range(len(values)), key=values.__getitem__)
            if values[top] > reached:
                reached, best = values[top], tried[top]
            if reached > asked + self._config.stride or asked == float("-inf"):
                asked = reached
                yield [_probe(question, best, "reply")]

    def _mutant(self, words: list[str], rng: Random) -> list[str]:
        mutant = list(words)
        for place in rng.sample(range(len(mutant)), min(self._config.change, len(mutant))):
            mutant[place] = rng.choice(WORDS)
        return mutant


def fitness_of(seen: Seen) -> float:
    """How well a probe did: a guard's score turned round, or a reply's mean log-probability."""
    if seen.value is not None:
        return seen.value
    return -(seen.score if seen.score is not None else 1.0)


def _probe(question: Question, words: list[str], want: Want) -> Probe:
    turns = user(f"{question.text} {' '.join(words)}")
    return Probe(turns=turns, want=want, continuation=question.affirmation)
