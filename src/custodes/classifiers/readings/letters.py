"""How strange a word's letters are, in bits: pairs of letters tell a cipher from plain words.

The cost of a word is minus the logarithm of its probability as a chain of letters, its ends
included. The pairs were counted in the shipped constitutions (English above all, some Spanish,
German and French) by runs/letter_pairs.py; accents are taken off, other scripts have no letters
here and cost nothing.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

__all__ = ["GIBBERISH", "LETTERS", "Spelling", "count_pairs", "spell"]

LETTERS = 27
"""a to z are 1 to 26; 0 is the edge of a word."""
GIBBERISH = 5.5
"""Bits a step from which a word spells nothing. Ordinary texts have 3.3 to 3.9 on the mean."""
_TABLE = "letter_pairs.txt"
_UNSEEN = 0.5
"""Added to every count, so that no pair is impossible."""


def _numbers(word: str) -> list[int]:
    if not word.isascii():
        word = unicodedata.normalize("NFKD", word)
    return [ord(c) - 96 for c in word.lower() if "a" <= c <= "z"]


@dataclass(frozen=True, slots=True)
class Spelling:
    """Words as letters: `chain`, int [L], begins and ends with an edge and has one between words;
    word i ends at the edge `ends[i]`, int [W]; `letters`: how many each word has, int [W]."""

    chain: NDArray[np.int64]
    ends: NDArray[np.int64]
    letters: NDArray[np.int64]

    @property
    def steps(self) -> NDArray[np.int64]:
        """Of each word its letters and its end, int [W]; 0 where it has no letter."""
        return self.letters + (self.letters > 0)

    def without(self, first: int, last: int) -> Spelling:
        """The same words, those from `first` to before `last` without letters."""
        starts = np.concatenate([[0], self.ends])
        gone = slice(starts[first], starts[last])
        chain = np.concatenate([self.chain[: gone.start], self.chain[gone.stop :]])
        ends = self.ends.copy()
        ends[first:last] = gone.start
        ends[last:] -= gone.stop - gone.start
        letters = self.letters.copy()
        letters[first:last] = 0
        return Spelling(chain, ends, letters)

    def bits(
        self, moved: NDArray[np.int64] | None = None, *, backwards: bool = False
    ) -> NDArray[np.float64]:
        """Each word's cost in bits, [W]. `moved`, [27]: which letter is read for each one;
        `backwards`: every word is read from its end."""
        chain = self.chain if moved is None else moved[self.chain]
        before, after = chain[:-1], chain[1:]
        if backwards:
            before, after = after, before
        along = np.concatenate([[0.0], np.cumsum(_costs()[before, after])])
        return np.diff(along[self.ends], prepend=0.0)


def spell(words: Sequence[str]) -> Spelling:
    """The letters of words; whatever is no Latin letter is passed over."""
    chain, ends, letters = [0], [], []
    for word in words:
        numbers = _numbers(word)
        if numbers:
            chain += [*numbers, 0]
        ends.append(len(chain) - 1)
        letters.append(len(numbers))
    return Spelling(np.array(chain), np.array(ends, np.int64), np.array(letters, np.int64))


def count_pairs(words: Iterable[str]) -> NDArray[np.int64]:
    """How often each letter follows each, [27, 27]; row and column 0 are a word's edges."""
    counts = np.zeros((LETTERS, LETTERS), np.int64)
    for word in words:
        chain = np.array([0, *_numbers(word), 0])
        if len(chain) > 2:
            np.add.at(counts, (chain[:-1], chain[1:]), 1)
    return counts


@cache
def _costs() -> NDArray[np.float64]:
    text = resources.files(__package__).joinpath(_TABLE).read_text("ascii")
    counts = np.array([[int(n) for n in line.split()] for line in text.splitlines()]) + _UNSEEN
    costs: NDArray[np.float64] = -np.log2(counts / counts.sum(axis=1, keepdims=True))
    return costs
