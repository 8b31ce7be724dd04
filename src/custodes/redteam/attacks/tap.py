"""TAP: a tree of attacks; branch, drop what is off topic, ask, keep the best.

Mehrotra et al., arXiv 2312.02119. Branches that no longer speak of the question are cut before they
cost a query (by the question's keywords, where the paper asks a model), and after the replies the
leaves with the best grades live on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic import Field

from custodes.config import Config as BaseConfig
from custodes.redteam.attack import Strategy, Tools, UnsuitedError
from custodes.redteam.attacks.pair import parse_prompt
from custodes.redteam.probes import Probe, Seen, Want, user
from custodes.redteam.questions import Question
from custodes.redteam.writing import improve

__all__ = ["TAP"]


@dataclass
class _Leaf:
    prompt: str
    seen: Seen = field(default_factory=Seen)


class TAP:
    """Grows and prunes a tree of prompts."""

    needs: frozenset[Want] = frozenset({"reply"})

    class Config(BaseConfig):
        """The tree's shape."""

        branches: int = Field(default=2, ge=1)
        """New prompts a leaf."""
        width: int = Field(default=3, ge=1)
        """Leaves that live on."""
        depth: int = Field(default=4, ge=1)
        """Levels; then a new tree begins."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def begin(self, question: Question, tools: Tools) -> Strategy:
        """Level by level, tree after tree."""
        if tools.attacker is None:
            raise UnsuitedError("tap needs a model that writes: give --attacker")
        while True:
            leaves = [_Leaf("")]
            for _ in range(self._config.depth):
                grown = self._grow(leaves, question, tools)
                seen = yield [Probe(turns=user(leaf.prompt)) for leaf in grown]
                for leaf, each in zip(grown, seen, strict=True):
                    leaf.seen = each
                grown.sort(key=lambda leaf: _worth(leaf.seen), reverse=True)
                leaves = grown[: self._config.width]

    def _grow(self, leaves: Sequence[_Leaf], question: Question, tools: Tools) -> list[_Leaf]:
        parents = [leaf for leaf in leaves for _ in range(self._config.branches)]
        written = improve(question, [(leaf.prompt, leaf.seen) for leaf in parents], tools)
        prompts = dict.fromkeys(parse_prompt(text) for text in written)
        kept = [prompt for prompt in prompts if _on_topic(prompt, question)]
        return [_Leaf(prompt) for prompt in kept or [question.text]]


def _on_topic(prompt: str, question: Question) -> bool:
    words = question.keywords or tuple(w for w in question.text.rstrip("?").split() if len(w) > 4)
    return any(word.lower() in prompt.lower() for word in words)


def _worth(seen: Seen) -> tuple[float, float]:
    return (seen.grade or 0.0, -(seen.score or 0.0))
