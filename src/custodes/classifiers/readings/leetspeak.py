"""Leetspeak: digits and signs in the place of letters."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import numpy as np

from custodes.classifiers.readings.letters import GIBBERISH, spell

__all__ = ["from_leetspeak"]

_SIGNS = str.maketrans("4@8369$5702+", "aabeggsstozt")
_ONE = tuple(str.maketrans("1!|", letter * 3) for letter in "il")
"""1 may have been i or l."""
_MIXED = re.compile(
    r"(?=\S*[A-Za-z])(?=\S*[0-9@$!|+]\S*[A-Za-z]|\S*[A-Za-z][0-9@$|+])"
    r"[A-Za-z0-9@$!|+'-]{3,}[.,;:?!]*"
)
"""Letters, and signs that are not its last character alone ("5pm" counts, "yes!" does not)."""
_LONGEST = 40
"""Characters of a word."""
_LEAST = 3
"""Words that mix letters and signs,"""
_SHARE = 0.2
"""their share of all words that have a letter or digit,"""
_WORDLIKE = 4.3
"""and bits a step (`letters`) of what they then spell."""


def from_leetspeak(text: str) -> Iterator[tuple[str, str]]:
    """("leetspeak", the whole text with letters for signs), where enough of it is leetspeak."""
    words = text.split()
    mixed = [len(word) <= _LONGEST and bool(_MIXED.fullmatch(word)) for word in words]
    spoken = sum(any(map(str.isalnum, word)) for word in words)
    least = max(_LEAST, _SHARE * spoken)
    if sum(mixed) < least:
        return
    plain = _cheapest(words)
    spelling = spell([word for word, each in zip(plain, mixed, strict=True) if each])
    bits, steps = spelling.bits(), spelling.steps
    # Codes mix letters and digits, too: what spells nothing is no leetspeak and weighs nothing.
    spelled = bits <= GIBBERISH * steps
    if spelled.sum() >= least and bits[spelled].sum() <= _WORDLIKE * steps[spelled].sum():
        yield "leetspeak", " ".join(plain)


def _cheapest(words: list[str]) -> list[str]:
    """Each word with letters for signs, 1 as i or l by which is the likelier spelling."""
    ways = [[_undone(word, one) for word in words] for one in _ONE]
    costs = np.stack([spell(way).bits() for way in ways])
    return [ways[best][place] for place, best in enumerate(costs.argmin(axis=0))]


def _undone(word: str, one: Mapping[int, int]) -> str:
    bare = word.rstrip(".,;:?!")
    return bare.translate(_SIGNS).translate(one) + word[len(bare) :]
