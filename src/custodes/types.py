"""The words that every part of custodes speaks.

Plain frozen values: no I/O, no vendor, no tensor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, NewType

__all__ = [
    "Action",
    "Conversation",
    "Example",
    "Label",
    "Message",
    "Mode",
    "Role",
    "RuleId",
    "Score",
    "Verdict",
]

Role = Literal["system", "user", "assistant", "tool"]
"""Who speaks in a message."""

Label = Literal[0, 1]
"""1 harmful, 0 benign; `None` where nobody decided."""

Score = float
"""A probability of harm in [0, 1]."""

RuleId = NewType("RuleId", str)
"""The `id` of a constitution's rule."""


class Mode(StrEnum):
    """What is judged: a prompt, a reply alone, or a reply in the context of its prompt."""

    INPUT = "input"
    OUTPUT = "output"
    EXCHANGE = "exchange"


class Action(StrEnum):
    """What becomes of a piece of text."""

    RELEASE = "release"
    HOLD = "hold"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str


Conversation = tuple[Message, ...]
"""Turns, oldest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One row of a table: a prompt (`text`) or a conversation (`messages`), exactly one of the two.

    `group` is the unit that a split never cuts. The fields from `rule` on are the provenance of
    a synthetic row; they are empty on a gathered one.
    """

    id: str
    source: str
    kind: str
    licence: str = ""
    text: str | None = None
    messages: Conversation | None = None
    label: Label | None = None
    request_label: Label | None = None
    category: str | None = None
    system: str | None = None
    context: str | None = None
    lang: str | None = None
    group: str | None = None
    dup_of: str | None = None
    prompt_dup_of: str | None = None
    review: bool = False
    meta: Mapping[str, Any] = field(default_factory=dict)
    rule: RuleId | None = None
    writer: str | None = None
    transforms: tuple[str, ...] = ()
    seed: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the guard decided, and on what ground.

    `span` gives the characters [start, end) of the judged text that the decision rests on.
    `code`: of a text that a code hid in the judged one, and on which it rests, that code.
    `failure` says why the guard could not judge, where it failed closed; `score` is 1.0 then.
    """

    action: Action
    mode: Mode
    score: Score
    rule: RuleId | None = None
    flags: tuple[RuleId, ...] = ()
    stage: str | None = None
    code: str | None = None
    span: tuple[int, int] | None = None
    constitution: str = ""
    artifact: str = ""
    failure: str | None = None
