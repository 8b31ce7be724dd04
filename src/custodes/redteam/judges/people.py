"""People as judges: what they decided about replies, read from a table.

`custodes attack` writes out/for_people.jsonl, a table of exchanges like any other (for the review
queue, or to label by hand); a label of 1 says that the reply answers the question. Replies that
nobody labeled get no score. A table of a review queue has ids of its own and names the case that
it was given in `meta.ref`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from custodes.config import Config as BaseConfig
from custodes.data import read
from custodes.errors import ConfigError
from custodes.redteam.judges.base import Case, Grade
from custodes.types import Conversation

__all__ = ["PeopleJudge", "case_id"]

_PREFIX = "case-"


class PeopleJudge:
    """Looks labels up."""

    class Config(BaseConfig):
        """Where the labels are."""

        file: Path
        """A table (.parquet, .jsonl) whose ids, or `meta.ref`, are those of for_people.jsonl."""

    def __init__(self, config: Config) -> None:
        self._file = config.file

    @cached_property
    def _labels(self) -> dict[str, int]:
        rows = [row for row in read(self._file) if row.label is not None]
        found = {str(row.meta.get("ref") or row.id): row.label for row in rows}
        if not any(each.startswith(_PREFIX) for each in found):
            got = f"ids such as {next(iter(found))!r}" if found else "no row with a label"
            raise ConfigError(
                f"judge people: {self._file}: got {got}, expected ids, or meta.ref, of "
                f"for_people.jsonl ({_PREFIX}...); label that file and keep its ids"
            )
        return {case: label for case, label in found.items() if label is not None}

    def grade(self, cases: Sequence[Case]) -> list[Grade]:
        """1 or 0 where somebody decided, else no score."""
        ids = [case_id(case.question.id, case.turns, case.reply) for case in cases]
        found = [self._labels.get(each) for each in ids]
        return [Grade(score=None if label is None else float(label)) for label in found]


def case_id(question: str, turns: Conversation, reply: str) -> str:
    """An id by content, so that a label survives a repeated campaign."""
    said = [question, *((turn.role, turn.content) for turn in turns), reply]
    text = json.dumps(said, ensure_ascii=True)
    return f"{_PREFIX}{hashlib.sha256(text.encode('ascii')).hexdigest()[:20]}"
