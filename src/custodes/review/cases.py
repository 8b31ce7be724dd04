"""What a person is asked to judge, and what the AI says of it. Plain values and their JSON.

Knows no database, no queue and no page.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from custodes.errors import DataError
from custodes.types import Conversation, Example, Message

__all__ = [
    "Case",
    "Document",
    "Opinion",
    "Quote",
    "case_from_record",
    "case_to_record",
    "hash_of",
    "read_case",
]

_ROLES = ("system", "user", "assistant", "tool")


@dataclass(frozen=True, slots=True)
class Document:
    """A text that comes with a case: search results, a policy, a source that is cited."""

    title: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """What one source (a guard's stage, a judge, a model) says of a case.

    `confidence`: probability, by that source, that its answer is right.
    """

    source: str
    answer: str
    confidence: float
    reasoning: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """A piece of a case's own text: `place` is message:N or document:N, [start, end) characters.

    `side`: the answer that it speaks for; empty where it only matters. `score`: how much.
    """

    place: str
    start: int
    end: int
    side: str = ""
    score: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Something to judge. `opinions`: the first is the AI's view that assistance shows.

    `skill`: which raters can judge it (empty: all). `slice`: the group it is counted in. `gold`:
    the known answer of a check. `evidence`: quotes that came with it.
    """

    ref: str
    messages: Conversation
    question: str = ""
    documents: tuple[Document, ...] = ()
    opinions: tuple[Opinion, ...] = ()
    evidence: tuple[Quote, ...] = ()
    skill: str = ""
    slice: str = ""
    gold: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.messages:
            raise DataError(f"case {self.ref}: got no messages, expected one at least")
        for quote in self.evidence:
            there = len(self.text_of(quote.place))
            if not 0 <= quote.start < quote.end <= there:
                raise DataError(
                    f"case {self.ref}: got a quote of characters {quote.start} to {quote.end} of "
                    f"{quote.place}, which has {there}"
                )

    @property
    def view(self) -> Opinion | None:
        """The AI's view."""
        return self.opinions[0] if self.opinions else None

    @property
    def title(self) -> str:
        """Its first words, for lists."""
        said = next(
            (m.content for m in self.messages if m.role == "user"), self.messages[0].content
        )
        line = " ".join((self.question or said).split())
        return line if len(line) <= 90 else line[:89] + "…"

    def text_of(self, place: str) -> str:
        """The text that a quote's place names."""
        kind, _, number = place.partition(":")
        try:
            if kind == "message":
                return self.messages[int(number)].content
            if kind == "document":
                return self.documents[int(number)].text
        except (ValueError, IndexError):
            pass
        raise DataError(
            f"case {self.ref}: got the place {place!r}, expected message:0 to "
            f"message:{len(self.messages) - 1}"
            + (f" or document:0 to document:{len(self.documents) - 1}" if self.documents else "")
        )

    def quoted(self, quote: Quote) -> str:
        """A quote's own words, cut out of their source."""
        return self.text_of(quote.place)[quote.start : quote.end]

    @property
    def places(self) -> tuple[str, ...]:
        """Every place that can be quoted, in reading order."""
        return (
            *(f"message:{n}" for n in range(len(self.messages))),
            *(f"document:{n}" for n in range(len(self.documents))),
        )


def hash_of(said: Conversation) -> str:
    """160 bits of the SHA-256 of turns, as hex: the same text of the same roles, the same hash."""
    turns = json.dumps([[turn.role, turn.content] for turn in said])
    return hashlib.sha256(turns.encode()).hexdigest()[:40]


def read_case(record: Mapping[str, Any], *, place: str = "case") -> Case:
    """A case from a record of a file; `DataError` says what was got and expected at `place`."""
    try:
        return case_from_record(record)
    except (DataError, KeyError, TypeError, ValueError, AttributeError) as error:
        said = str(error) if isinstance(error, DataError) else f"{type(error).__name__}: {error}"
        raise DataError(
            f"{place}: {said}; expected id, text or messages [{{role, content}}], and as wanted "
            "question, documents [{title, text}], opinions [{source, answer, confidence}], "
            "evidence [{place, start, end}], skill, slice, gold, meta"
        ) from None


def case_from_record(record: Mapping[str, Any]) -> Case:
    """The inverse of `case_to_record`; also takes `text` for a single user's message."""
    if unknown := sorted(set(record) - _FIELDS):
        raise DataError(f"got the unknown field {unknown[0]!r} (what else is known goes into meta)")
    messages = record.get("messages")
    if messages is not None and record.get("text") is not None:
        raise DataError("got both text and messages, which say the same; give one of them")
    if messages is None:
        messages = [{"role": "user", "content": record["text"]}]
    turns = tuple(_turn(turn) for turn in messages)
    return Case(
        ref=str(record["id"]),
        messages=turns,
        question=str(record.get("question") or ""),
        documents=tuple(
            Document(str(each.get("title", "")), str(each["text"]))
            for each in record.get("documents") or ()
        ),
        opinions=tuple(map(_opinion, record.get("opinions") or ())),
        evidence=tuple(Quote(**each) for each in record.get("evidence") or ()),
        skill=str(record.get("skill") or ""),
        slice=str(record.get("slice") or ""),
        gold=None if record.get("gold") is None else str(record["gold"]),
        meta=dict(record.get("meta") or {}),
    )


_FIELDS = {
    "id", "text", "messages", "question", "documents", "opinions", "evidence", "skill", "slice",
    "gold", "meta", *(each.name for each in fields(Example)),
}  # fmt: skip
"""Of cases, and of rows of tables, which are cases too. Another one is refused: a misspelled one
must not be lost."""


def _turn(turn: Mapping[str, Any]) -> Message:
    role, content = turn["role"], turn["content"]
    if role not in _ROLES or not isinstance(content, str):
        raise DataError(f"messages: got role {role!r} and a {type(content).__name__}")
    return Message(role, content)


def _opinion(record: Mapping[str, Any]) -> Opinion:
    confidence = float(record["confidence"])
    if not 0 <= confidence <= 1:
        raise DataError(f"opinions: got confidence {confidence}, expected 0 to 1")
    return Opinion(
        source=str(record.get("source") or "ai"),
        answer=str(record["answer"]),
        confidence=confidence,
        reasoning=str(record.get("reasoning") or ""),
    )


def case_to_record(case: Case) -> dict[str, Any]:
    """The case as JSON values."""
    return {
        "id": case.ref,
        "messages": [{"role": m.role, "content": m.content} for m in case.messages],
        "question": case.question,
        "documents": [{"title": d.title, "text": d.text} for d in case.documents],
        "opinions": [_plain(each) for each in case.opinions],
        "evidence": [_plain(each) for each in case.evidence],
        "skill": case.skill,
        "slice": case.slice,
        "gold": case.gold,
        "meta": dict(case.meta),
    }


def _plain(value: Opinion | Quote) -> dict[str, Any]:
    names: Sequence[str] = value.__slots__
    return {name: getattr(value, name) for name in names}
