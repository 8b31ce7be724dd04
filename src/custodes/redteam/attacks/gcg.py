"""GCG: a suffix found by the gradient of a local model (white box).

Zou et al., arXiv 2307.15043, algorithm 1: the gradient of the wished-for reply's log-probability by
the one-hot suffix tokens gives the most promising swaps for each place; a batch of random
single-token swaps is evaluated and the best one kept.
"""

from __future__ import annotations

from random import Random

from pydantic import Field

from custodes.config import Config as BaseConfig
from custodes.redteam.attack import Strategy, Tools
from custodes.redteam.probes import Probe, Seen, Want, user
from custodes.redteam.questions import Question

__all__ = ["GCG"]


class GCG:
    """Greedy coordinate gradient."""

    needs: frozenset[Want] = frozenset({"reply", "likelihood", "gradient"})

    class Config(BaseConfig):
        """The suffix and the steps."""

        length: int = Field(default=12, ge=1)
        """Exclamation marks that the suffix begins as (the paper has 20)."""
        candidates: int = Field(default=8, ge=1)
        """Swaps evaluated a step (the paper has 512)."""
        every: int = Field(default=2, ge=1)
        """Steps after which a reply is asked for."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def begin(self, question: Question, tools: Tools) -> Strategy:
        """A gradient, its candidates, and now and then a reply, until it is closed."""
        suffix = " !" * self._config.length
        reached, step = float("-inf"), 0
        while True:
            (slope,) = yield [_probe(question, suffix, "gradient")]
            if not slope.swaps:
                return
            tried = self._candidates(slope, tools.rng)
            seen = yield [_probe(question, each, "likelihood") for each in tried]
            values = [each.value if each.value is not None else float("-inf") for each in seen]
            top = max(range(len(values)), key=values.__getitem__)
            if values[top] > reached:
                reached, suffix = values[top], tried[top]
            step += 1
            if step % self._config.every == 0:
                yield [_probe(question, suffix, "reply")]

    def _candidates(self, slope: Seen, rng: Random) -> list[str]:
        tried: dict[str, None] = {}
        for _ in range(self._config.candidates):
            place = rng.randrange(len(slope.pieces))
            pieces = list(slope.pieces)
            pieces[place] = rng.choice(slope.swaps[place])
            tried.setdefault("".join(pieces))
        return list(tried)


def _probe(question: Question, suffix: str, want: Want) -> Probe:
    return Probe(
        turns=user(question.text + suffix),
        want=want,
        continuation=question.affirmation,
        suffix=suffix if want == "gradient" else "",
    )
