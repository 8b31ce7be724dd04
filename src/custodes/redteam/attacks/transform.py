"""Any transform of `synthesis`, or a chain of them, as an attack: a new draw each query."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from pydantic import Field

from custodes.config import Config as BaseConfig
from custodes.redteam.attack import Strategy, Tools, UnsuitedError, waves
from custodes.redteam.probes import Probe, Want, user
from custodes.redteam.questions import Question
from custodes.synthesis.transforms import TRANSFORMS, Transform, compose, in_order

__all__ = ["TransformAttack"]

_BARREN = 50
"""Draws without a new text after which a transform has no more to give."""


class TransformAttack:
    """Asks the question transformed."""

    needs: frozenset[Want] = frozenset({"reply"})

    class Config(BaseConfig):
        """Which transforms."""

        names: tuple[str, ...] = Field(min_length=1)
        """Names of `TRANSFORMS`, applied in the order in which a reader can undo them."""

    def __init__(self, config: Config) -> None:
        self._chain: tuple[Transform, ...] = in_order(TRANSFORMS.load(n) for n in config.names)

    def begin(self, question: Question, tools: Tools) -> Strategy:
        """Different texts until the budget is spent or the transform repeats itself."""
        chain = compose([self._bound(each, tools) for each in self._chain])
        return waves(self._probes(chain, question, tools), tools)

    @staticmethod
    def _probes(chain: Transform, question: Question, tools: Tools) -> Iterator[Probe]:
        seen: set[str] = set()
        barren = 0
        while len(seen) < tools.budget and barren < _BARREN:
            text = chain.to_request(question.text, tools.rng)
            barren = barren + 1 if text in seen else 0
            if text not in seen:
                seen.add(text)
                yield Probe(turns=user(text))

    @staticmethod
    def _bound(transform: Transform, tools: Tools) -> Transform:
        if not transform.bind:
            return transform
        if tools.attacker is None:
            raise UnsuitedError(
                f"{transform.name!r} needs a model that writes: give --attacker, as in "
                "--attacker embedded"
            )
        return replace(transform, apply=transform.bind(tools.attacker), bind=None)
