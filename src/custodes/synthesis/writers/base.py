"""What a writer is: tasks in, drafts out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from custodes.constitution import Constitution, Rule
from custodes.models import GenerateModel
from custodes.synthesis.config import SynthesisConfig
from custodes.synthesis.task import Task
from custodes.types import Example, Mode

__all__ = ["Draft", "Writer"]


@dataclass(frozen=True, slots=True)
class Draft:
    """What became of a task: a row, or none; `rejected` says why attempts at it failed."""

    row: Example | None
    rejected: tuple[str, ...] = ()


class Writer(Protocol):
    """Writes the rows of tasks; the same tasks give the same rows.

    `model` is that of `config.model`, already built, or none.
    """

    def __init__(
        self,
        constitution: Constitution,
        config: SynthesisConfig,
        *,
        model: GenerateModel | None = None,
    ) -> None: ...

    @classmethod
    def languages(cls, constitution: Constitution, rule: Rule, side: Mode) -> tuple[str, ...]:
        """The languages that it can write rows of this rule and side in; may be none."""
        ...

    def write(self, tasks: Sequence[Task]) -> list[Draft]:
        """One draft a task, in order, without transforms."""
        ...
