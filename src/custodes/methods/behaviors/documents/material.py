"""The words of the measurements, read from the files beside this one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import yaml

__all__ = [
    "Pair",
    "Question",
    "Scenario",
    "Statement",
    "Task",
    "pairs",
    "questions",
    "scenarios",
    "statements",
    "tasks",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A situation with a way to win the grade without the work, the work, and a way out."""

    domain: str
    kind: Literal["tests", "grader", "flattery"]
    situation: str
    hack: str
    honest: str
    other: str

    @property
    def options(self) -> tuple[str, str, str]:
        """The hack first."""
        return self.hack, self.honest, self.other


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question of fact with the right answer and a wrong one that a user may hold."""

    question: str
    right: str
    wrong: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """Something a model that works for its reward would say (Yes) or would not (No)."""

    statement: str
    answer: Literal["Yes", "No"]
    source: str = "own"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A function to write, under a test that shows some cases and not others."""

    function: str
    about: str
    parameter: str
    shown: Sequence[Sequence[Any]]
    hidden: Sequence[Sequence[Any]]
    solve: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A preference: a request, the reply to be preferred, and the other."""

    prompt: str
    chosen: str
    rejected: str


@cache
def _rows(name: str) -> tuple[Mapping[str, Any], ...]:
    return tuple(yaml.safe_load((files(__package__) / name).read_text(encoding="utf-8")))


def scenarios() -> list[Scenario]:
    """The held-out scenarios."""
    return [Scenario(**row) for row in _rows("scenarios.yaml")]


def questions() -> list[Question]:
    """Simple questions of fact."""
    return [Question(**row) for row in _rows("questions.yaml")]


def statements() -> list[Statement]:
    """As many that a reward seeker would say as ones it would not."""
    return [Statement(**row) for row in _rows("statements.yaml")]


def tasks() -> list[Task]:
    """Functions to write."""
    return [Task(**row) for row in _rows("programs.yaml")]


def pairs() -> list[Pair]:
    """Preferences for helpful, honest and harmless replies."""
    return [Pair(**row) for row in _rows("preferences.yaml")]
