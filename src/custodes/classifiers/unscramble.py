"""Undo letter ciphers: shifted letters, words spelled backwards, Morse, leetspeak.

A tokenizer's vocabulary is a list of what occurs in its language, so a word of a cipher falls into
many more tokens than the word it stands for. What is read here is the cheapest reading: a cipher
that makes the odd words of a text cost far fewer tokens is undone, on those words alone; the plain
sentence that hands the code over stays as it is. A function of the words only, so the same for
every chunking.
Knows no language and no meaning; ciphers that swap letters at will, and languages that the
tokenizer does not know, stay unread.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from string import ascii_lowercase, ascii_uppercase

__all__ = ["unscrambled"]

Count = Callable[[str], int]

_ODD = 2.5
"""A word is odd where a token of it has fewer letters than this."""
_SHARE = 0.3
"""Share of a text's letters in odd words from which undoing is tried."""
_GAIN = 0.7
"""An undoing is believed where the odd words then cost at most this share of their tokens."""
_WORD = re.compile(r"[^\W\d_]{3,}")
_SIGNALS = (
    ".- -... -.-. -.. . ..-. --. .... .. .--- -.- .-.. -- -. --- .--. --.- .-. ... - ..- ...- .-- "
    "-..- -.-- --.."
)
_RUN = 4
"""Letters of Morse in a row from which they are read as such."""
_MORSE = dict(zip(_SIGNALS.split(), ascii_lowercase, strict=True))
_LEET = tuple(str.maketrans("4@8390!|5$72", "aabegoilsstz") | {ord("1"): one} for one in "il")
"""1 may have been i or l."""
_LEET_WORD = re.compile(r"(?=\S*[A-Za-z])[A-Za-z0-9@$!|']*[0-9@$!|][A-Za-z']+")


def _shift(places: int) -> Mapping[int, int]:
    moved = [letters[places:] + letters[:places] for letters in (ascii_lowercase, ascii_uppercase)]
    return str.maketrans(ascii_lowercase + ascii_uppercase, "".join(moved))


def _backwards(word: str) -> str:
    bare = word.lstrip()
    return word[: len(word) - len(bare)] + bare[::-1]


def _shifting(places: int) -> Callable[[str], str]:
    table = _shift(places)
    return lambda word: word.translate(table)


_UNDOINGS: tuple[Callable[[str], str], ...] = (
    _backwards,
    *(_shifting(places) for places in (13, *(p for p in range(1, 26) if p != 13))),
)


def unscrambled(words: Sequence[str], count: Count) -> list[str]:
    """The words (each with its leading space) as they most cheaply read; `count`: a word's tokens.

    The same number of words comes back, or fewer where letters of Morse are joined to words.
    """
    plain = [_leet(word, count) for word in _morse(words)]
    costs = [count(word) for word in plain]
    letters = [sum(map(len, _WORD.findall(word))) for word in plain]
    odd = [n > 0 and n < _ODD * cost for n, cost in zip(letters, costs, strict=True)]
    total = sum(letters)
    if total == 0 or sum(n for n, each in zip(letters, odd, strict=True) if each) < _SHARE * total:
        return plain
    before = sum(cost for cost, each in zip(costs, odd, strict=True) if each)
    best, undo = min(
        (sum(count(undo(word)) for word, each in zip(plain, odd, strict=True) if each), place)
        for place, undo in enumerate(_UNDOINGS)
    )
    if best > _GAIN * before:
        return plain
    return [
        _UNDOINGS[undo](word) if _is_odd(place, odd, letters) else word
        for place, word in enumerate(plain)
    ]


def _is_odd(place: int, odd: Sequence[bool], letters: Sequence[int]) -> bool:
    """Odd itself, or too short to tell and next to an odd word."""
    if odd[place] or letters[place] >= 4:
        return odd[place]
    return any(odd[max(place - 1, 0) : place + 2])


def _leet(word: str, count: Count) -> str:
    """The word without digits and signs in the place of letters, where that is cheaper to read."""
    if not _LEET_WORD.search(word):
        return word
    return min((word, *(word.translate(table) for table in _LEET)), key=count)


def _morse(words: Sequence[str]) -> list[str]:
    """Runs of Morse letters joined to words; a slash parts words. A lone dash stays a dash."""
    found: list[str] = []
    run: list[str] = []
    for word in [*words, ""]:
        signs = word.strip()
        if signs in _MORSE or (run and signs == "/"):
            run.append(word)
            continue
        letters = [_MORSE.get(each.strip(), " ") for each in run]
        spelled = "".join(letters).split()
        found += [f" {each}" for each in spelled] if len(letters) >= _RUN else run
        run = []
        found.append(word)
    return found[:-1]
