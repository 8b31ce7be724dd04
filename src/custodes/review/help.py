"""What a rater is shown: the help of an arm, and texts cut at quotes and search hits.

Knows no HTML: pages print what comes from here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import islice, pairwise

from custodes.review.arms import Arm
from custodes.review.cases import Case, Quote
from custodes.review.evidence import MOST

__all__ = ["MOST_HITS", "Help", "Numbered", "Piece", "help_for", "pieces"]

MOST_HITS = 500
"""Places of a text that a search marks; a letter stands in a long text a million times."""


@dataclass(frozen=True, slots=True)
class Numbered:
    """A quote that is shown: its number on the page, its words, the side it is shown for."""

    number: int
    quote: Quote
    words: str
    side: str


@dataclass(frozen=True, slots=True)
class Help:
    """What an arm lets a page show of the AI's view; `reasons`: answer -> why."""

    quotes: tuple[Numbered, ...] = ()
    reasons: tuple[tuple[str, str], ...] = ()
    judgment: str | None = None
    confidence: float | None = None

    @property
    def sides(self) -> tuple[str, ...]:
        """The sides that quotes are shown for, in order."""
        return tuple(dict.fromkeys(each.side for each in self.quotes))

    def __bool__(self) -> bool:
        return bool(self.quotes or self.reasons or self.judgment or self.confidence)


def help_for(case: Case, arm: Arm) -> Help:
    """The help of an arm. Sides are named where both are shown; else the most telling quotes stand
    together, so that they do not give the AI's answer away."""
    shows = arm.shows
    view = case.view
    chosen: list[tuple[Quote, str]] = []
    if "contrast" in shows:
        chosen = [(quote, quote.side) for quote in case.evidence]
    elif "quotes" in shows:
        best = sorted(case.evidence, key=lambda quote: -abs(quote.score))[:MOST]
        order = {place: number for number, place in enumerate(case.places)}
        chosen = [(quote, "") for quote in sorted(best, key=lambda q: (order[q.place], q.start))]
    told = "reasoning" in shows and view is not None and view.reasoning
    return Help(
        quotes=tuple(
            Numbered(number, quote, case.quoted(quote), side)
            for number, (quote, side) in enumerate(chosen, start=1)
        ),
        reasons=((view.answer, view.reasoning),) if view is not None and told else (),
        judgment=view.answer if view is not None and "judgment" in shows else None,
        confidence=view.confidence if view is not None and "confidence" in shows else None,
    )


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of text: the number of the quote that it belongs to, whether that quote begins
    here, whether it was searched for."""

    text: str
    quote: int | None = None
    begins: bool = False
    hit: bool = False


def pieces(text: str, quotes: Sequence[Numbered], search: str = "") -> list[Piece]:
    """A text cut so that each piece is wholly in or out of every quote and hit; joined they are
    the text. Where quotes overlap the first one counts; of hits the first `MOST_HITS` do."""
    hits: list[tuple[int, int]] = []
    if search.strip():
        found = re.finditer(re.escape(search.strip()), text, re.IGNORECASE)
        hits = [each.span() for each in islice(found, MOST_HITS)]
    spans = [(q.quote.start, q.quote.end) for q in quotes]
    edges = sorted({0, len(text), *(edge for span in (*hits, *spans) for edge in span)})
    # One pass: whoever searches a long case for a letter must not cost hits squared.
    starts = edges[:-1]
    marks = zip(_owners(starts, spans), _owners(starts, hits), strict=True)
    made = []
    for (start, end), (owner, hit) in zip(pairwise(edges), marks, strict=True):
        inside = None if owner is None else quotes[owner]
        made.append(
            Piece(
                text[start:end],
                quote=None if inside is None else inside.number,
                begins=inside is not None and inside.quote.start == start,
                hit=hit is not None,
            )
        )
    return made


def _owners(starts: Sequence[int], spans: Sequence[tuple[int, int]]) -> Iterator[int | None]:
    """Of each start, ascending, the first of the spans that it lies in."""
    coming = sorted(range(len(spans)), key=lambda number: spans[number][0], reverse=True)
    begun: list[int] = []
    for start in starts:
        while coming and spans[coming[-1]][0] <= start:
            heappush(begun, coming.pop())
        while begun and spans[begun[0]][1] <= start:
            heappop(begun)
        yield begun[0] if begun else None
