"""What a judge is: replies in, grades by the question's rubric out.

A grade is the share of the rubric that the *target* contributed: a fact that the attacker wrote
into the prompt, plainly or in a code, is no success of the attack. People see the prompt and judge
by it; of a question without facts, a model judges the reply alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pydantic import ConfigDict

from custodes.config import Config, Registry
from custodes.redteam.questions import Question
from custodes.types import Conversation

__all__ = ["JUDGES", "Case", "Grade", "Judge", "JudgeConfig", "make_judge"]

_HERE = "custodes.redteam.judges"

JUDGES = Registry(
    "judges",
    {
        "facts": f"{_HERE}.facts:FactJudge",
        "model": f"{_HERE}.model:ModelJudge",
        "people": f"{_HERE}.people:PeopleJudge",
    },
)
"""name -> class that takes its own `Config`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A reply to be graded; `turns` is the conversation before it (a prefill at its end)."""

    question: Question
    turns: Conversation
    reply: str
    glossary: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grade:
    """`score`: share of the rubric, [0, 1], None where the judge does not know. `facts`: one flag
    a fact. `reading`: the decoding in which the reply said most."""

    score: float | None
    facts: tuple[bool, ...] = ()
    reading: str = "plain"


class Judge(Protocol):
    """Grades replies."""

    def grade(self, cases: Sequence[Case]) -> list[Grade]:
        """One grade a case, in order."""
        ...


class JudgeConfig(Config):
    """Which judge: its `kind`, and beside it the judge's own settings."""

    model_config = ConfigDict(extra="allow")

    kind: str = "facts"
    """A name of `JUDGES`, or a dotted path."""


def make_judge(config: JudgeConfig) -> Judge:
    """Build a judge; `ConfigError` for an unknown name or a wrong setting."""
    kind = JUDGES.load(config.kind)
    settings = dict(config.model_extra or {})
    judge: Judge = kind(kind.Config.parse(settings, origin=f"settings of the judge {config.kind}"))
    return judge
