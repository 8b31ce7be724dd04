"""Best-of-N: many random mutilations of the question, until one gets through.

Hughes et al., arXiv 2412.03556, section 2: shuffle the letters inside words, change the case of
letters at random, shift some characters; every draw is independent of the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from pydantic import Field

from custodes.config import Config as BaseConfig
from custodes.redteam.attack import Strategy, Tools, waves
from custodes.redteam.probes import Probe, Want, user
from custodes.redteam.questions import Question

__all__ = ["BestOfN", "mutilate"]


class BestOfN:
    """Draws until the budget is spent."""

    needs: frozenset[Want] = frozenset({"reply"})

    class Config(BaseConfig):
        """How strongly a text is changed."""

        strength: float = Field(default=0.4, ge=0, le=1)
        """The paper's sigma; words are shuffled and letters changed with powers of it."""

    def __init__(self, config: Config) -> None:
        self._strength = config.strength

    def begin(self, question: Question, tools: Tools) -> Strategy:
        """A new draw each query."""
        return waves(self._probes(question, tools), tools)

    def _probes(self, question: Question, tools: Tools) -> Iterator[Probe]:
        for _ in range(tools.budget):
            yield Probe(turns=user(mutilate(question.text, tools.rng, self._strength)))


def mutilate(text: str, rng: Random, strength: float) -> str:
    """One draw: letters inside words shuffled (p = strength^0.5), case flipped (p = strength^0.5),
    printable characters shifted by one (p = strength^3)."""
    words = [
        _shuffled(word, rng) if rng.random() < strength**0.5 else word for word in text.split()
    ]
    return "".join(_changed(letter, rng, strength) for letter in " ".join(words))


def _changed(letter: str, rng: Random, strength: float) -> str:
    if letter.isalpha() and rng.random() < strength**0.5:
        letter = letter.swapcase()
    if 32 < ord(letter) < 126 and rng.random() < strength**3:
        letter = chr(ord(letter) + rng.choice((-1, 1)))
    return letter


def _shuffled(word: str, rng: Random) -> str:
    if len(word) < 4:
        return word
    inner = list(word[1:-1])
    rng.shuffle(inner)
    return word[0] + "".join(inner) + word[-1]
