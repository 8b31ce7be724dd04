"""SIMULATED raters: signal detection with anchoring. For power and for tests, never for a finding.

A rater's impression of an item is a normal variable around +d'/2 or -d'/2 (Green and Swets 1966),
moved by the item's own difficulty; help pulls it towards the AI's answer by a weight that the arm
is *assumed* to have. The weights below are assumptions, made so that the patterns which the paper
reports can occur; nothing that comes out of them says anything about people.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import Field

from custodes.config import Config
from custodes.review.arms import Arm, choose_arm
from custodes.review.trials import Trial

__all__ = ["SimulatedConfig", "simulate"]


class SimulatedConfig(Config):
    """A population of simulated raters and items."""

    raters: int = Field(default=20, ge=2)
    """How many raters."""
    items: int = Field(default=120, ge=4)
    """How many items; half of them are positive."""
    raters_an_item: int = Field(default=5, ge=1)
    """How many judge each."""
    arms: tuple[Arm, ...] = (Arm.NONE, Arm.EVIDENCE, Arm.JUDGMENT)
    """The arms."""
    sensitivity: float = Field(default=1.2, ge=0)
    """Mean d' of raters without help."""
    spread: float = Field(default=0.3, ge=0)
    """Standard deviation of d' over raters."""
    difficulty: float = Field(default=0.5, ge=0)
    """Standard deviation of items' own pull, in units of the impression."""
    ai_accuracy: float = Field(default=0.7, ge=0, le=1)
    """Share of items on which the AI is right."""
    anchoring: Mapping[Arm, float] = {
        Arm.NONE: 0.0, Arm.EVIDENCE: 0.0, Arm.CONTRAST: 0.0, Arm.REASONING: 0.4,
        Arm.JUDGMENT: 0.8, Arm.CONFIDENCE: 1.0,
    }  # fmt: skip
    """Arm -> pull towards the AI's answer, whether it is right or wrong."""
    insight: Mapping[Arm, float] = {
        Arm.NONE: 0.0, Arm.EVIDENCE: 0.4, Arm.CONTRAST: 0.3, Arm.REASONING: 0.4,
        Arm.JUDGMENT: 0.4, Arm.CONFIDENCE: 0.4,
    }  # fmt: skip
    """Arm -> pull towards the truth that evidence gives where the AI is right."""
    practice: float = 0.002
    """What d' gains a trial."""
    blind: bool = False
    """Whether first answers are recorded."""
    seed: int = Field(default=0, ge=0)
    """Two simulations of one seed agree."""


def simulate(config: SimulatedConfig) -> list[Trial]:
    """Trials of simulated raters, each marked `simulated`."""
    random = np.random.default_rng(config.seed)
    truth = np.where(np.arange(config.items) % 2 == 0, 1, -1)
    pull = random.normal(0, config.difficulty, config.items)
    ai_right = random.random(config.items) < config.ai_accuracy
    sure = np.clip(random.normal(np.where(ai_right, 0.82, 0.7), 0.1), 0.5, 0.99)
    skill = np.maximum(0.0, random.normal(config.sensitivity, config.spread, config.raters))
    schedule = _schedule(config, random)
    had: list[list[str]] = [[] for _ in range(config.raters)]
    seen: list[dict[str, int]] = [{} for _ in range(config.items)]
    trials = []
    for rater, item in schedule:
        arm = choose_arm(config.arms, of_rater=had[rater], on_case=seen[item], seed=config.seed,
                         unit=f"{rater} {item}")  # fmt: skip
        d = skill[rater] + config.practice * len(had[rater])
        alone = truth[item] * d / 2 + pull[item] + random.normal()
        says = truth[item] if ai_right[item] else -truth[item]
        helped = alone + config.anchoring.get(arm, 0.0) * says * (2 * sure[item] - 0.6)
        helped += config.insight.get(arm, 0.0) * truth[item] * ai_right[item]
        trials.append(
            Trial(
                rater=f"simulated-{rater}",
                item=f"item-{item}",
                arm=str(arm),
                order=len(had[rater]),
                truth=_name(truth[item]),
                answer=_name(helped),
                ai_answer=_name(says),
                ai_confidence=float(sure[item]),
                confidence=float(1 / (1 + np.exp(-abs(helped)))),
                first=_name(alone) if config.blind else None,
                seconds=float(random.lognormal(3.0 - 0.004 * len(had[rater]), 0.4)),
                simulated=True,
            )
        )
        had[rater].append(str(arm))
        seen[item][arm] = seen[item].get(arm, 0) + 1
    return trials


def _schedule(config: SimulatedConfig, random: np.random.Generator) -> Sequence[tuple[int, int]]:
    """Pairs of rater and item: each item goes to as many raters as asked, none twice; in random
    order."""
    each = min(config.raters_an_item, config.raters)
    load = np.zeros(config.raters)
    pairs = []
    for item in random.permutation(config.items):
        free = np.argsort(load + random.random(config.raters))[:each]
        load[free] += 1
        pairs += [(int(rater), int(item)) for rater in free]
    order = random.permutation(len(pairs))
    return [pairs[place] for place in order]


def _name(value: float) -> str:
    return "harmful" if value > 0 else "benign"
