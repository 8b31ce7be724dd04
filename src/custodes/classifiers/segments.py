"""Cut a growing text into segments that do not depend on how it arrived.

A segment is a word with the one white-space character before it (" word"); white space beyond
that belongs to the segment before. A byte-level BPE tokenizer of the GPT-2 kind also cuts there,
so tokenizing segment by segment equals tokenizing the whole. A segment that grows beyond
`LONGEST` drawn characters is cut there, so that memory and delay stay bounded on text without
spaces: what is not drawn does not count, or a few invisible characters a letter would cut every
word to pieces. Base64 and hexadecimal that begin in the middle of a word are cut at their groups.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from string import ascii_letters, digits

from custodes.classifiers.canonical import spells
from custodes.classifiers.unseen import MARKS, NOT_DRAWN, SELECTORS

__all__ = ["LONGEST", "LONGEST_DRAWN_OR_NOT", "Segment", "Segmenter", "segments"]

LONGEST = 48
"""Drawn characters; a multiple of 4 and 2, so that cuts fall between base64 and hexadecimal
groups."""
LONGEST_DRAWN_OR_NOT = 4096
"""Characters of a word in all."""

_NOT_COUNTED = f"{NOT_DRAWN}{SELECTORS}{MARKS}"
_UNCOUNTED = re.compile(f"[{_NOT_COUNTED}]+")
_WORD = re.compile(rf"\S{{0,{LONGEST_DRAWN_OR_NOT}}}+")
_SPACE = re.compile(r"\s*+")
_CODE_SIGNS = f"{ascii_letters}{digits}+/"
_CODE = re.compile(f"[{_CODE_SIGNS}]*+")
_LEAST = 16
"""Signs of a code by which it is known."""
_DRAWN = [
    re.compile(rf"(?:[{_NOT_COUNTED}]*+[^\s{_NOT_COUNTED}]){{{LONGEST - less}}}")
    for less in range(_LEAST)
]
"""So many drawn characters less, and what is not drawn between them."""


@dataclass(frozen=True, slots=True)
class Segment:
    """`text` is text[start:end] of the judged text."""

    text: str
    start: int
    end: int


class Segmenter:
    """Takes text in pieces, gives every segment once it can no longer change."""

    def __init__(self) -> None:
        self._pending = ""
        self._offset = 0

    def push(self, text: str) -> list[Segment]:
        """The segments that became final."""
        self._pending += text
        return self._take(final=False)

    def finish(self) -> list[Segment]:
        """The rest; the segments given so far then join to the whole text."""
        return self._take(final=True)

    def _take(self, *, final: bool) -> list[Segment]:
        done: list[Segment] = []
        position = 0
        pending = self._pending
        while position < len(pending):
            end = _segment_end(pending, position, final=final)
            if end is None:
                break
            start = self._offset + position
            done.append(Segment(pending[position:end], start, self._offset + end))
            position = end
        self._pending = pending[position:]
        self._offset += position
        return done


def _segment_end(text: str, start: int, *, final: bool) -> int | None:
    """End of the segment at `start`, or None while more text could still move it."""
    word = start + text[start].isspace()
    end = _end(_WORD, text, word)
    if end - word >= LONGEST:
        full = _DRAWN[0].match(text, word, end)
        if full:
            return _between_groups(text, word, full.end(), final=final)
        if end - word == LONGEST_DRAWN_OR_NOT:
            return end
    read = text[word:end]
    size = word - start + len(read if read.isascii() else _UNCOUNTED.sub("", read))
    # Trailing white space, all but the character that leads the next word.
    position = _end(_SPACE, text, end, end + max(2 * LONGEST - size, 0))
    if position == len(text):
        return position if final else None
    if size + position - end >= 2 * LONGEST:
        return position
    return max(position - 1, start + 1)


def _between_groups(text: str, word: int, end: int, *, final: bool) -> int | None:
    """Where the word that is cut at `end` is cut instead, so that a code in it stays whole."""
    drawn = _UNCOUNTED.sub("", text[word:end])
    code = drawn[len(drawn.rstrip(_CODE_SIGNS)) :]
    # A code of which too little stands here begins the next segment.
    torn = len(code) if len(code) < _LEAST else len(code) % 4
    if torn == 0 or len(code) == len(drawn):
        return end
    if len(code) < _LEAST:
        more = text[end : _end(_CODE, text, end, end + _LEAST)]
        if len(more) < _LEAST and end + len(more) == len(text) and not final:
            return None
        code += more
    whole = code[: len(code) - len(code) % 4]
    return _end(_DRAWN[torn], text, word) if len(whole) >= _LEAST and spells(whole) else end


def _end(pattern: re.Pattern[str], text: str, start: int, stop: int | None = None) -> int:
    found = pattern.match(text, start, len(text) if stop is None else stop)
    return found.end() if found else start


def segments(text: str) -> list[Segment]:
    """All segments of a whole text."""
    segmenter = Segmenter()
    return segmenter.push(text) + segmenter.finish()
