"""Benign texts as a cascade hears them, and how many of them a finished guard stops.

A threshold keeps a budget as far as it decides alone. Under a policy with rules it does not: a rule
may have a threshold of its own, or only be flagged. So what the stages said is judged once more by
the guard as it will be written; no stage is asked twice.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from custodes.classifiers import LabelledRow, Threshold
from custodes.guard.cascade import Cascade
from custodes.guard.guard import Guard
from custodes.guard.policy import Policy
from custodes.guard.replay import replays
from custodes.measure import clopper_pearson
from custodes.types import Action, Conversation, Mode, RuleId

__all__ = ["Heard", "Refusals", "hear", "over_budget", "refusals"]


@dataclass(frozen=True, slots=True)
class Heard:
    """Benign texts of a mode, each with a cascade that knows what its stages say of it, and the
    greatest logit of each."""

    mode: Mode
    texts: tuple[tuple[Conversation, Cascade], ...]
    worst: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Refusals:
    """What a guard does with benign texts.

    `threshold`: the mode's, with the texts that the guard stops as its `refused` and `rate`.
    `below`: rule -> texts that it stops by a threshold of its own, though they do not reach the
    mode's. `spared`: texts that reach the mode's and are let through all the same.
    """

    threshold: Threshold
    below: Mapping[RuleId, int]
    spared: int


def hear(cascade: Cascade, rows: Sequence[LabelledRow], mode: Mode) -> Heard:
    """Let the stages judge the benign ones of the rows."""
    benign = [row.judged.conversation for row in rows if row.label == 0]
    texts = tuple(zip(benign, replays(cascade, benign, mode), strict=True))
    worst = (max(point.logit for point in replay.points(said, mode)) for said, replay in texts)
    return Heard(mode, texts, tuple(worst))


def refusals(guard: Guard, heard: Heard, threshold: Threshold) -> Refusals:
    """Judge the texts by the guard, its policy and all; `threshold` is the one that it has."""
    below: Counter[RuleId] = Counter()
    stopped = spared = 0
    for (conversation, replay), logit in zip(heard.texts, heard.worst, strict=True):
        verdict = guard.knowing(replay).judge_pointwise(conversation, heard.mode)
        reaches = guard.probability(logit, heard.mode) >= threshold.score
        if verdict.action is Action.STOP:
            stopped += 1
            if not reaches and verdict.rule is not None:
                below[verdict.rule] += 1
        else:
            spared += reaches
    rate = clopper_pearson(stopped, threshold.rows)
    return Refusals(
        threshold=dataclasses.replace(threshold, refused=stopped, rate=rate),
        below=dict(below.most_common()),
        spared=spared,
    )


def over_budget(found: Refusals, policy: Policy, budget: float) -> str | None:
    """Why a guard stops more benign texts than the budget allows; None where it does not."""
    now = found.threshold
    if now.rate.value <= budget:
        return None
    rules = ", ".join(
        f"rule {rule} stops {count} from {policy.rules[rule].threshold:g}, a threshold of its own"
        for rule, count in found.below.items()
    )
    return (
        f"{now.refused} of {now.rows} benign rows are stopped, more than {budget:.2%}: below the "
        f"mode's threshold {now.score:.4g} {rules}; give such a rule a higher threshold, none, or "
        "another action than block"
    )
