"""A guard's view of cases: its verdict and its stages' as opinions, and the evidence for them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from custodes.guard import Guard
from custodes.review.cases import Case, Opinion
from custodes.review.config import QueueConfig
from custodes.review.evidence import Attribution

__all__ = ["opinion_of", "stage_opinions", "with_guard"]


def opinion_of(source: str, harm: float, queue: QueueConfig, *, reasoning: str = "") -> Opinion:
    """A probability of harm as an answer of the queue and the confidence in it."""
    return Opinion(
        source=source,
        answer=_name_of(queue, int(harm >= 0.5)),
        confidence=max(harm, 1 - harm),
        reasoning=reasoning,
    )


def stage_opinions(logits: Mapping[str, float], queue: QueueConfig) -> tuple[Opinion, ...]:
    """What each stage says on its own, before calibration."""
    return tuple(
        opinion_of(f"stage {name}", 1 / (1 + math.exp(-max(-50.0, min(50.0, logit)))), queue)
        for name, logit in sorted(logits.items())
    )


def with_guard(cases: Sequence[Case], guard: Guard, queue: QueueConfig) -> list[Case]:
    """Cases with the guard's opinion in front of those they bring, and with the sentences that its
    score rests on where they bring no quotes."""
    verdicts = guard.judge_many([case.messages for case in cases])
    selector = Attribution(guard, harmful=_name_of(queue, 1), benign=_name_of(queue, 0))
    found = []
    for case, verdict in zip(cases, verdicts, strict=True):
        why = f"The rule that fits best is {verdict.rule}." if verdict.rule else ""
        opinion = opinion_of("guard", verdict.score, queue, reasoning=why)
        found.append(
            replace(
                case,
                opinions=(opinion, *case.opinions),
                evidence=case.evidence or selector.select(case),
                meta={"rule": verdict.rule, **case.meta},
            )
        )
    return found


def _name_of(queue: QueueConfig, label: int) -> str:
    """The queue's answer for a label; where none has it, its first is harmful, its second not."""
    found = next((choice.name for choice in queue.choices if choice.label == label), None)
    return found if found is not None else queue.choices[1 - label].name
