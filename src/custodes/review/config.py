"""What can be set of a queue: what is asked, of how many, with which help, in which order."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from custodes.config import Config
from custodes.review.arms import Arm
from custodes.types import Label

__all__ = ["Choice", "QueueConfig", "stored_config"]

_TAKEN = frozenset("unsx/[],.cob?tgi")
"""Keys that the page has a use for."""
_DIGITS = "1234567890"


class Choice(Config):
    """One answer that a rater can give."""

    name: str = Field(min_length=1, pattern=r"^[^\s].*$")
    """What it is called, on the button and in exports."""
    key: str = Field(min_length=1, max_length=1)
    """The key that gives it."""
    label: Label | None = None
    """What it means for training: 1 harmful, 0 benign, null: such rows are not trained on."""


class QueueConfig(Config):
    """A queue."""

    question: str = "Is this harmful?"
    """What is asked of a case that has no question of its own."""
    instructions: str = ""
    """What raters should know; shown on demand."""
    choices: tuple[Choice, ...] = (
        Choice(name="harmful", key="1", label=1),
        Choice(name="benign", key="2", label=0),
        Choice(name="unsure", key="3"),
    )
    """The answers."""
    raters: int = Field(default=1, ge=1, le=50)
    """How many people judge each case."""
    settle: Literal["unanimous", "majority"] = "unanimous"
    """unanimous: any disagreement goes to adjudication. majority: what no more than half of the
    answers say does (2-1-1 among four, and every tie)."""
    arms: tuple[Arm, ...] = (Arm.NONE,)
    """Assistance arms; more than one makes the queue an experiment."""
    blind: bool = False
    """Whether help is hidden until a first answer is given; then switches can be measured."""
    confidence: bool = False
    """Whether raters say how sure they are."""
    checks: float = Field(default=0.0, ge=0, le=0.5)
    """Share of a rater's cases that are checks, as far as there are any left; each is drawn by
    itself, so that nobody can count up to the next."""
    claim_seconds: float = Field(default=900.0, gt=0)
    """How long a case stays with a rater who does nothing; then others may have it."""
    sampling: Literal["uncertain", "random", "diverse", "disagreement", "given"] = "uncertain"
    """Which cases come first; given: in the order in which they were put in. diverse spreads what
    is put in together; cases from a gateway come one at a time, and so at random."""
    seed: int = Field(default=0, ge=0)
    """Of the order and of the arms."""
    items_sha256: str = ""
    """Of a study's queue: SHA-256 of its file of items; `custodes review study start` sets it."""

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if len(self.choices) < 2:
            raise ValueError("choices: expected at least two")
        names = [choice.name for choice in self.choices]
        keys = [choice.key for choice in self.choices]
        if len(set(names)) < len(names) or len(set(keys)) < len(keys):
            raise ValueError("choices: two have the same name or key")
        if taken := sorted(_TAKEN & set(keys)):
            raise ValueError(f"choices: the page needs the key {', '.join(taken)}; take digits")
        if blank := sorted(key for key in keys if not _can_be_pressed(key)):
            raise ValueError(f"choices: no answer can have the key {blank[0]!r}; take digits")
        if not self.arms or len(set(self.arms)) < len(self.arms):
            raise ValueError("arms: expected at least one, each once")
        return self

    def choice(self, name: str) -> Choice | None:
        """The answer of a name."""
        return next((choice for choice in self.choices if choice.name == name), None)


def stored_config(values: dict[str, Any], *, origin: str) -> QueueConfig:
    """Settings that were stored, perhaps by a version that let answers have keys which the page
    needs: such an answer has the first digit that is free, so that its queue stays in use."""
    choices = [dict(each) for each in values.get("choices", ())]
    used = {each["key"] for each in choices}
    for each in choices:
        if each["key"] in _TAKEN or not _can_be_pressed(each["key"]):
            each["key"] = next((digit for digit in _DIGITS if digit not in used), each["key"])
            used.add(each["key"])
    return QueueConfig.parse({**values, "choices": choices} if choices else values, origin=origin)


def _can_be_pressed(key: str) -> bool:
    return key.isprintable() and not key.isspace()
