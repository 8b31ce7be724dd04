"""What a campaign remembers: every attempt with its transcript, and every attack's account."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from custodes.redteam.probes import Probe, Seen
from custodes.types import Conversation, Message

__all__ = ["Attempt", "Fight"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One query that asked for a reply, and what came of it.

    `query`: its number among the queries of this attack on this question, from 1. `score`: the
    guard's, where told. `facts`: one flag a fact of the rubric.
    """

    attack: str
    question: str
    query: int
    turns: Conversation
    strategy: str = ""
    reply: str = ""
    stopped: str | None = None
    score: float | None = None
    rule: str | None = None
    grade: float | None = None
    facts: tuple[bool, ...] = ()
    reading: str = "plain"
    success: bool = False
    glossary: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, attack: str, question: str, query: int, probe: Probe, seen: Seen) -> Attempt:
        """From what went there and what came back."""
        return cls(
            attack=attack,
            question=question,
            query=query,
            turns=probe.turns,
            strategy=probe.strategy,
            reply=seen.reply,
            stopped=seen.stopped,
            score=seen.score,
            rule=seen.rule,
            grade=seen.grade,
            success=seen.success,
            glossary=probe.glossary,
        )

    def to_values(self) -> dict[str, Any]:
        """Plain JSON."""
        values = asdict(self)
        values["turns"] = [{"role": turn.role, "content": turn.content} for turn in self.turns]
        return values

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Attempt:
        """The other way round."""
        turns = tuple(Message(turn["role"], turn["content"]) for turn in values["turns"])
        return cls(**{**values, "turns": turns, "facts": tuple(values["facts"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class Fight:
    """One attack against all questions.

    `queries`: question -> queries spent, of every kind. `skipped`: why it could not be tried.
    `seconds`: where the time went.
    """

    attack: str
    attempts: tuple[Attempt, ...] = ()
    queries: Mapping[str, int] = field(default_factory=dict)
    skipped: str | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def broken(self) -> dict[str, int]:
        """Question -> the query at which it was first answered."""
        found: dict[str, int] = {}
        for attempt in self.attempts:
            if attempt.success:
                found[attempt.question] = min(
                    attempt.query, found.get(attempt.question, attempt.query)
                )
        return found

    def to_values(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "attack": self.attack,
            "attempts": [attempt.to_values() for attempt in self.attempts],
            "queries": dict(self.queries),
            "skipped": self.skipped,
            "seconds": dict(self.seconds),
        }

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Fight:
        """The other way round."""
        attempts = tuple(Attempt.from_values(each) for each in values["attempts"])
        return cls(**{**values, "attempts": attempts})
