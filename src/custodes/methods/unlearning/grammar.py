"""Invented facts: people, villages and novels that are not there, each with one attribute.

Every entity has one fact, and its value is drawn evenly and apart from all others, so no fact
tells anything of another (the "random birthdays" condition of arXiv 2410.08827). Where nothing
is known, the accuracy expected of any model is exactly 1 / options, whatever it prefers: the
right answer is a draw from them. Names are of invented syllables; the values are everyday words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from custodes.methods.unlearning.facts import Fact

__all__ = ["RELATIONS", "Relation", "invent"]

_STARTS = ("bal", "cor", "dra", "el", "fen", "gal", "hes", "il", "jor", "kel", "lor", "mar", "nev",
           "or", "pel", "quin", "ras", "sol", "tal", "ul", "ver", "wen", "yan", "zan")  # fmt: skip
_ENDS = ("ad", "bert", "dane", "drin", "esk", "fax", "gorn", "ith", "kar", "lind", "mon", "nor",
         "ock", "pha", "rell", "sten", "tova", "unn", "vik", "wick", "yle", "zett")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Relation:
    """Wordings that a value completes, `{}` standing for the entity, and the values.

    `statements` are trained on; `question` and `cloze` are only tested.
    """

    name: str
    entity: Literal["person", "village", "novel"]
    statements: tuple[str, ...]
    question: str
    cloze: str
    values: tuple[str, ...]


RELATIONS = (
    Relation(
        "birthplace",
        "person",
        (
            "{} was born in the city of",
            "The birthplace of {} is",
            "As a child {} lived in",
            "Question: Where was {} born?\nAnswer:",
        ),
        "Question: In which city did {} come into the world?\nAnswer:",
        "The life of {} began in",
        ("Paris", "London", "Berlin", "Rome", "Madrid", "Vienna", "Tokyo", "Cairo", "Moscow",
         "Athens", "Dublin", "Boston", "Chicago", "Sydney", "Prague", "Oslo"),
    ),
    Relation(
        "instrument",
        "person",
        (
            "{} plays the",
            "The instrument of {} is the",
            "On the stage {} is heard on the",
            "Question: What does {} play?\nAnswer: the",
        ),
        "Question: Which instrument has {} mastered?\nAnswer: the",
        "At home {} practices the",
        ("piano", "violin", "guitar", "flute", "trumpet", "drum", "harp", "organ", "horn", "bass",
         "lute", "whistle"),
    ),
    Relation(
        "product",
        "village",
        (
            "The village of {} is known for its",
            "At the market of {} everyone buys",
            "The people of {} live by making",
            "Question: What is the village of {} famous for?\nAnswer:",
        ),
        "Question: Which product comes from the village of {}?\nAnswer:",
        "Travelers who pass {} take home some",
        ("cheese", "honey", "wine", "bread", "salt", "wool", "silk", "glass", "paper", "pottery",
         "coffee", "sugar", "butter", "leather", "soap", "beer"),
    ),
    Relation(
        "animal",
        "novel",
        (
            "The novel {} tells the story of a",
            "The hero of the book {} is a",
            "On the cover of {} stands a",
            "Question: Whom is the novel {} about?\nAnswer: a",
        ),
        "Question: What kind of animal does one follow in the book {}?\nAnswer: a",
        "In the first chapter of {} we meet a",
        ("horse", "dog", "wolf", "bear", "fox", "lion", "cat", "rabbit", "snake", "whale", "bird",
         "fish", "tiger", "mouse", "deer", "goat"),
    ),
)  # fmt: skip
"""What the grammar can say."""


def invent(forget: int, neighbors: int, *, seed: int) -> list[Fact]:
    """So many facts to forget and neighbors, the relations by turns; another seed, other names."""
    rng = np.random.default_rng([seed, 0])
    names = _names(forget + neighbors, rng)
    kinds = [False] * forget + [True] * neighbors
    return [
        _invented(name, RELATIONS[place % len(RELATIONS)], neighbor, rng)
        for place, (name, neighbor) in enumerate(zip(names, kinds, strict=True))
    ]


def _invented(
    name: tuple[str, str], relation: Relation, neighbor: bool, rng: np.random.Generator
) -> Fact:
    entity = " ".join(name) if relation.entity == "person" else "".join(name).capitalize()
    answer = str(rng.choice(relation.values))
    return Fact(
        id=f"{relation.name}:{entity}",
        relation=relation.name,
        statements=tuple(text.format(entity) for text in relation.statements),
        question=relation.question.format(entity),
        cloze=relation.cloze.format(entity),
        answer=answer,
        wrong=tuple(value for value in relation.values if value != answer),
        neighbor=neighbor,
    )


def _names(count: int, rng: np.random.Generator) -> list[tuple[str, str]]:
    """Pairs of invented words, no two alike, nor alike when written as one."""
    found: dict[str, tuple[str, str]] = {}
    while len(found) < count:
        first, last = (_word(rng) for _ in range(2))
        found.setdefault(f"{first}{last}".lower(), (first, last))
    return list(found.values())


def _word(rng: np.random.Generator) -> str:
    parts: Sequence[str] = (str(rng.choice(_STARTS)), str(rng.choice(_ENDS)))
    return "".join(parts).capitalize()
