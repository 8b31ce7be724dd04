"""Texts in pieces: named strings that are to be joined, and letters set apart."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby

from custodes.errors import DataError

__all__ = ["joined"]

# Every quoted part is bounded, and no run is tried again from its middle: what is searched here
# came from a stranger, and a search that is quadratic in it would stand still for all.
_NAMED = re.compile(
    r"(?<![\w.])([A-Za-z]\w{0,15})\s*(?::=|=|:|is)\s*"
    r"(?:\"([^\"\n]{0,400})\"|'([^'\n]{0,400})'|`([^`\n]{0,400})`"
    r"|\u201c([^\u201d\n]{0,400})\u201d|\u00ab([^\u00bb\n]{0,400})\u00bb)"
)
_SUM = re.compile(r"(?<![\w.])[A-Za-z]\w{0,15}(?:\s*[+,&]\s*[A-Za-z]\w{0,15})+")
_SPACED = re.compile(r"(?<!\S)[^\W_](?:[ .\-_*|]{1,2}[^\W_](?![^\W_])){7,}+")
_BEFORE_SPACE = re.compile(r".*[^\W_](?= )", re.DOTALL)
_LEAST = 8
"""Letters of a run that was set apart."""
_REPEATED = 4
"""Times its own length that a text in pieces may give,"""
_SMALL = 4000
"""and characters on top."""


def joined(text: str) -> Iterator[tuple[str, str]]:
    """(how it was cut, the whole) of what the text hands over in pieces.

    `DataError` where that is many times the text: short names for long strings, joined over and
    over, would cost whoever reads them far more than whoever sent them.
    """
    yield from _sums(text)
    for run in _spaced(text):
        # Two signs between letters part words, one parts letters.
        words = re.split(r"[ .\-_*|]{2}", run)
        yield "spaced", " ".join(re.sub(r"[ .\-_*|]", "", word) for word in words)


def _sums(text: str) -> Iterator[tuple[str, str]]:
    named = {name: "".join(quoted) for name, *quoted in _NAMED.findall(text)}
    if len(named) < 2:
        return
    room = _REPEATED * len(text) + _SMALL
    known: set[tuple[str, ...]] = set()
    for total in _SUM.finditer(text):
        # "in this order, a + b, and": words beside a comma are no pieces.
        for is_named, group in groupby(re.findall(r"\w+", total[0]), named.__contains__):
            names = tuple(group)
            if not is_named or len(names) < 2 or names in known:
                continue
            known.add(names)
            room -= sum(len(named[name]) for name in names)
            if room < 0:
                raise DataError(
                    f"pieces of {len(text):,} characters that give more than {_REPEATED} times as "
                    "many when joined; expected fewer: join each once"
                )
            yield "pieces", "".join(named[name] for name in names)


def _spaced(text: str) -> Iterator[str]:
    """Runs of single letters; each ends where white space or the text's end follows."""
    for found in _SPACED.finditer(text):
        run: str = found.group()
        if text[found.end() : found.end() + 1].strip():
            shorter = _BEFORE_SPACE.match(run)
            run = shorter.group() if shorter else ""
        if sum(map(str.isalnum, run)) >= _LEAST:
            yield run
