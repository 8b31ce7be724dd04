"""What a transform is: a pure function of a text and a random generator, with a declaration.

Knows texts only; which rows get which transform is the plan's affair.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from custodes.models import GenerateModel

__all__ = ["Apply", "Family", "Side", "Transform", "framed"]

Apply = Callable[[str, Random], str]
"""Text in, text out; draws from the generator alone."""

Family = Literal["noise", "encoding", "structure", "framing", "context"]
"""Also the order in which a chain applies them: noise first, context last."""

Side = Literal["request", "reply"]
"""The turn that a transform can be applied to."""

_BOTH: frozenset[Side] = frozenset(("request", "reply"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Transform:
    """One variation of a text that leaves its label alone.

    `apply` varies a request. `bare` is what is applied to a reply, where that differs: the code
    alone, without the words that ask the reader to decode it. `inverse` undoes `bare` (else
    `apply`), for texts that the code can carry.

    `violates` names the family of rules that the wrapper *itself* breaks ("override": it demands
    that all rules be dropped). Such a transform has a `mild` form with the same look and no such
    demand. Rows of permitted rules get the mild form only, so that their label stays 0; rows of
    restricted rules get either, so that the mild look is no cue to a harmless row.

    `bind` is set on transforms that need a model; `apply` of those raises.
    """

    name: str
    family: Family
    apply: Apply
    sides: frozenset[Side] = _BOTH
    readable: bool = True
    violates: str | None = None
    mild: Apply | None = None
    bare: Apply | None = None
    inverse: Callable[[str], str] | None = None
    bind: Callable[[GenerateModel], Apply] | None = None

    def to_reply(self, text: str, rng: Random) -> str:
        """Vary a reply."""
        return (self.bare or self.apply)(text, rng)

    def to_request(self, text: str, rng: Random, *, mild: bool = False) -> str:
        """Vary a request, in the mild form where that is asked for and exists."""
        return (self.mild if mild and self.mild else self.apply)(text, rng)


def framed(templates: Sequence[str]) -> Apply:
    """A transform that puts the text in place of `{text}` in one of the templates."""

    def apply(text: str, rng: Random) -> str:
        return rng.choice(templates).replace("{text}", text)

    return apply
