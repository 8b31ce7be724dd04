"""What a plan consists of: one task, one row to write.

A task is plain data, so that it can be hashed, pickled and sent to a worker.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from custodes.types import Mode, RuleId

__all__ = ["Act", "Target", "Task", "digest", "stable_seed"]

_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode

Act = Literal["comply", "refuse", "refuse_then_comply"]
"""What the reply of an exchange does with the request."""

Target = Literal["request", "reply"]
"""Which turn a transform changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One row to write.

    `id` and `seed` depend on the rule's hash, the index and the seed of the run alone. `shared`
    is the seed of the plan's cell and the rule's subject: what is drawn from it is the same for a
    restricted rule and its permitted twins. `pair` names it where the frame, too, is drawn from
    it: the rows of one pair differ in their intent only.
    """

    id: str
    rule: RuleId
    index: int
    subtopic: str | None
    style: str
    lang: str
    side: Mode
    act: Act | None
    seed: int
    shared: int
    pair: str | None
    transforms: tuple[str, ...]
    target: Target
    held_out: bool

    def frame_rng(self) -> Random:
        """Draws frame, fillers and surroundings: alike for all rows of a pair."""
        return Random(self.shared if self.pair else self.seed)

    def to_record(self) -> dict[str, Any]:
        """The task as plain JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}


def digest(*parts: Any) -> str:
    """Sha256 (64 hex digits) of plain JSON values; the same on every machine."""
    return hashlib.sha256(_encode(parts).encode("ascii")).hexdigest()


def stable_seed(*parts: Any) -> int:
    """A number below 2^48 that depends on the parts alone."""
    return int(digest(*parts)[:12], 16)
