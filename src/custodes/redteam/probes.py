"""What passes between an attack and its target: probes go there, what was seen comes back.

Plain values; what makes them and what answers them is not known here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from custodes.types import Conversation, Message

__all__ = ["Probe", "Seen", "Stopped", "Want", "last_user_text", "prefill_of", "prompt_of", "user"]

Want = Literal["reply", "score", "likelihood", "gradient"]
"""What is asked: a reply; the guard's score of a prompt; how likely the target finds a given
continuation; which single-token swaps of a suffix would raise that likelihood most."""

Stopped = Literal["input", "output", "exchange", "refusal"]
"""Where a guard stopped it: at the prompt, at the reply; `refusal`: the server said no."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One query to the target.

    `turns` end with the user's turn, or with an assistant's that the target is to go on from.
    `glossary`: said -> meant, the substitutions that a reply must be read with.
    `strategy` tells an attack's variants apart ("" for an attack that is one strategy).
    `continuation`: for likelihood and gradient, the reply wished for; `suffix`: for gradient, the
    end of the last user's turn whose tokens may be swapped.
    """

    turns: Conversation
    want: Want = "reply"
    strategy: str = ""
    glossary: Mapping[str, str] = field(default_factory=dict)
    continuation: str = ""
    suffix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What came back.

    `reply`: the text that left the system, a guard's cut applied. `score`: the greatest score that
    a guard gave, where the target tells it. `grade`: the judge's score of the reply in [0, 1];
    `success`: whether it is enough. `value`: mean log-probability of a continuation.
    `pieces`: the suffix's tokens as texts; `swaps`: for each of them the texts that promise most.
    """

    reply: str = ""
    stopped: Stopped | None = None
    score: float | None = None
    rule: str | None = None
    grade: float | None = None
    success: bool = False
    value: float | None = None
    pieces: tuple[str, ...] = ()
    swaps: tuple[tuple[str, ...], ...] = ()

    @property
    def refused(self) -> bool:
        """Whether nothing of use came through."""
        return self.stopped is not None or not self.reply.strip()


def user(text: str, *before: Message) -> Conversation:
    """A conversation that ends with the user saying `text`."""
    return (*before, Message("user", text))


def prompt_of(turns: Conversation) -> Conversation:
    """The conversation up to the user's last turn; a prefill belongs to the reply."""
    last = max((i for i, turn in enumerate(turns) if turn.role == "user"), default=len(turns) - 1)
    return turns[: last + 1]


def last_user_text(turns: Sequence[Message]) -> str:
    """What the user said last; "" where the user said nothing."""
    return next((turn.content for turn in reversed(turns) if turn.role == "user"), "")


def prefill_of(turns: Sequence[Message]) -> str:
    """The beginning of the reply that the attacker put into the target's mouth; often ""."""
    return turns[-1].content if turns and turns[-1].role == "assistant" else ""
