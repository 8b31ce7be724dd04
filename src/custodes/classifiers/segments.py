"""Cut a growing text into segments that do not depend on how it arrived.

A segment is a word with the one white-space character before it (" word"); white space beyond
that belongs to the segment before. A byte-level BPE tokenizer of the GPT-2 kind also cuts there,
so tokenizing segment by segment equals tokenizing the whole. A segment that grows beyond
`LONGEST` characters is cut there, so that memory and delay stay bounded on text without spaces.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LONGEST", "Segment", "Segmenter", "segments"]

LONGEST = 48
"""Characters; a multiple of 4 and 2, so that cuts fall between base64 and hexadecimal groups."""


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
    limit = len(text)
    position = start
    if text[position].isspace():
        position += 1
    word = position
    while position < limit and position - word < LONGEST and not text[position].isspace():
        position += 1
    if position - word == LONGEST:
        return position
    # Trailing white space, all but the character that leads the next word.
    while position < limit and position - start < 2 * LONGEST and text[position].isspace():
        position += 1
    if position == limit:
        return limit if final else None
    if position - start >= 2 * LONGEST:
        return position
    return max(position - 1, start + 1)


def segments(text: str) -> list[Segment]:
    """All segments of a whole text."""
    segmenter = Segmenter()
    return segmenter.push(text) + segmenter.finish()
