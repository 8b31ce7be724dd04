"""Probabilities of a whole conversation, rule by rule: what /v1/decisions and /v1/moderations
answer with.

Runs on a judging thread. Knows no wire format.
"""

from __future__ import annotations

from dataclasses import dataclass

from custodes.guard import Calibration, Decision, Guard, mode_of
from custodes.guard.replay import decisive
from custodes.server.hearing import judge_text
from custodes.server.judging import checkpoint
from custodes.types import Conversation, RuleId

__all__ = ["Assessment", "assess"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """`decision`: as a session decides; `harm`: probability that any rule is broken, at the worst
    point; `rules`: rule -> probability that it is this one. A failure gives 1.0 for all."""

    decision: Decision
    harm: float
    rules: dict[RuleId, float]


def assess(guard: Guard, conversation: Conversation) -> Assessment:
    """Judge a conversation's last turn, and find its decisive point."""
    decision = judge_text(guard, conversation)
    checkpoint()
    mode = mode_of(conversation)
    (point,) = decisive(guard.cascade, [conversation], mode)
    failed = decision.verdict is not None and decision.verdict.failure is not None
    if failed or point.failure is not None:
        return Assessment(
            decision=decision, harm=1.0, rules=dict.fromkeys(guard.cascade.rules, 1.0)
        )
    harm = guard.calibration.get(mode, Calibration()).probability(point.logit)
    shares = point.rules
    return Assessment(
        decision=decision,
        harm=harm,
        rules={rule: harm * shares.get(rule, 0.0) for rule in guard.cascade.rules},
    )
