"""What sessions would make of many whole texts: the verdict on each, and where it would be cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from custodes.guard.guard import Guard
from custodes.types import Action, Conversation, Mode, Verdict

__all__ = ["Outcome", "outcomes"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """`verdict`: on the whole text, its score that of the worst point. `stop_at`: characters that
    a session releases before it stops, None where it does not stop."""

    verdict: Verdict
    stop_at: int | None


def outcomes(
    guard: Guard, conversations: Sequence[Conversation], mode: Mode | None = None
) -> list[Outcome]:
    """What a session would make of the last turn of each; `mode` None: see `mode_of`."""
    return [
        _outcome(replay, conversation, each)
        for conversation, (each, replay) in zip(
            conversations, guard.replays(conversations, mode), strict=True
        )
    ]


def _outcome(guard: Guard, conversation: Conversation, mode: Mode) -> Outcome:
    verdict = guard.judge_pointwise(conversation, mode)
    if verdict.action is not Action.STOP:
        return Outcome(verdict, None)
    session = guard.open(conversation[:-1], mode)
    decision = session.feed(conversation[-1].content)
    if decision.action is not Action.STOP:
        decision = session.finish()
    return Outcome(verdict, decision.stop_at)
