"""The pre-registered analysis of a study, and the power that one would have.

Everything is a function of trials. Mixed models are statsmodels'; reliance is `reliance.py`'s.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from custodes.errors import DataError, MissingExtraError
from custodes.measure import Interval, brier, expected_calibration_error, interval_of, resample
from custodes.review.shares import Share, difference
from custodes.review.study.protocol import Contrast, Protocol
from custodes.review.study.simulated import SimulatedConfig, simulate
from custodes.review.trials import Trial, units_of

__all__ = [
    "Calibrated",
    "Found",
    "MixedLogit",
    "calibration_by_arm",
    "contrast",
    "excluded",
    "mixed_logit",
    "power",
]

Floats = NDArray[np.float64]


def excluded(
    trials: Sequence[Trial], protocol: Protocol, checks: dict[str, float]
) -> tuple[list[Trial], dict[str, int]]:
    """The trials that the protocol keeps, and reason -> how many it leaves out.

    `checks`: rater -> share of right checks; a rater who saw none stays.
    """
    kept = []
    out: dict[str, int] = defaultdict(int)
    for trial in trials:
        if checks.get(trial.rater, 1.0) < protocol.exclude_below:
            out["rater failed checks"] += 1
        elif trial.seconds < protocol.exclude_faster:
            out["too fast"] += 1
        elif trial.arm not in protocol.arms:
            out["arm is not of this study"] += 1
        else:
            kept.append(trial)
    return kept, dict(out)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A contrast's outcome: difference in accuracy, with the corrected interval."""

    contrast: Contrast
    difference: Interval
    holds: bool
    trials: int


_WHERE: dict[str, Callable[[Trial], bool]] = {
    "all": lambda trial: True,
    "ai_right": lambda trial: trial.ai_right,
    "ai_wrong": lambda trial: not trial.ai_right,
}


def contrast(
    trials: Sequence[Trial], asked: Contrast, *, level: float, seed: int, resamples: int = 2000
) -> Found:
    """Difference in accuracy between two arms; the interval resamples raters *and* items.

    Items and raters are drawn independently, and a trial counts as often as both of its own were
    drawn (the pigeonhole bootstrap of Owen 2007), since both are samples. Where an arm's answers
    are all alike, exact bounds say what drawing cannot (`custodes.review.shares`).
    """
    used = [t for t in trials if t.arm in (asked.arm, asked.against) and _WHERE[asked.where](t)]
    right = np.array([float(trial.right) for trial in used])
    helped = np.array([trial.arm == asked.arm for trial in used], dtype=bool)
    if not helped.any() or helped.all():
        raise DataError(
            f"contrast {asked.arm} against {asked.against} ({asked.where}): an arm has no trial"
        )
    _, rater = np.unique([trial.rater for trial in used], return_inverse=True)
    _, item = np.unique([trial.item for trial in used], return_inverse=True)
    random = np.random.default_rng(seed)
    draws = np.full((2, resamples), np.nan)
    for n in range(resamples):
        weight = _drawn(rater, random) * _drawn(item, random)
        a, b = weight * helped, weight * ~helped
        if a.sum() and b.sum():
            draws[:, n] = (a @ right) / a.sum(), (b @ right) / b.sum()
    arms = [
        Share(
            value=float(right[inside].mean()),
            draws=drawn,
            units=units_of([t for t, mine in zip(used, inside, strict=True) if mine]),
        )
        for inside, drawn in zip((helped, ~helped), draws, strict=True)
    ]
    found = difference(*arms, level=level)
    holds = {
        "higher": found.low > 0,
        "lower": found.high < 0,
        "not_lower": found.low > -asked.margin,
    }[asked.expects]
    return Found(contrast=asked, difference=found, holds=bool(holds), trials=len(used))


def _drawn(place: NDArray[np.int64], random: np.random.Generator) -> Floats:
    """How often each one's unit was drawn."""
    n = int(place.max()) + 1
    return np.bincount(random.integers(0, n, n), minlength=n)[place].astype(np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedLogit:
    """Log-odds of a right answer: term -> posterior mean and 95 % interval (mean +- 1.96 sd).

    Terms of arms are against the arm `reference`, which has none of its own. `spread`: standard
    deviation of the random effects of items and of raters.
    """

    terms: dict[str, Interval]
    spread: dict[str, float]
    reference: str
    trials: int


def mixed_logit(trials: Sequence[Trial], *, without: str = "none") -> MixedLogit:
    """Logistic regression of rightness on arm, on whether the AI is right, on both together and on
    practice (hundreds of trials), with crossed random effects of items and raters.

    Arms are held against the arm `without` help; where the study has none, against the first by
    name: with a term for every arm only the prior would tell their common height.

    statsmodels' variational Bayes (`BinomialBayesMixedGLM.fit_vb`), whose intervals are known to
    be somewhat narrow.
    """
    try:
        import pandas as pd
        from statsmodels.genmod.bayes_mixed_glm import BinomialBayesMixedGLM
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "statsmodels", "review") from error
    if len({trial.right for trial in trials}) < 2:
        raise DataError(
            f"mixed logit: got {len(trials)} answers that are all right or all wrong; expected both"
        )
    frame = pd.DataFrame(
        {
            "right": [int(trial.right) for trial in trials],
            "ai_wrong": [int(not trial.ai_right) for trial in trials],
            "practice": [trial.order / 100 for trial in trials],
            "item": [trial.item for trial in trials],
            "rater": [trial.rater for trial in trials],
        }
    )
    arms = sorted({trial.arm for trial in trials})
    reference = without if without in arms else arms[0]
    arms.remove(reference)
    formula = ["ai_wrong", "practice"]
    for arm in arms:
        frame[arm] = [int(trial.arm == arm) for trial in trials]
        frame[f"{arm}_ai_wrong"] = frame[arm] * frame["ai_wrong"]
        frame[f"{arm}_practice"] = frame[arm] * frame["practice"]
        formula += [arm, f"{arm}_ai_wrong", f"{arm}_practice"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = BinomialBayesMixedGLM.from_formula(
            f"right ~ {' + '.join(formula)}",
            {"item": "0 + C(item)", "rater": "0 + C(rater)"},
            frame,
        )
        # Given, since it is drawn without a seed otherwise: two fits of the same trials agree.
        sd = np.full(model.k_fep + model.k_vcp + model.k_vc, np.exp(-0.5))
        fit = model.fit_vb(sd=sd)
    terms = {
        name: Interval(float(mean), float(mean - 1.96 * sd), float(mean + 1.96 * sd))
        for name, mean, sd in zip(model.exog_names, fit.fe_mean, fit.fe_sd, strict=True)
    }
    spread = {
        name: float(np.exp(value))
        for name, value in zip(("item", "rater"), fit.vcp_mean, strict=True)
    }
    return MixedLogit(terms=terms, spread=spread, reference=reference, trials=len(trials))


@dataclass(frozen=True, slots=True)
class Calibrated:
    """Brier score and calibration error of raters' own confidence in an arm."""

    arm: str
    brier: Interval
    calibration_error: float
    trials: int


def calibration_by_arm(trials: Sequence[Trial], *, seed: int) -> list[Calibrated]:
    """How honest raters' confidence is; arms without any are left out. The AI's stands first."""
    seen: dict[str, tuple[str, float, bool]] = {}
    for trial in trials:
        seen[trial.item] = (trial.item, trial.ai_confidence, trial.ai_right)
    groups: dict[str, list[tuple[str, float, bool]]] = {"the AI": list(seen.values())}
    for arm in sorted({trial.arm for trial in trials}):
        groups[arm] = [
            (trial.item, trial.confidence, trial.right)
            for trial in trials
            if trial.arm == arm and trial.confidence is not None
        ]
    found = []
    for name, rows in groups.items():
        rows = [row for row in rows if row[1] == row[1]]  # noqa: PLW2901 - NaN
        if not rows:
            continue
        right = np.array([int(row[2]) for row in rows])
        sure = np.array([row[1] for row in rows])
        draws = resample(brier, right, sure, groups=[row[0] for row in rows], seed=seed,
                         resamples=500)  # fmt: skip
        found.append(
            Calibrated(
                name,
                interval_of(brier(right, sure), draws),
                expected_calibration_error(right, sure, bins=10),
                len(rows),
            )
        )
    return found


def power(
    asked: Contrast, config: SimulatedConfig, *, studies: int, level: float = 0.95
) -> Interval:
    """Share of SIMULATED studies in which a contrast would hold, with an exact interval."""
    from custodes.measure import clopper_pearson

    held = 0
    for number in range(studies):
        trials = simulate(config.model_copy(update={"seed": config.seed * 100_003 + number}))
        seen = {trial.arm for trial in trials if _WHERE[asked.where](trial)}
        missing = {asked.arm, asked.against} - seen
        if missing and missing <= set(config.arms):
            continue  # a small study may have no such trial in an arm, and then shows nothing
        held += contrast(trials, asked, level=level, seed=number, resamples=300).holds
    return clopper_pearson(held, studies)
