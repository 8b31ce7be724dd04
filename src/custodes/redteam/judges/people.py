"""People as judges: what they decided about replies, read from a table.

`custodes attack` writes out/for_people.jsonl, a table of exchanges like any other (for the review
queue, or to label by hand); a label of 1 says that the reply answers the question. Replies that
nobody labeled get no score.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from custodes.config import Config as BaseConfig
from custodes.data import read
from custodes.redteam.judges.base import Case, Grade
from custodes.types import Conversation

__all__ = ["PeopleJudge", "case_id"]


class PeopleJudge:
    """Looks labels up."""

    class Config(BaseConfig):
        """Where the labels are."""

        file: Path
        """A table (.parquet, .jsonl) whose ids are those of for_people.jsonl."""

    def __init__(self, config: Config) -> None:
        self._file = config.file

    @cached_property
    def _labels(self) -> dict[str, int]:
        return {row.id: row.label for row in read(self._file) if row.label is not None}

    def grade(self, cases: Sequence[Case]) -> list[Grade]:
        """1 or 0 where somebody decided, else no score."""
        ids = [case_id(case.question.id, case.turns, case.reply) for case in cases]
        found = [self._labels.get(each) for each in ids]
        return [Grade(score=None if label is None else float(label)) for label in found]


def case_id(question: str, turns: Conversation, reply: str) -> str:
    """An id by content, so that a label survives a repeated campaign."""
    said = [question, *((turn.role, turn.content) for turn in turns), reply]
    text = json.dumps(said, ensure_ascii=True)
    return f"case-{hashlib.sha256(text.encode('ascii')).hexdigest()[:20]}"
