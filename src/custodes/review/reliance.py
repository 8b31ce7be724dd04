"""Whom raters follow, and whether rightly: over-reliance, under-reliance, RAIR and RSR.

Over and under by comparison with raters who had no help (arXiv 2510.26518); by switches where a
first answer was recorded (Schemmer et al., "Appropriate Reliance on AI Advice", IUI 2023).
Formulas on trials; intervals resample items or raters, whichever is said, and are exact where all
answers are alike (`shares.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from custodes.measure import Interval, resample
from custodes.review.shares import Share, difference
from custodes.review.trials import Trial, units_of

__all__ = ["Reliance", "Switches", "accuracy_by_arm", "reliance", "switches"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliance:
    """What an arm does against the arm without help.

    `when_right`: accuracy with help minus without, where the AI is right; 0 at least is wanted.
    `under`: 1 minus accuracy with help there: the gain that is forgone. `when_wrong`: the same
    difference where the AI is wrong; below 0 is over-reliance. `overall`: on all items.
    """

    arm: str
    overall: Interval
    when_right: Interval
    when_wrong: Interval
    under: Interval
    trials: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Switches:
    """`rair`: of the wrong first answers on which the AI is right, the share that ends right.
    `rsr`: of the right first answers on which the AI is wrong, the share that stays right."""

    arm: str
    rair: Interval
    rsr: Interval
    could_gain: int
    could_lose: int


By = Callable[[Trial], str]


def _item(trial: Trial) -> str:
    return trial.item


def _mean(values: Floats) -> float:
    return float(values.mean()) if values.size else float("nan")


def _shares(
    trials: Sequence[Trial], parts: Sequence[Callable[[Trial], bool]], *, seed: int, by: By
) -> list[Share]:
    """The share of right answers in each part of the trials, all on the same resamples."""
    right = np.array([float(trial.right) for trial in trials])
    inside = np.array([[part(trial) for part in parts] for trial in trials], dtype=bool)

    def means(right: Floats, inside: NDArray[np.bool_]) -> Floats:
        return np.array([_mean(right[column]) for column in inside.T])

    groups = [by(trial) for trial in trials]
    draws = resample(means, right, inside, groups=groups, seed=seed, resamples=1000)
    return [
        Share(value=value, draws=draws[:, n], units=units_of([t for t in trials if part(t)]))
        for n, (part, value) in enumerate(zip(parts, means(right, inside).tolist(), strict=True))
    ]


def accuracy_by_arm(trials: Sequence[Trial], *, seed: int, by: By = _item) -> dict[str, Interval]:
    """Accuracy of each arm; intervals resample items (`by` says otherwise)."""
    names = sorted({trial.arm for trial in trials})
    parts = [lambda trial, name=name: trial.arm == name for name in names]
    found = _shares(trials, parts, seed=seed, by=by)
    return {name: share.interval() for name, share in zip(names, found, strict=True)}


def reliance(
    trials: Sequence[Trial], *, seed: int, without: str = "none", by: By = _item
) -> list[Reliance]:
    """Every arm against the arm `without` help."""
    found = []
    for name in sorted({trial.arm for trial in trials} - {without}):
        parts = [
            lambda trial, arm=arm, ai=ai: trial.arm == arm and trial.ai_right in ai
            for ai in ((True, False), (True,), (False,))
            for arm in (name, without)
        ]
        shares = _shares(trials, parts, seed=seed, by=by)
        helped, plain = shares[::2], shares[1::2]
        overall, when_right, when_wrong = map(difference, helped, plain)
        gained = helped[1].interval()
        found.append(
            Reliance(
                arm=name,
                overall=overall,
                when_right=when_right,
                when_wrong=when_wrong,
                under=Interval(1 - gained.value, 1 - gained.high, 1 - gained.low),
                trials=sum(trial.arm == name for trial in trials),
            )
        )
    return found


def switches(trials: Sequence[Trial], *, seed: int, by: By = _item) -> list[Switches]:
    """RAIR and RSR of every arm in which first answers were recorded; NaN where none could
    switch."""

    def gains(trial: Trial) -> bool:
        return trial.first != trial.truth and trial.ai_right

    def loses(trial: Trial) -> bool:
        return trial.first == trial.truth and not trial.ai_right

    found = []
    told = [trial for trial in trials if trial.first is not None]
    for name in sorted({trial.arm for trial in told}):
        mine = [trial for trial in told if trial.arm == name]
        rair, rsr = _shares(mine, [gains, loses], seed=seed, by=by)
        found.append(
            Switches(
                arm=name,
                rair=rair.interval(),
                rsr=rsr.interval(),
                could_gain=sum(map(gains, mine)),
                could_lose=sum(map(loses, mine)),
            )
        )
    return found
