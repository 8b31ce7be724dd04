"""What a target refuses of benign traffic: the price of a guard, beside its success.

Neighbors are sent like probes. Rows of a table that hold a reply are judged with that reply where
the target is a model behind a guard in this process (`guarded`); elsewhere their prompts are sent:
a guard that is attacked alone (`guard`) judges prompts alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from custodes.data import catalogue, conversation, load, read
from custodes.errors import DataError
from custodes.measure import Interval, wilson
from custodes.redteam.probes import Probe, user
from custodes.redteam.questions import QuestionSet
from custodes.redteam.targets import Target
from custodes.types import Conversation

__all__ = ["Refusals", "benign_rows", "count_refusals"]

_BATCH = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusals:
    """Benign traffic of one kind, and how much of it was refused; `refused` are the prompts."""

    name: str
    rows: int
    refused: tuple[str, ...]

    @property
    def rate(self) -> Interval:
        """Share refused."""
        return wilson(len(self.refused), self.rows)


def benign_rows(name: str, count: int, *, seed: int) -> list[Conversation]:
    """Benign conversations of a table or a set of the catalogue, at most `count`, by seed."""
    rows = load(name) if name in catalogue() else read(Path(name))
    benign = [row for row in rows if row.label == 0]
    if not benign:
        raise DataError(f"traffic {name}: has no row with the label 0, expected benign rows")
    chosen = Random(f"traffic {seed}").sample(benign, min(count, len(benign)))
    return [conversation(row) for row in chosen]


def count_refusals(
    target: Target,
    questions: QuestionSet,
    *,
    neighbors: int,
    traffic: Sequence[str] = (),
    rows: int = 300,
    seed: int = 0,
) -> list[Refusals]:
    """Send benign neighbors and benign traffic; how much was refused."""
    found = []
    asked: list[Conversation] = [user(text) for text in questions.benign(neighbors, seed=seed)]
    if asked:
        found.append(_refusals("neighbors", asked, _ask(target, asked)))
    for name in traffic:
        benign = benign_rows(name, rows, seed=seed)
        screen = getattr(target, "screen", None)
        stopped = screen(benign) if screen is not None else _ask(target, benign)
        found.append(_refusals(name, benign, stopped))
    return found


def _ask(target: Target, conversations: Sequence[Conversation]) -> list[bool]:
    probes = [Probe(turns=_prompt(turns)) for turns in conversations]
    stopped: list[bool] = []
    for start in range(0, len(probes), _BATCH):
        seen = target.handle(probes[start : start + _BATCH])
        stopped += [each.stopped is not None for each in seen]
    return stopped


def _prompt(turns: Conversation) -> Conversation:
    return turns[:-1] if len(turns) > 1 and turns[-1].role == "assistant" else turns


def _refusals(
    name: str, conversations: Sequence[Conversation], stopped: Sequence[bool]
) -> Refusals:
    refused = tuple(
        _prompt(turns)[-1].content for turns, was in zip(conversations, stopped, strict=True) if was
    )
    return Refusals(name=name, rows=len(conversations), refused=refused)
