"""Quotes for a rater: sentences of the case itself that matter to the question, never a word else.

Two selectors: similarity to what is asked and to what the AI says (of words, or of any embedding
that is given), and the token attributions of a guard. Extractive only: a quote is a place and two
numbers, so it is verbatim by construction. Which help a rater sees is not decided here.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from custodes.classifiers.scorer import TokenScorer
from custodes.guard import Guard, mode_of
from custodes.review.cases import Case, Quote

__all__ = ["Attribution", "Embed", "Selector", "Similarity", "sentences", "with_evidence"]

Floats = NDArray[np.float64]
Embed = Callable[[Sequence[str]], Floats]
"""Texts -> vectors [texts, d]."""

MOST = 3
"""Quotes a side."""
_LONGEST = 320
_END = re.compile(r"[.!?。！？]+[\"'”’)\]]*(?=\s|$)|\n+")
_WORD = re.compile(r"\w+")


class Selector(Protocol):
    """Chooses quotes."""

    def select(self, case: Case) -> tuple[Quote, ...]:
        """Quotes of the case, those of one side together, the most telling first."""
        ...


def with_evidence(case: Case, selector: Selector | None = None) -> Case:
    """The case with quotes, chosen by `selector` (default: similarity of words) unless it brings
    some."""
    if case.evidence:
        return case
    return replace(case, evidence=(selector or Similarity()).select(case))


def sentences(text: str) -> Iterator[tuple[int, int]]:
    """[start, end) of each sentence of a text, without the spaces around it; long ones are cut
    at a space."""
    start = 0
    for found in [*_END.finditer(text), None]:
        end = len(text) if found is None else found.end()
        yield from _cut(text, start, end)
        start = end


def _cut(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    while end - start > _LONGEST:
        space = text.rfind(" ", start + _LONGEST // 2, start + _LONGEST)
        cut = space if space > 0 else start + _LONGEST
        yield start, cut
        start = cut + (space > 0)
    if any(character.isalnum() for character in text[start:end]):
        yield start, end


@dataclass(frozen=True, slots=True)
class Similarity:
    """Sentences like the question and like the AI's reasons.

    Quotes come from the documents where there are any (then the conversation is part of what is
    asked), else from the conversation. Where sources give reasons for different answers, each
    answer gets the sentences that are more like its own reasons: evidence for both sides.
    `embed` None: words, weighted by how rare they are within the case.
    """

    embed: Embed | None = None
    most: int = MOST

    def select(self, case: Case) -> tuple[Quote, ...]:
        """See the class."""
        places = [p for p in case.places if p.startswith("document" if case.documents else "m")]
        spans = [(place, *span) for place in places for span in sentences(case.text_of(place))]
        if len(spans) < 2 and not case.documents:
            return ()  # the whole text is no quote of it
        asked = [case.question] if case.question else []
        if case.documents:
            asked += [message.content for message in case.messages]
        sides = _reasons(case)
        queries = [" ".join([*asked, reason]) for reason in sides.values()]
        texts = [case.text_of(place)[start:end] for place, start, end in spans]
        near = self._likeness(texts, queries)
        names = list(sides)
        quotes: list[Quote] = []
        for column, side in enumerate(names):
            others = np.delete(near, column, axis=1)
            mine = near[:, column]
            if others.size:  # what all sides' queries share tells nothing of this side
                mine = np.where(mine > others.max(axis=1), mine, 0.0)
            best = [row for row in np.argsort(-mine, kind="stable")[: self.most] if mine[row] > 0]
            quotes += [_quote(spans[row], side, mine[row]) for row in best]
        return tuple(quotes)

    def _likeness(self, texts: Sequence[str], queries: Sequence[str]) -> Floats:
        """Cosines [texts, queries]."""
        if self.embed is None:
            return _word_cosines(texts, queries)
        vectors = np.asarray(self.embed([*texts, *queries]), dtype=np.float64)
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return vectors[: len(texts)] @ vectors[len(texts) :].T


def _quote(span: tuple[str, int, int], side: str, score: float) -> Quote:
    place, start, end = span
    return Quote(place=place, start=start, end=end, side=side, score=round(float(score), 4))


def _reasons(case: Case) -> dict[str, str]:
    """Answer -> the reasons that are given for it; one side without a name where nobody argues."""
    found: dict[str, str] = {}
    for opinion in case.opinions:
        if opinion.reasoning:
            found[opinion.answer] = f"{found.get(opinion.answer, '')} {opinion.reasoning}".strip()
    if len(found) > 1:
        return found
    return {"": next(iter(found.values()), "")}


def _word_cosines(texts: Sequence[str], queries: Sequence[str]) -> Floats:
    """Cosines of TF-IDF over word stems (the first six letters), within these texts alone."""
    bags = [
        Counter(word[:6] for word in _WORD.findall(text.casefold())) for text in [*texts, *queries]
    ]
    held = Counter(word for bag in bags for word in bag)
    weight = {word: math.log((1 + len(bags)) / n) for word, n in held.items()}
    vectors = [{word: n * weight[word] for word, n in bag.items()} for bag in bags]
    norms = [math.sqrt(sum(x * x for x in vector.values())) or 1.0 for vector in vectors]
    near = np.zeros((len(texts), len(queries)))
    for row, vector in enumerate(vectors[: len(texts)]):
        for column in range(len(queries)):
            other = vectors[len(texts) + column]
            dot = sum(x * other[word] for word, x in vector.items() if word in other)
            near[row, column] = dot / norms[row] / norms[len(texts) + column]
    return near


@dataclass(frozen=True, slots=True)
class Attribution:
    """Sentences of the judged turn that a guard's score rests on.

    Each token's own logit, averaged over the stages by their weights, minus the text's mean; a
    sentence counts by the mean of its tokens. Those above the mean speak for `harmful`, those
    below it for `benign`. Stages that cannot tell token by token are left out.
    """

    guard: Guard
    harmful: str
    benign: str
    most: int = MOST

    def select(self, case: Case) -> tuple[Quote, ...]:
        """See the class."""
        place = f"message:{len(case.messages) - 1}"
        text = case.messages[-1].content
        spans = list(sentences(text))
        if len(spans) < 2:
            return ()
        values = self._by_character(case, len(text))
        scores = np.array([values[start:end].mean() for start, end in spans])
        order = np.argsort(-scores, kind="stable")
        sides = ((self.harmful, order, 1.0), (self.benign, order[::-1], -1.0))
        return tuple(
            Quote(place=place, start=spans[row][0], end=spans[row][1], side=side,
                  score=round(float(scores[row]), 4))
            for side, rows, sign in sides
            for row in rows[: self.most]
            if sign * scores[row] > 0
        )  # fmt: skip

    def _by_character(self, case: Case, length: int) -> Floats:
        total, weights = np.zeros(length), 0.0
        for stage in self.guard.cascade.serving(mode_of(case.messages)).stages:
            if not isinstance(stage.scorer, TokenScorer):
                continue
            ends, logits = stage.scorer.token_logits(case.messages, mode_of(case.messages))
            if not len(ends):
                continue
            spread = np.repeat(logits, np.diff(ends, prepend=0))[:length]
            total[: len(spread)] += stage.weight * spread
            weights += stage.weight
        return (total - total.mean()) / weights if weights else total
