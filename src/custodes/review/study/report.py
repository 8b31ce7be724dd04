"""A study's page: what was pre-registered first, then what else there is to see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from custodes.measure import Interval, Prose, Report, Section, Table
from custodes.measure.report import Cell
from custodes.review.arms import Arm
from custodes.review.reliance import accuracy_by_arm, reliance, switches
from custodes.review.study.analysis import (
    calibration_by_arm,
    contrast,
    excluded,
    mixed_logit,
)
from custodes.review.study.protocol import Protocol
from custodes.review.trials import Trial, usable

__all__ = ["SIMULATED", "study_report"]

SIMULATED = "SIMULATED RATERS: nothing here is about people."
_SIGNED = "+.3f"


def study_report(
    trials: Sequence[Trial],
    protocol: Protocol,
    *,
    checks: Mapping[str, float] | None = None,
    items_sha256: str = "",
) -> Report:
    """Everything that the protocol asks for, and the exploratory rest under its own heading.

    `items_sha256`: of the file of items; empty where trials came without it.
    """
    kept, out = excluded(trials, protocol, dict(checks or {}))
    kept = usable(kept)
    made_up = any(trial.simulated for trial in kept)
    left_out = ", ".join(f"{n} ({why})" for why, n in out.items()) or "none"
    summary = (
        f"{len(kept):,} trials of {len({t.rater for t in kept})} raters on "
        f"{len({t.item for t in kept})} items; left out by the protocol: {left_out}."
    )
    sections = [_confirmatory(kept, protocol), *_exploratory(kept, protocol)]
    if made_up:
        summary = f"{SIMULATED} {summary}"
        sections = [
            Section(f"{section.title} (simulated raters)", section.blocks) for section in sections
        ]
    title = f"Study {protocol.name}" + (" (simulated raters)" if made_up else "")
    facts: dict[str, Cell] = {
        "protocol": protocol.fingerprint(items_sha256),
        "items": items_sha256 or "trials of a file",
        "seed": protocol.seed,
        "simulated": made_up,
    }
    return Report(title, summary, sections, facts)


def _confirmatory(trials: Sequence[Trial], protocol: Protocol) -> Section:
    number = max(1, len(protocol.contrasts))
    level = 1 - (1 - protocol.level) / number
    found = [contrast(trials, each, level=level, seed=protocol.seed) for each in protocol.contrasts]
    rows: list[list[Cell]] = [
        [f"{f.contrast.arm} against {f.contrast.against}", f.contrast.where.replace("_", " "),
         f.contrast.expects.replace("_", " "), f.difference, f.holds, f.trials]
        for f in found
    ]  # fmt: skip
    if not rows:
        return Section("Confirmatory", [Prose("The protocol names no contrast.")])
    caption = (
        f"Difference in accuracy; {number} contrasts share the level {protocol.level:.0%} "
        "(Bonferroni). Intervals resample raters and items; where an arm's answers are all alike "
        "they are exact, and the fewer of raters and items count."
    )
    columns = ["contrast", "where", "expected", "difference", "holds", "trials"]
    return Section("Confirmatory", [Table(columns, rows, caption, _SIGNED)])


def _exploratory(trials: Sequence[Trial], protocol: Protocol) -> list[Section]:
    seed = protocol.seed
    accuracy: list[list[Cell]] = [
        [arm, sum(t.arm == arm for t in trials), share, _seconds(trials, arm)]
        for arm, share in accuracy_by_arm(trials, seed=seed).items()
    ]
    changed: list[list[Cell]] = [
        [s.arm, s.rair, s.could_gain, s.rsr, s.could_lose] for s in switches(trials, seed=seed)
    ]
    honest: list[list[Cell]] = [
        [c.arm, c.brier, c.calibration_error, c.trials]
        for c in calibration_by_arm(trials, seed=seed)
    ]
    return [
        Section("Accuracy by arm", [
            Table(["arm", "trials", "accuracy", "median seconds"], accuracy,
                  "Intervals resample items; where all answers are alike they are exact, and the "
                  "fewer of raters and items count."),
        ]),
        Section("Reliance", [
            _relied(trials, seed),
            *([Table(["arm", "RAIR", "could gain", "RSR", "could lose"], changed,
                     "By switches from first answers.")] if changed else []),
        ]),
        Section("Mixed logit", [_fitted(trials)]),
        Section("Confidence", [
            Table(["who", "Brier", "calibration error", "judgments"], honest),
        ]),
    ]  # fmt: skip


def _relied(trials: Sequence[Trial], seed: int) -> Table | Prose:
    if not any(trial.arm == Arm.NONE for trial in trials):
        return Prose(
            "Not measured: the study has no arm without help (none) to hold the others against."
        )
    rows: list[list[Cell]] = [
        [r.arm, r.when_right, r.under, r.when_wrong, _reads(r.when_wrong)]
        for r in reliance(trials, seed=seed)
    ]
    return Table(
        ["arm", "gain where the AI is right", "under-reliance", "loss where it is wrong", "reads"],
        rows,
        "Against the arm without help. Under-reliance: what is still missing to 1 where the AI is "
        "right. A loss below 0 where it is wrong is over-reliance.",
        _SIGNED,
    )


def _fitted(trials: Sequence[Trial]) -> Table | Prose:
    if len({trial.right for trial in trials}) < 2:
        return Prose("Not fitted: all answers are right, or all are wrong.")
    fit = mixed_logit(trials)
    return Table(
        ["term", "log-odds"],
        [[name, term] for name, term in fit.terms.items()],
        f"Arms are held against {fit.reference}. Random effects: items {fit.spread['item']:.2f}, "
        f"raters {fit.spread['rater']:.2f} (standard deviations). Practice is in hundreds of "
        "trials. Variational Bayes; its intervals tend to be narrow.",
        _SIGNED,
    )


def _seconds(trials: Sequence[Trial], arm: str) -> float:
    import numpy as np

    taken = [t.seconds for t in trials if t.arm == arm and t.seconds == t.seconds]
    return float(np.median(taken)) if taken else float("nan")


def _reads(wrong: Interval) -> str:
    if wrong.high < 0:
        return "over-reliance"
    return "no over-reliance seen" if wrong.low > -0.05 else "undecided"
