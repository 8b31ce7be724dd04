"""A study's protocol: everything that is fixed before the first trial, and the hash that says so.

The server assigns arms (see `arms`); the analysis reads from here what it may test.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from custodes.config import Config
from custodes.review.arms import Arm
from custodes.review.config import Choice, QueueConfig

__all__ = ["Contrast", "Protocol"]


class Contrast(Config):
    """One pre-registered comparison of an arm with another."""

    arm: Arm
    """The arm with help."""
    against: Arm = Arm.NONE
    """The arm that it is compared with."""
    where: Literal["all", "ai_right", "ai_wrong"] = "all"
    """On which items."""
    expects: Literal["higher", "lower", "not_lower"] = "higher"
    """What is predicted of accuracy. not_lower: within `margin` of it, or above."""
    margin: float = Field(default=0.05, ge=0, lt=1)
    """How much lower still counts as not lower."""


class Protocol(Config):
    """A study."""

    name: str = Field(pattern="^[a-zA-Z0-9_-]{1,50}$")
    """Also the name of its queue."""
    question: str = "Is this harmful?"
    """What raters are asked."""
    instructions: str = ""
    """What they are told."""
    choices: tuple[Choice, ...] = QueueConfig().choices
    """The answers."""
    items: Path
    """JSONL of cases, each with `opinions` (the AI's view) and `meta.truth`, the right answer,
    which no rater ever sees."""
    arms: tuple[Arm, ...] = (Arm.NONE, Arm.EVIDENCE, Arm.JUDGMENT)
    """What is compared; every rater goes through all of them in balanced blocks."""
    raters_an_item: int = Field(default=3, ge=1, le=50)
    """How many people judge each item."""
    blind: bool = False
    """Whether a first answer is asked for before help is shown: needed for RAIR and RSR."""
    confidence: bool = True
    """Whether raters say how sure they are: needed for their Brier score."""
    checks: float = Field(default=0.1, ge=0, le=0.5)
    """Share of checks."""
    exclude_below: float = Field(default=0.0, ge=0, le=1)
    """Raters whose share of right checks is below this are left out of the analysis."""
    exclude_faster: float = Field(default=0.0, ge=0)
    """Trials that took fewer seconds are left out."""
    contrasts: tuple[Contrast, ...] = ()
    """The comparisons that count as confirmatory; their intervals are Bonferroni-corrected."""
    level: float = Field(default=0.95, gt=0.5, lt=1)
    """Confidence level over all contrasts together."""
    seed: int = Field(default=0, ge=0)
    """Of the assignment, the order and the bootstrap."""

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        used = {each for c in self.contrasts for each in (c.arm, c.against)}
        if strange := sorted(used - set(self.arms)):
            raise ValueError(f"contrasts: {', '.join(strange)} is no arm of this study")
        if len(self.arms) < 2:
            raise ValueError("arms: a study compares two at least")
        return self

    def fingerprint(self, items_sha256: str) -> str:
        """SHA-256 of everything above, with what the file of items holds in the place of its
        path: note it down before the first trial."""
        settings = self.model_dump_json(exclude={"items"})
        return hashlib.sha256(f"{items_sha256}\n{settings}".encode()).hexdigest()

    def queue(self, items_sha256: str) -> QueueConfig:
        """The queue that runs the study; its items come in random order."""
        return QueueConfig(
            items_sha256=items_sha256,
            question=self.question,
            instructions=self.instructions,
            choices=self.choices,
            raters=self.raters_an_item,
            settle="majority",
            arms=self.arms,
            blind=self.blind,
            confidence=self.confidence,
            checks=self.checks,
            sampling="random",
            seed=self.seed,
        )
