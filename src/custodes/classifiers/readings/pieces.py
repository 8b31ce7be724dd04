"""Texts in pieces: named strings that are to be joined, and letters set apart."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby

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
_MOST = 64
"""Sums of one text that are looked at."""


def joined(text: str) -> Iterator[tuple[str, str]]:
    """(how it was cut, the whole) of what the text hands over in pieces."""
    named = {name: "".join(quoted) for name, *quoted in _NAMED.findall(text)}
    if len(named) > 1:
        for _, total in zip(range(_MOST), _SUM.findall(text), strict=False):
            # "in this order, a + b, and": words beside a comma are no pieces.
            for known, names in groupby(re.findall(r"\w+", total), named.__contains__):
                pieces = [named[name] for name in names] if known else []
                if len(pieces) > 1:
                    yield "pieces", "".join(pieces)
    for run in _spaced(text):
        # Two signs between letters part words, one parts letters.
        words = re.split(r"[ .\-_*|]{2}", run)
        yield "spaced", " ".join(re.sub(r"[ .\-_*|]", "", word) for word in words)


def _spaced(text: str) -> Iterator[str]:
    """Runs of single letters; each ends where white space or the text's end follows."""
    for found in _SPACED.finditer(text):
        run: str = found.group()
        if text[found.end() : found.end() + 1].strip():
            shorter = _BEFORE_SPACE.match(run)
            run = shorter.group() if shorter else ""
        if sum(map(str.isalnum, run)) >= _LEAST:
            yield run
