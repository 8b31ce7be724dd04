"""A cascade calibrated anew beside what it was: what of it stays, and what it has lost."""

from __future__ import annotations

import dataclasses
from collections.abc import Container, Iterator, Mapping, Set
from typing import TypeVar

from custodes.classifiers import PromptedScorer, TokenScorer
from custodes.guard.cascade import Cascade
from custodes.types import Mode

__all__ = ["Calibrated", "as_before", "dropped", "order_of"]

_V = TypeVar("_V")

Calibrated = TokenScorer | PromptedScorer
"""The stages that can be calibrated."""


def as_before(cascade: Cascade, before: Cascade, modes: Set[Mode]) -> Cascade:
    """The cascade whose stages say in these modes what they said before."""
    known = {stage.scorer.name: stage for stage in before.stages}
    stages = []
    for stage in cascade.stages:
        old, scorer = known[stage.scorer.name], stage.scorer
        if not isinstance(scorer, Calibrated) or not isinstance(old.scorer, Calibrated):
            raise AssertionError("stages were calibrated")
        fits = _put_back(scorer.calibration, old.scorer.calibration, modes)
        scorer = dataclasses.replace(scorer, calibration=fits)
        alone = _put_back(stage.alone, old.alone, modes)
        stages.append(dataclasses.replace(stage, scorer=scorer, alone=alone))
    return Cascade(stages)


def _put_back(now: Mapping[Mode, _V], old: Mapping[Mode, _V], modes: Set[Mode]) -> dict[Mode, _V]:
    return {mode: one for mode, one in now.items() if mode not in modes} | {
        mode: one for mode, one in old.items() if mode in modes
    }


def order_of(cascade: Cascade) -> list[tuple[str, float | None]]:
    """Who judges after whom, and from which logit on."""
    return [(stage.scorer.name, stage.escalate_above) for stage in cascade.stages]


def dropped(
    cascade: Cascade, before: Cascade, *, named: bool, alone: Container[str]
) -> Iterator[str]:
    """What stages had and have no longer, though nobody asked for that. `named`: stages were, which
    says what they pass on, too; `alone`: those whose speaking alone was set anew."""
    known = {stage.scorer.name: stage for stage in before.stages}
    for stage in cascade.stages:
        name, old = stage.scorer.name, known[stage.scorer.name]
        if not named and old.escalate_above is not None and stage.escalate_above is None:
            yield (
                f"stage {name} passed on what lay above a logit of its old probabilities; now it "
                f"passes on everything (escalate: {name}=SHARE sets it anew)"
            )
        gone = sorted(set(old.alone) - set(stage.alone))
        if gone and name not in alone:
            yield (
                f"stage {name} spoke alone by its old probabilities in {', '.join(gone)}; now it "
                f"is averaged in (alone: {name}=SHARE sets it anew)"
            )
