"""Whom raters follow, and whether rightly: over-reliance, under-reliance, RAIR and RSR.

Over and under by comparison with raters who had no help (arXiv 2510.26518); by switches where a
first answer was recorded (Schemmer et al., "Appropriate Reliance on AI Advice", IUI 2023).
Formulas on trials; intervals resample items or raters, whichever is said.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from custodes.measure import Interval, interval_of, resample
from custodes.review.trials import Trial

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


def _columns(trials: Sequence[Trial]) -> tuple[Floats, Floats, NDArray[np.object_]]:
    right = np.array([float(trial.right) for trial in trials])
    ai = np.array([float(trial.ai_right) for trial in trials])
    return right, ai, np.array([trial.arm for trial in trials], dtype=object)


def _mean(values: Floats) -> float:
    return float(values.mean()) if values.size else float("nan")


def _intervals(
    statistic: Callable[..., Floats],
    arrays: Sequence[NDArray[Any]],
    groups: Sequence[str],
    seed: int,
) -> list[Interval]:
    values = statistic(*arrays)
    draws = resample(statistic, *arrays, groups=groups, seed=seed, resamples=1000)
    return [interval_of(float(value), draws[:, n]) for n, value in enumerate(values)]


def accuracy_by_arm(
    trials: Sequence[Trial], *, seed: int, by: Callable[[Trial], str] = lambda trial: trial.item
) -> dict[str, Interval]:
    """Accuracy of each arm; intervals resample items (`by` says otherwise)."""
    right, _, arm = _columns(trials)
    names = sorted(set(arm))

    def figures(right: Floats, arm: NDArray[np.object_]) -> Floats:
        return np.array([_mean(right[arm == name]) for name in names])

    found = _intervals(figures, [right, arm], [by(trial) for trial in trials], seed)
    return dict(zip(names, found, strict=True))


def reliance(
    trials: Sequence[Trial],
    *,
    seed: int,
    without: str = "none",
    by: Callable[[Trial], str] = lambda trial: trial.item,
) -> list[Reliance]:
    """Every arm against the arm `without` help."""
    right, ai, arm = _columns(trials)
    groups = [by(trial) for trial in trials]
    found = []
    for name in sorted(set(arm) - {without}):

        def figures(
            right: Floats, ai: Floats, arm: NDArray[np.object_], name: str = name
        ) -> Floats:
            with_help, plain = arm == name, arm == without
            differences = [
                _mean(right[with_help & which]) - _mean(right[plain & which])
                for which in (np.ones(len(ai), dtype=bool), ai == 1, ai == 0)
            ]
            return np.array([*differences, 1 - _mean(right[with_help & (ai == 1)])])

        overall, when_right, when_wrong, under = _intervals(figures, [right, ai, arm], groups, seed)
        found.append(
            Reliance(
                arm=name,
                overall=overall,
                when_right=when_right,
                when_wrong=when_wrong,
                under=under,
                trials=int((arm == name).sum()),
            )
        )
    return found


def switches(
    trials: Sequence[Trial],
    *,
    seed: int,
    by: Callable[[Trial], str] = lambda trial: trial.item,
) -> list[Switches]:
    """RAIR and RSR of every arm in which first answers were recorded; NaN where none could
    switch."""
    found = []
    told = [trial for trial in trials if trial.first is not None]
    for name in sorted({trial.arm for trial in told}):
        mine = [trial for trial in told if trial.arm == name]
        began = np.array([float(trial.first == trial.truth) for trial in mine])
        right, ai, _ = _columns(mine)

        def figures(began: Floats, right: Floats, ai: Floats) -> Floats:
            gain, lose = (began == 0) & (ai == 1), (began == 1) & (ai == 0)
            return np.array([_mean(right[gain]), _mean(right[lose])])

        rair, rsr = _intervals(figures, [began, right, ai], [by(trial) for trial in mine], seed)
        found.append(
            Switches(
                arm=name,
                rair=rair,
                rsr=rsr,
                could_gain=int(((began == 0) & (ai == 1)).sum()),
                could_lose=int(((began == 1) & (ai == 0)).sum()),
            )
        )
    return found
