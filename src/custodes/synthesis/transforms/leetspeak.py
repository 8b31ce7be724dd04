"""Leetspeak: letters replaced by digits and signs that look alike, some or all of them."""

from __future__ import annotations

from random import Random

from custodes.synthesis.transforms.base import Transform

__all__ = ["TRANSFORM"]

_SIGNS = {
    "a": "4@",
    "b": "8",
    "e": "3",
    "g": "9",
    "i": "1!",
    "l": "1|",
    "o": "0",
    "s": "5$",
    "t": "7+",
    "z": "2",
}


def _apply(text: str, rng: Random) -> str:
    rate = rng.choice((0.4, 0.7, 1.0))
    table = {letter: rng.choice(signs) for letter, signs in _SIGNS.items()}
    return "".join(
        table[c.lower()] if c.lower() in table and rng.random() < rate else c for c in text
    )


TRANSFORM = Transform(name="leetspeak", family="noise", apply=_apply)
"""No inverse: 1 may have been i or l."""
