"""Letter ciphers: shifted letters, the mirrored alphabet, words or whole texts spelled backwards.

A sentence hands the code over and stays plain, so an undoing is judged on the run of words to which
it gives most: the run with the greatest saving of bits (`letters`). It is believed where it saves
enough in all and a letter, and what comes out is spelled like words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from string import ascii_lowercase, ascii_uppercase

import numpy as np
from numpy.typing import NDArray

from custodes.classifiers.readings.letters import GIBBERISH, LETTERS, Spelling, spell

__all__ = ["deciphered"]

_STRANGE = 4.2
"""Bits a step from which a word may be code; a word has a step a letter and one to its end. The
mean of ordinary texts is 3.3 to 3.9, of words spelled backwards 4.4 to 5.5, of ciphers above."""
_LEAST = 8
"""Letters in such words from which undoing is tried."""
_SAVED = 32.0
"""Bits that a run must save in all,"""
_SAVED_EACH = 0.6
"""and a step."""
_WORDLIKE = 4.1
"""Bits a step at most of what comes out."""
_WORD = 3
_WORDS = 3
"""Words of `_WORD` letters or more that a run must have: names and formulas have fewer."""
_RUNS = 3
"""Runs that are looked for in one text."""


@dataclass(frozen=True, slots=True)
class _Cipher:
    """`moved`: which letter, int [27], is read for each one; `backwards`: words from their ends."""

    name: str
    moved: NDArray[np.int64]
    backwards: bool = False

    def read(self, words: Sequence[str]) -> str:
        """The words undone; what is no letter stays."""
        alphabet = "".join(ascii_lowercase[n - 1] for n in self.moved[1:])
        table = str.maketrans(ascii_lowercase + ascii_uppercase, alphabet + alphabet.upper())
        return " ".join(w.translate(table)[:: -1 if self.backwards else 1] for w in words)


def _shift(places: int) -> NDArray[np.int64]:
    moved = np.zeros(LETTERS, np.int64)
    moved[1:] = (np.arange(LETTERS - 1) - places) % (LETTERS - 1) + 1
    return moved


_PLAIN = np.arange(LETTERS)
_MIRRORED = np.where(_PLAIN == 0, 0, LETTERS - _PLAIN)
_CIPHERS = (
    _Cipher("backwards", _PLAIN, backwards=True),
    _Cipher("atbash", _MIRRORED),
    *(_Cipher(f"caesar {k}" if k != 13 else "rot13", _shift(k)) for k in range(1, LETTERS - 1)),
)


def deciphered(text: str) -> Iterator[tuple[str, str]]:
    """(cipher, plain text) of every run of words that a cipher explains."""
    words = text.split()
    spelling = spell(words)
    costs = spelling.bits()
    for _ in range(_RUNS):
        run = _best(spelling, costs)
        if run is None:
            return
        cipher, first, last = run
        yield cipher.name, cipher.read(words[first:last])
        if cipher.backwards:
            # Were the words turned one by one, or the text as a whole?
            yield "reversed", " ".join(words[first:last])[::-1]
        spelling, costs = spelling.without(first, last), costs.copy()
        costs[first:last] = 0


def _best(spelling: Spelling, costs: NDArray[np.float64]) -> tuple[_Cipher, int, int] | None:
    steps = spelling.steps
    if spelling.letters[costs > _STRANGE * steps].sum() < _LEAST:
        return None
    best, run = 0.0, None
    for cipher in _CIPHERS:
        plain = spelling.bits(cipher.moved, backwards=cipher.backwards)
        gains = costs - plain
        # Other codes and random letters beside a cipher, which chance makes a little cheaper, must
        # not widen the run until it is like no words.
        nothing = plain > GIBBERISH * steps
        gains[nothing] = np.minimum(gains[nothing], 0)
        saved, first, last = _greatest_run(gains)
        length = steps[first:last].sum()
        believed = (
            saved > max(best, _SAVED, _SAVED_EACH * length)
            and plain[first:last].sum() <= _WORDLIKE * length
            and (spelling.letters[first:last] >= _WORD).sum() >= _WORDS
        )
        if believed:
            best, run = saved, (cipher, first, last)
    return run


def _greatest_run(gains: NDArray[np.float64]) -> tuple[float, int, int]:
    """The contiguous run of greatest sum: its sum, its first place and the one behind its last."""
    along = np.concatenate([[0.0], np.cumsum(gains)])
    lowest = np.minimum.accumulate(along)
    last = int(np.argmax(along - lowest))
    first = int(np.argmin(along[: last + 1]))
    return float(along[last] - along[first]), first, last
