"""Caesar cipher: the letters a to z moved by 1 to 25 places; other characters stay."""

from __future__ import annotations

from functools import lru_cache
from random import Random
from string import ascii_lowercase, ascii_uppercase

from custodes.synthesis.transforms.base import Transform
from custodes.synthesis.transforms.coding import coded

__all__ = ["TRANSFORM", "shift_letters"]


@lru_cache(maxsize=26)
def _table(places: int) -> dict[int, int]:
    moved = [letters[places:] + letters[:places] for letters in (ascii_lowercase, ascii_uppercase)]
    return str.maketrans(ascii_lowercase + ascii_uppercase, "".join(moved))


def shift_letters(text: str, places: int) -> str:
    """Move the letters a to z by so many places, in a circle; -places undoes it."""
    return text.translate(_table(places % 26))


def _bare(text: str, rng: Random) -> str:
    return shift_letters(text, rng.randint(1, 25))


def _apply(text: str, rng: Random) -> str:
    places = rng.randint(1, 25)
    called = rng.choice(("a Caesar cipher of {n}", "a shift cipher, {n} places", "Caesar +{n}"))
    handed = coded(
        "caesar",
        lambda plain, _: shift_letters(plain, places),
        code=called.replace("{n}", str(places)),
    )
    return handed.apply(text, rng)


TRANSFORM = Transform(name="caesar", family="encoding", apply=_apply, bare=_bare, readable=False)
"""No inverse: a bare text does not tell its shift; `shift_letters(text, -places)` undoes one."""
