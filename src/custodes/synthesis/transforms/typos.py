"""Typing mistakes: swapped, dropped, doubled and neighboring letters, in about one word in six."""

from __future__ import annotations

import re
from random import Random

from custodes.synthesis.transforms.base import Transform

__all__ = ["TRANSFORM"]

_WORD = re.compile(r"[^\W\d_]{4,}")
_RATE = 1 / 6
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_NEIGHBORS = {
    letter: row[max(0, place - 1) : place] + row[place + 1 : place + 2]
    for row in _ROWS
    for place, letter in enumerate(row)
}


def _mistype(word: str, rng: Random) -> str:
    place = rng.randrange(1, len(word) - 1)
    match rng.randrange(4):
        case 0:
            return word[:place] + word[place + 1] + word[place] + word[place + 2 :]
        case 1:
            return word[:place] + word[place + 1 :]
        case 2:
            return word[:place] + word[place] + word[place:]
        case _:
            near = _NEIGHBORS.get(word[place].lower(), word[place])
            return word[:place] + rng.choice(near) + word[place + 1 :]


def _apply(text: str, rng: Random) -> str:
    words = list(_WORD.finditer(text))
    if not words:
        return text
    chosen = [word for word in words if rng.random() < _RATE] or [rng.choice(words)]
    for word in reversed(chosen):
        text = text[: word.start()] + _mistype(word.group(), rng) + text[word.end() :]
    return text


TRANSFORM = Transform(name="typos", family="noise", apply=_apply)
"""A text with no word of four letters or more stays as it is."""
