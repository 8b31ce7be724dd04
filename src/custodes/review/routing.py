"""Who judges a case: the AI where it is sure enough, else people.

"Human-AI Complementarity: A Goal for Amplified Oversight" (arXiv 2510.26518): hybridization by
confidence accepts the AI's answer where its calibrated confidence passes T. Also learned deferral,
which compares that confidence with how reliable people are in the case's slice, and audits of what
was accepted. Pure functions of arrays; a row is one case judged by one person, so a case that
several judged has several rows of one group.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from custodes.classifiers.calibrate import fit_calibration
from custodes.classifiers.scorer import Calibration
from custodes.errors import DataError, InputError
from custodes.measure import clopper_pearson

__all__ = [
    "Deferral",
    "Objective",
    "Rows",
    "SliceCalibration",
    "audit",
    "calibrated",
    "choose_threshold",
    "fit_confidence",
    "fit_confidence_by_slice",
    "fit_deferral",
    "hybrid_accuracy",
]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Aim = Literal["accuracy", "cost", "risk"]

_STEPS = 20
"""Coverages that are tried for a bound on risk: 5 %, 10 % ... of the rows."""
_SPARE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """What routing is chosen and measured on; all arrays are [n].

    `confidence`: the AI's, that it is right; `ai`, `people`: whether it and the person were right
    (0 or 1); `groups`: what is resampled together, such as the claim; `slices`: for reports and
    for learned deferral.
    """

    confidence: Floats
    ai: Floats
    people: Floats
    groups: Sequence[Hashable]
    slices: Sequence[str]

    def __post_init__(self) -> None:
        sizes = {len(self.confidence), len(self.ai), len(self.people)}
        if sizes != {len(self.groups)} or len(self.slices) != len(self.groups):
            raise DataError("rows: confidence, ai, people, groups and slices differ in length")
        if not len(self.groups):
            raise DataError("rows: got none; expected cases judged by both the AI and people")
        if not ((self.confidence >= 0) & (self.confidence <= 1)).all():
            raise DataError("rows: expected every confidence in [0, 1]")

    def take(self, which: NDArray[np.integer] | Bools) -> Rows:
        """Some of the rows."""
        places = np.arange(len(self.groups))[which]
        return Rows(
            confidence=self.confidence[places],
            ai=self.ai[places],
            people=self.people[places],
            groups=[self.groups[place] for place in places],
            slices=[self.slices[place] for place in places],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """What T is chosen for.

    accuracy: the most right answers. cost: the least `error_cost` a wrong answer plus
    `person_cost` a case that people judge. risk: as few cases to people as keep the AI's errors
    among accepted cases at or below `risk`, with 95 % confidence: coverages that are fixed before
    any error is seen are tested from the smallest up, each by the upper bound of an exact one-sided
    interval in which a group is one trial, however many people judged it, until one fails (fixed
    sequence testing, as in Learn then Test, arXiv 2110.01052). The confidence is that of rows on
    which nothing else was fitted.
    """

    aim: Aim = "accuracy"
    error_cost: float = 1.0
    person_cost: float = 0.05
    risk: float = 0.05


def calibrated(confidence: ArrayLike, calibration: Calibration) -> Floats:
    """Confidence moved by Platt scaling, which keeps its order."""
    z = calibration.slope * _log_odds(confidence) + calibration.intercept
    return np.asarray(1 / (1 + np.exp(-np.clip(z, -60, 60))))


def fit_confidence(confidence: ArrayLike, right: ArrayLike) -> Calibration:
    """Platt scaling of an AI's confidence by whether it was right.

    `DataError` where it always was, or never: there is nothing to fit.
    """
    if len(set(np.asarray(right).tolist())) == 1:
        raise DataError(
            f"confidence: got an AI that is {'right' if np.all(right) else 'wrong'} in all "
            f"{len(np.asarray(right))} rows of the calibration; expected some of each; give more "
            "cases"
        )
    odds, was = _log_odds(confidence), np.asarray(right, dtype=np.int64)
    fit = fit_calibration(odds, was)
    # Where its slope had to be kept above 0 the intercept no longer fits: the mean must.
    intercept = fit.intercept
    for _ in range(50):
        sure = 1 / (1 + np.exp(-np.clip(fit.slope * odds + intercept, -60, 60)))
        step = (was.mean() - sure.mean()) / max(float((sure * (1 - sure)).mean()), 1e-6)
        intercept += float(np.clip(step, -2, 2))
    return Calibration(slope=fit.slope, intercept=intercept)


def fit_confidence_by_slice(rows: Rows, *, least: int = 100) -> SliceCalibration:
    """Platt scaling apart for each slice with `least` rows (such as each answer that the AI gives:
    it may well be sure of one answer and wrong about another), and one for the rest."""
    names = np.array(rows.slices, dtype=object)
    found = {}
    for name in sorted(set(rows.slices)):
        inside = names == name
        if inside.sum() >= least and 0 < rows.ai[inside].sum() < inside.sum():
            found[name] = fit_confidence(rows.confidence[inside], rows.ai[inside])
    return SliceCalibration(found, fit_confidence(rows.confidence, rows.ai))


@dataclass(frozen=True, slots=True)
class SliceCalibration:
    """Slice -> its calibration; `overall` for the others."""

    slices: Mapping[str, Calibration]
    overall: Calibration

    def __call__(self, rows: Rows) -> Floats:
        """Calibrated confidence of rows."""
        names = np.array(rows.slices, dtype=object)
        moved = calibrated(rows.confidence, self.overall)
        for name, fit in self.slices.items():
            inside = names == name
            moved[inside] = calibrated(rows.confidence[inside], fit)
        return moved


def _log_odds(confidence: ArrayLike) -> Floats:
    sure = np.clip(np.asarray(confidence, dtype=np.float64), 1e-6, 1 - 1e-6)
    return np.asarray(np.log(sure / (1 - sure)))


def hybrid_accuracy(accepted: Bools, ai: Floats, people: Floats) -> float:
    """Share of right answers where the AI answers what is accepted and people the rest."""
    return float(np.where(accepted, ai, people).mean())


def choose_threshold(rows: Rows, objective: Objective | None = None) -> float:
    """T for an objective on these rows; accept the AI where confidence >= T.

    Candidates are the confidences that occur, and infinity (people judge everything). Of equally
    good ones the least, which spares people. For risk only those of a grid of coverages are: the
    best of all bounds that hold by chance would keep its confidence no more.
    """
    aim = objective or Objective()
    order = np.argsort(-rows.confidence, kind="stable")
    sure, ai, people = rows.confidence[order], rows.ai[order], rows.people[order]
    n = len(sure)
    # After accepting the k most confident: k = 0 ... n; k must end where the confidence changes.
    accepted_right = np.concatenate([[0.0], np.cumsum(ai)])
    asked_right = people.sum() - np.concatenate([[0.0], np.cumsum(people)])
    counts = np.array([0, *(k for k in range(1, n + 1) if k == n or sure[k] < sure[k - 1])])
    right = (accepted_right + asked_right)[counts]
    if aim.aim == "accuracy":
        value = right
    elif aim.aim == "cost":
        value = -(aim.error_cost * (n - right) + aim.person_cost * (n - counts))
    elif aim.aim == "risk":
        groups = [rows.groups[place] for place in order]
        trials, errors = _by_group(groups, 1 - ai)
        value = -np.abs(counts - _kept(aim.risk, counts, trials, errors))
    else:
        raise InputError(f"aim: got {aim.aim!r}, expected accuracy, cost or risk")
    best = counts[len(counts) - 1 - int(np.argmax(value[::-1]))]
    return float("inf") if best == 0 else float(sure[best - 1])


def _kept(
    risk: float, counts: NDArray[np.int64], trials: Sequence[int], errors: Sequence[float]
) -> int:
    """The last accepted count of the grid before the first whose errors may exceed `risk`.

    The sequence begins where the bound would hold with `_SPARE` errors (fewer where there are no
    cases for it), which depends on numbers of cases alone: one stray error must not end it.
    """
    spare = next((e for e in range(_SPARE, -1, -1) if _within(risk, trials[-1], e)), None)
    kept = 0
    if spare is None:
        return kept
    for step in range(1, _STEPS + 1):
        wanted = ceil(step * (len(trials) - 1) / _STEPS - 1e-9)
        count = int(counts[np.searchsorted(counts, wanted)])  # equal confidences go together
        if not _within(risk, trials[count], spare):
            continue
        if not _within(risk, trials[count], errors[count]):
            break
        kept = count
    return kept


def _by_group(groups: Sequence[Hashable], wrong: Floats) -> tuple[list[int], list[float]]:
    """Of the first 0, 1 ... n rows: how many groups they are of, and the sum of the groups' shares
    of wrong rows (of a case that several people judged: 0 or 1)."""
    seen: dict[Hashable, tuple[float, int]] = {}
    trials, errors = [0], [0.0]
    for group, is_wrong in zip(groups, wrong.tolist(), strict=True):
        had, rows = seen.get(group, (0.0, 0))
        seen[group] = (had + is_wrong, rows + 1)
        before = had / rows if rows else 0.0
        errors.append(errors[-1] + (had + is_wrong) / (rows + 1) - before)
        trials.append(len(seen))
    return trials, errors


def _within(risk: float, trials: int, errors: float) -> bool:
    """One-sided 95 % upper bound of the error share: exact for whole errors, and safe for parts of
    one, which are rounded up (sums of shares spread less than sums of zeros and ones)."""
    if trials == 0 or errors > trials:
        return trials == 0
    return clopper_pearson(ceil(errors - 1e-6), trials, 0.9).high <= risk


@dataclass(frozen=True, slots=True)
class Deferral:
    """Learned deferral: the AI answers where its confidence is at least people's reliability.

    `people`: slice -> their share of right answers; `overall` for slices that were not seen.
    """

    people: Mapping[str, float]
    overall: float

    def accepts(self, confidence: Floats, slices: Sequence[str]) -> Bools:
        """Which cases the AI answers; `confidence` calibrated."""
        reliable = np.array([self.people.get(name, self.overall) for name in slices])
        return np.asarray(confidence >= reliable)


def fit_deferral(rows: Rows, *, prior: float = 20.0) -> Deferral:
    """People's reliability by slice, drawn towards the overall share as by `prior` more rows."""
    overall = float(rows.people.mean())
    names = np.array(rows.slices, dtype=object)
    found = {}
    for name in sorted(set(rows.slices)):
        theirs = rows.people[names == name]
        found[name] = float((theirs.sum() + prior * overall) / (theirs.size + prior))
    return Deferral(found, overall)


def audit(accepted: ArrayLike, share: float, *, seed: int) -> Bools:
    """Which accepted cases people look at all the same: each with probability `share`."""
    if not 0 <= share <= 1:
        raise InputError(f"audit: got the share {share}, expected 0 to 1")
    taken = np.asarray(accepted, dtype=bool)
    return taken & (np.random.default_rng(seed).random(taken.size) < share)
