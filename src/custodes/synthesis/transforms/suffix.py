"""A tail of random tokens, of the kind that gradient searches leave behind."""

from __future__ import annotations

from random import Random
from string import ascii_lowercase

from custodes.synthesis.transforms.base import Transform

__all__ = ["TRANSFORM"]

_SIGNS = "!?#$%&*()[]{}<>/\\|~^=+-_:;.,@"
_PIECES = (
    "describing",
    "similarly",
    "Now",
    "write",
    "opposite",
    "format",
    "sentence",
    "please",
    "revert",
    "INST",
    "interface",
    "Table",
    "Text",
    "seq",
    "vector",
    "margin",
    "Python",
    "tutorial",
    "quote",
)


def _token(rng: Random) -> str:
    match rng.randrange(3):
        case 0:
            return "".join(rng.choices(_SIGNS, k=rng.randint(1, 4)))
        case 1:
            return "".join(rng.choices(ascii_lowercase, k=rng.randint(2, 8)))
        case _:
            return rng.choice(_PIECES)


def _apply(text: str, rng: Random) -> str:
    tokens = [_token(rng) for _ in range(rng.randint(6, 20))]
    return f"{text} {rng.choice((' ', '')).join(tokens)}"


TRANSFORM = Transform(name="suffix", family="structure", apply=_apply, sides=frozenset({"request"}))
"""The text itself stays whole."""
