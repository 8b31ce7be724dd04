"""What codes in a text hide: each hidden text by itself, apart from what hands it over.

A sentence that asks to decode something is plain, and an average over it and the code says little
of either. So a whole text has further readings: the runs in it that a code explains, undone. It
knows codes that need no key (`encodings`, `ciphers`, `leetspeak`, `pieces`) and no meaning; what it
does not know stays unread. A text hidden in a hidden text is found too.

A function of the text alone, so it needs the whole of it: replies that are released while they
grow are read as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from custodes.classifiers.readings.ciphers import deciphered
from custodes.classifiers.readings.encodings import decoded
from custodes.classifiers.readings.leetspeak import from_leetspeak
from custodes.classifiers.readings.pieces import joined

__all__ = ["Reading", "hidden"]

_DEPTH = 2
"""Codes within one another that are undone."""
_MOST = 8
"""Readings of one text: whoever hides more is not followed further."""


@dataclass(frozen=True, slots=True)
class Reading:
    """`text`, as it was hidden by `code` (two codes joined by " in ", the inner first)."""

    code: str
    text: str


def hidden(text: str) -> list[Reading]:
    """The texts that codes in a text hide, those behind one code first; [] where there is none."""
    found: dict[str, Reading] = {}
    level = [Reading("", text)]
    for _ in range(_DEPTH):
        deeper = []
        for outer in level:
            for code, inner in _undone(outer.text):
                name = f"{code} in {outer.code}" if outer.code else code
                plain = inner.strip()
                if plain and plain != text.strip() and plain not in found and len(found) < _MOST:
                    found[plain] = Reading(name, plain)
                    deeper.append(found[plain])
        level = deeper
    return list(found.values())


def _undone(text: str) -> Iterator[tuple[str, str]]:
    yield from decoded(text)
    yield from joined(text)
    yield from from_leetspeak(text)
    yield from deciphered(text)
