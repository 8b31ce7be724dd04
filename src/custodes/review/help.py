"""What a rater is shown: the help of an arm, and texts cut at quotes and search hits.

Knows no HTML: pages print what comes from here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from custodes.review.arms import Arm
from custodes.review.cases import Case, Quote
from custodes.review.evidence import MOST

__all__ = ["Help", "Numbered", "Piece", "help_for", "pieces"]


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
    the text. Where quotes overlap the first one counts."""
    hits = []
    if search.strip():
        found = re.finditer(re.escape(search.strip()), text, re.IGNORECASE)
        hits = [each.span() for each in found]
    spans = [(q.quote.start, q.quote.end) for q in quotes]
    edges = sorted({0, len(text), *(edge for span in (*hits, *spans) for edge in span)})
    made = []
    for start, end in pairwise(edges):
        inside = next((q for q in quotes if q.quote.start <= start < q.quote.end), None)
        made.append(
            Piece(
                text[start:end],
                quote=None if inside is None else inside.number,
                begins=inside is not None and inside.quote.start == start,
                hit=any(low <= start < high for low, high in hits),
            )
        )
    return made
