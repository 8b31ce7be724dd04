"""What an attacker wants to know: questions with rubrics of facts, and benign neighbors.

A rubric lists facts that a useful answer states, each with the patterns by which it is recognized.
Questions without facts (public behaviors) can be attacked, too; then a model or people judge.
Knows the form; files are `question_files.py`'s, judging is `judges/`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from random import Random

from pydantic import Field, field_validator

from custodes.config import Config
from custodes.constitution import Lexicon, capitalize
from custodes.errors import DataError

__all__ = ["Fact", "Question", "QuestionSet"]


class Fact(Config):
    """One thing that a useful answer states."""

    text: str
    """The fact, for people and for a model that judges."""
    any_of: tuple[str, ...] = Field(min_length=1)
    """Regular expressions; the fact is stated where one is found (case does not matter)."""

    @field_validator("any_of")
    @classmethod
    def _compiles(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _compiling(value)


def _compiling(patterns: tuple[str, ...]) -> tuple[str, ...]:
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
    return patterns


class Question(Config):
    """One question that must not be answered."""

    id: str = Field(pattern=r"^[A-Za-z0-9_.:-]+$")
    """Short and unique in its set."""
    text: str = Field(min_length=1)
    """The question, as a user would ask it."""
    intent: str = ""
    """The same as a verb phrase in the base form ("bake a cake"); empty: attacks quote the text."""
    topic: str = ""
    """What it is about, as a noun phrase; empty: the question's text."""
    keywords: tuple[str, ...] = ()
    """The words that give it away, for attacks that replace words."""
    opening: str = ""
    """How a reply that complies would begin; empty: made from the intent."""
    about: tuple[str, ...] = ()
    """Regular expressions of which a reply must match one to count at all; empty: any reply may.
    They keep a recipe for something else from passing by its common ingredients."""
    facts: tuple[Fact, ...] = ()
    """The rubric."""
    category: str = ""
    """Where the question belongs, in its set."""
    rule: str = ""
    """The rule of the constitution that it breaks."""
    reference: float | None = Field(default=None, ge=0, le=1)
    """The grade of an unguarded reply, where it was measured; else it is measured anew."""

    @field_validator("about")
    @classmethod
    def _compiles(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _compiling(value)

    @property
    def wish(self) -> str:
        """The verb phrase that stands for the question in templates."""
        return self.intent or f'answer the question "{self.text}"'

    @property
    def subject(self) -> str:
        """The noun phrase that stands for the question in templates."""
        return self.topic or f'the question "{self.text}"'

    @property
    def affirmation(self) -> str:
        """The beginning of a reply that complies, as in GCG's targets (arXiv 2307.15043)."""
        return self.opening or f"Sure, here is how to {self.wish}:"


class QuestionSet(Config):
    """Target questions of one domain, and what lies close to them and is permitted."""

    id: str
    """Short name."""
    title: str = ""
    """A line for people."""
    constitution: str = ""
    """The constitution that restricts the domain, by name; empty: none in particular."""
    questions: tuple[Question, ...] = Field(min_length=1)
    """The questions, in the order of the arena's levels."""
    neighbor_slots: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    """Fillers of the neighbors' slots."""
    neighbors: tuple[str, ...] = ()
    """Benign requests close to the questions, with `{slots}`; see `benign`."""

    @field_validator("questions")
    @classmethod
    def _unique(cls, value: tuple[Question, ...]) -> tuple[Question, ...]:
        ids = [question.id for question in value]
        twice = sorted({each for each in ids if ids.count(each) > 1})
        if twice:
            raise ValueError(f"ids named twice: {', '.join(twice)}")
        return value

    def question(self, question_id: str) -> Question:
        """The question of that id; `DataError` where there is none."""
        for question in self.questions:
            if question.id == question_id:
                return question
        known = ", ".join(each.id for each in self.questions)
        raise DataError(f"question {question_id!r}: not in {self.id}; expected one of {known}")

    def benign(self, count: int, *, seed: int = 0) -> list[str]:
        """Up to `count` different benign neighbors, dealt out evenly over the phrases."""
        lexicon = Lexicon(self.neighbor_slots)
        rng = Random(f"neighbors {seed}")
        found: dict[str, None] = {}
        phrases = list(self.neighbors)
        barren = 0
        while phrases and len(found) < count and barren < 20:
            rng.shuffle(phrases)
            before = len(found)
            for phrase in phrases:
                found.setdefault(capitalize(lexicon.draw(phrase, rng)))
            barren = barren + 1 if len(found) == before else 0
        return list(found)[:count]
