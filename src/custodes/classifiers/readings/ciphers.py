"""Letter ciphers: shifted letters, the mirrored alphabet, words or whole texts spelled backwards.

A sentence hands the code over and stays plain, so an undoing is judged on the run of words to which
it gives most: the run with the greatest saving of bits (`letters`). It is believed where it saves
enough in all and a letter, and what comes out is spelled like words.

Where several ciphers stand in one text, the greatest run of one may end in the middle of another or
be like no words for what it holds of others, and three are looked for. So the text is also cut into
stretches: the cheapest way to read every word as it stands or by one of the ciphers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
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
"""Runs that are looked for one by one, as each takes a look at the whole text."""
_CHANGE = _SAVED / 2
"""Bits that a change of cipher costs between stretches, which have two ends."""


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


_Run = tuple[_Cipher, int, int]
"""A cipher, the place of its first word and the one behind its last."""


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
    if not _is_strange(spelling, costs):
        return
    ways = np.stack([spelling.bits(c.moved, backwards=c.backwards) for c in _CIPHERS])
    runs = _greatest(spelling, costs, ways)
    for cipher, first, last in _stretches(spelling, costs, ways):
        if not any(cipher is c and f <= first and last <= end for c, f, end in runs):
            runs.append((cipher, first, last))
    for run in runs:
        yield from _read(words, *run)


def _read(
    words: Sequence[str], cipher: _Cipher, first: int, last: int
) -> Iterator[tuple[str, str]]:
    yield cipher.name, cipher.read(words[first:last])
    if cipher.backwards:
        # Were the words turned one by one, or the text as a whole?
        yield "reversed", " ".join(words[first:last])[::-1]


def _greatest(
    spelling: Spelling, costs: NDArray[np.float64], ways: NDArray[np.float64]
) -> list[_Run]:
    """Runs of greatest saving, each of what those before it leave. costs: bits of each word as it
    stands, [W]; ways: by each cipher, [K, W]."""
    runs: list[_Run] = []
    while len(runs) < _RUNS and _is_strange(spelling, costs):
        run = _best(spelling, costs, ways)
        if run is None:
            break
        runs.append(run)
        _, first, last = run
        spelling, costs, ways = spelling.without(first, last), costs.copy(), ways.copy()
        costs[first:last] = ways[:, first:last] = 0
    return runs


def _best(spelling: Spelling, costs: NDArray[np.float64], ways: NDArray[np.float64]) -> _Run | None:
    best, run = 0.0, None
    for cipher, plain in zip(_CIPHERS, ways, strict=True):
        gains = costs - plain
        # Other codes and random letters beside a cipher, which chance makes a little cheaper, must
        # not widen the run until it is like no words.
        nothing = plain > GIBBERISH * spelling.steps
        gains[nothing] = np.minimum(gains[nothing], 0)
        saved, first, last = _greatest_run(gains)
        if saved > best and _is_believed(spelling, plain, saved, first, last):
            best, run = saved, (cipher, first, last)
    return run


def _is_strange(spelling: Spelling, costs: NDArray[np.float64]) -> bool:
    return bool(spelling.letters[costs > _STRANGE * spelling.steps].sum() >= _LEAST)


def _is_believed(
    spelling: Spelling, plain: NDArray[np.float64], saved: float, first: int, last: int
) -> bool:
    length = spelling.steps[first:last].sum()
    return bool(
        saved > max(_SAVED, _SAVED_EACH * length)
        and plain[first:last].sum() <= _WORDLIKE * length
        and (spelling.letters[first:last] >= _WORD).sum() >= _WORDS
    )


def _stretches(
    spelling: Spelling, costs: NDArray[np.float64], ways: NDArray[np.float64]
) -> Iterator[_Run]:
    """Runs of words that one cipher makes cheaper, on the cheapest way through all words."""
    if not any(_greatest_run(costs - plain)[0] > _SAVED for plain in ways):
        return
    way = _cheapest_way(np.concatenate([costs[None], ways]).T)
    edges = np.flatnonzero(np.diff(way)) + 1
    for start, stop in pairwise([0, *edges.tolist(), len(way)]):
        spoken = np.flatnonzero(spelling.letters[start:stop])
        if way[start] and len(spoken):
            first, last = start + int(spoken[0]), start + int(spoken[-1]) + 1
            plain = ways[way[start] - 1]
            saved = float((costs - plain)[first:last].sum())
            if _is_believed(spelling, plain, saved, first, last):
                yield _CIPHERS[way[start] - 1], first, last


def _cheapest_way(costs: NDArray[np.float64]) -> NDArray[np.int64]:
    """costs: [W, K] of W words read in K ways; which way each is read, [W], where the sum of costs
    and of `_CHANGE` for every change is least (Viterbi)."""
    total = np.zeros(costs.shape[1])
    stays = np.ones(costs.shape, bool)
    cheapest = np.zeros(len(costs), np.int64)
    for place, cost in enumerate(costs):
        cheapest[place] = total.argmin()
        changed = total[cheapest[place]] + _CHANGE
        np.less_equal(total, changed, out=stays[place])
        total = np.minimum(total, changed) + cost
    way = np.zeros(len(costs), np.int64)
    current = int(total.argmin())
    for place in range(len(costs) - 1, -1, -1):
        way[place] = current
        if not stays[place, current]:
            current = int(cheapest[place])
    return way


def _greatest_run(gains: NDArray[np.float64]) -> tuple[float, int, int]:
    """The contiguous run of greatest sum: its sum, its first place and the one behind its last."""
    along = np.concatenate([[0.0], np.cumsum(gains)])
    lowest = np.minimum.accumulate(along)
    last = int(np.argmax(along - lowest))
    first = int(np.argmin(along[: last + 1]))
    return float(along[last] - along[first]), first, last
