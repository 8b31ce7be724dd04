"""What codes in a text hide: each hidden text by itself, apart from what hands it over.

A sentence that asks to decode something is plain, and an average over it and the code says little
of either. So a whole text has further readings: the runs in it that a code explains, undone. It
knows codes that need no key (`encodings`, `ciphers`, `leetspeak`, `pieces`, `unseen`) and no
meaning; what it does not know stays unread. A text hidden in a hidden text is found too.

What is not drawn is read as a text of its own (`unseen`) and then taken out, together with the
other disguises of words, so that it breaks no other code.

A function of the text alone, so it needs the whole of it: replies that are released while they
grow are read as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from custodes.classifiers.canonical import bare
from custodes.classifiers.readings.ciphers import deciphered
from custodes.classifiers.readings.encodings import decoded
from custodes.classifiers.readings.leetspeak import from_leetspeak
from custodes.classifiers.readings.pieces import joined
from custodes.classifiers.readings.unseen import from_unseen
from custodes.classifiers.unseen import MARKS
from custodes.errors import DataError

__all__ = ["Reading", "hidden"]

_DEPTH = 2
"""Codes within one another that are undone."""
_EACH = 8
"""Readings of one text by one code,"""
_MOST = 32
"""and in all. What is hidden beyond is read in one: decoys must keep nothing from being read."""
_REPEATED = 8
"""Times a text's own length that its readings may have together: what reads them is paid for,"""
_SMALL = 8000
"""and characters on top."""
_WORD = re.compile(r"\S+")
_OTHER_SPACE = re.compile(r"[^\S\x00-\x7f]")
_OVER_SIGNS = re.compile(f"(?<![^\\W\\d_])[{MARKS}]+")


@dataclass(frozen=True, slots=True)
class Reading:
    """`text`, as it was hidden by `code` (two codes joined by " in ", the inner first)."""

    code: str
    text: str


def hidden(text: str) -> list[Reading]:
    """The texts that codes in a text hide, those behind one code first; [] where there is none.

    Each by itself, but for those that are too many: they stand line by line in one reading, the
    last of their code or of all. `DataError` where they are many times the text.
    """
    room = _REPEATED * len(text) + _SMALL
    found: dict[str, Reading] = {}
    level = [Reading("", text)]
    for _ in range(_DEPTH):
        deeper = []
        for outer in level:
            for code, inner in _by_code(outer.text):
                name = f"{code} in {outer.code}" if outer.code else code
                plain = inner.strip()
                if plain and plain != text.strip() and plain not in found:
                    room -= len(plain)
                    if room < 0:
                        raise DataError(
                            f"codes in {len(text):,} characters hide more than {_REPEATED} "
                            "times as many; expected fewer: give the text in fewer codes"
                        )
                    found[plain] = Reading(name, plain)
                    deeper.append(found[plain])
        level = deeper
    readings = list(found.values())
    if len(readings) > _MOST:
        rest = "\n".join(reading.text for reading in readings[_MOST - 1 :])
        readings[_MOST - 1 :] = [Reading("several codes", rest)]
    return readings


def _by_code(text: str) -> Iterator[tuple[str, str]]:
    codes: dict[str, dict[str, None]] = {}
    for code, inner in _undone(text):
        codes.setdefault(code, {})[inner.strip()] = None
    for code, inside in codes.items():
        texts = list(inside)
        few = texts if len(texts) <= _EACH else texts[: _EACH - 1]
        yield from ((code, one) for one in few)
        if len(few) < len(texts):
            yield code, "\n".join(texts[len(few) :])


def _undone(text: str) -> Iterator[tuple[str, str]]:
    yield from from_unseen(text)
    if not text.isascii():
        text = _WORD.sub(lambda word: bare(word[0]), _OTHER_SPACE.sub(" ", text))
        text = _OVER_SIGNS.sub("", text)
    yield from decoded(text)
    yield from joined(text)
    yield from from_leetspeak(text)
    yield from deciphered(text)
