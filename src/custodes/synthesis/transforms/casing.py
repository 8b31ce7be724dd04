"""Letter case: upper, lower, title, alternating or random."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from custodes.synthesis.transforms.base import Transform

__all__ = ["TRANSFORM"]


def _alternating(text: str, rng: Random) -> str:
    first = rng.randrange(2)
    return "".join(c.upper() if (i + first) % 2 else c.lower() for i, c in enumerate(text))


def _random(text: str, rng: Random) -> str:
    return "".join(c.upper() if rng.random() < 0.5 else c.lower() for c in text)


_CASES: tuple[Callable[[str, Random], str], ...] = (
    lambda text, _: text.upper(),
    lambda text, _: text.lower(),
    lambda text, _: text.title(),
    _alternating,
    _random,
)


def _apply(text: str, rng: Random) -> str:
    return rng.choice(_CASES)(text, rng)


TRANSFORM = Transform(name="casing", family="noise", apply=_apply)
"""No inverse: the case is lost."""
