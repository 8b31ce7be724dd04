"""Calibrate a guard: probabilities, escalation and thresholds from rows it was not trained on.

Per stage and mode, Platt scaling makes logits comparable; per stage, escalation is a quantile of
benign traffic; per mode, a stage that may speak alone is given its share of the false-refusal
budget, and the threshold is the one that keeps the budget.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from custodes.classifiers import (
    CachedFeatures,
    LabelledRow,
    PromptedScorer,
    Scorer,
    Threshold,
    TokenScorer,
    benign_rows_needed,
    fit_calibration,
    labelled_rows,
    sample_rows,
    save_scorer,
    threshold_for_budget,
)
from custodes.classifiers.artifact import features_of
from custodes.classifiers.scorer import Calibration
from custodes.config import Config
from custodes.errors import ArtifactError, ConfigError, DataError
from custodes.guard.cascade import Cascade, Stage
from custodes.guard.folder import Manifest, constitution_of, find_guard, load_guard, save_guard
from custodes.guard.guard import Guard
from custodes.guard.recalibrated import Calibrated, as_before, dropped, order_of
from custodes.guard.refusals import Heard, hear, over_budget, refusals
from custodes.guard.repolicy import changed
from custodes.types import Example, Mode

__all__ = ["CalibrationConfig", "CalibrationReport", "calibrate_guard"]


@dataclass(frozen=True, slots=True)
class CalibrationReport:
    """What calibration found, mode by mode."""

    thresholds: Mapping[Mode, Threshold]
    """What was set; `refused` and `rate` are of the texts that the guard stops, by its whole
    policy."""
    over: Mapping[Mode, str]
    """Where a rule's own threshold makes the guard stop more than the budget: how many, and which
    rule."""
    spared: Mapping[Mode, int]
    """Where there are any: benign texts that reach the mode's threshold and are let through, as the
    policy has it for their rule."""
    skipped: Mapping[Mode, str]
    """Why a mode kept what it had: its threshold, and the probabilities that this is one of."""
    alone: Mapping[str, tuple[Mode, ...]]
    """Stage -> modes in which it may speak alone now."""
    dropped: tuple[str, ...]
    """What held for the old probabilities alone and was not set anew."""
    manifest: Manifest


Share = Annotated[float, Field(gt=0, lt=1)]


class CalibrationConfig(Config):
    """What calibration aims at."""

    budget: float = 0.01
    """Share of benign texts that may be stopped, in each mode that has enough of them."""
    most_rows: int | None = Field(default=None, ge=1)
    """At most so many of the examples' rows in each mode."""
    escalate: Mapping[str, Share | None] = Field(default_factory=dict)
    """Stage -> share of benign texts that it passes on to the next; not named: all."""
    alone: Mapping[str, Share] = Field(default_factory=dict)
    """Stage -> share of the budget that it may spend by speaking alone (see `Stage`), in modes with
    enough benign texts; not named: it is averaged in."""
    stages: tuple[str, ...] = ()
    """Which stages, in which order, and what they pass on is as `escalate` says; none named: those
    that there are, as they stand."""
    modes: tuple[Mode, ...] = ()
    """Only the thresholds of these modes are set; none named: of all that have enough benign texts.
    Only without examples: those change the probabilities of every mode."""


def calibrate_guard(
    source: str | Path,
    examples: Sequence[Example],
    config: CalibrationConfig,
    *,
    folder: Path,
    benign: Sequence[Example] = (),
    cache: Path | None = None,
    policy: Mapping[str, Any] | None = None,
) -> CalibrationReport:
    """Write a calibrated copy of the guard `source` to `folder` (which may be the same place).

    `examples`: rows that training did not see, benign and harmful. `benign`: ordinary traffic;
    where a mode has enough of it the threshold is set on it alone, else on the benign rows of
    `examples`. Without examples only thresholds are set, on `benign`, and what `config` names:
    probabilities, and what else the stages were given, stay. A mode whose threshold cannot be set
    anew keeps its probabilities, too, and who may speak alone in it: a threshold means nothing on
    others. `cache` keeps dense features between calibrations. `policy`: settings of the guard's
    policy that are replaced, but for thresholds of modes. `DataError` where no mode has enough
    benign rows; the message says how many are needed.
    """
    found = find_guard(source)
    guard = changed(load_guard(found), policy or {}, beside_rows=True)
    chosen = _chosen(guard.cascade, config.stages)
    _check_stages(chosen, config)
    by_mode, ordinary = _rows(examples, benign, config)
    stages = [
        _stage(stage, by_mode, ordinary, config, cache=cache, last=stage is chosen[-1])
        for stage in chosen
    ]
    cascade = Cascade(stages)
    enough = benign_rows_needed(config.budget) if 0 < config.budget < 1 and by_mode else 0
    pools = by_mode | {mode: rows for mode, rows in ordinary.items() if len(rows) >= enough}
    cascade = _speaking_alone(cascade, pools, config)
    # New probabilities of the stages leave nothing that the old ones' average was calibrated for.
    anew = _refitted(by_mode)
    combined = {mode: one for mode, one in guard.calibration.items() if mode not in anew}
    thresholds, heard, skipped = _thresholds(cascade, pools, config.budget, combined)
    cascade = _alone_within(cascade, thresholds, config)
    stay = set(guard.policy.thresholds) - set(thresholds)
    cascade = as_before(cascade, guard.cascade, stay)
    combined |= {mode: one for mode, one in guard.calibration.items() if mode in stay}
    other = order_of(cascade) != order_of(guard.cascade)
    for mode in sorted(stay):
        # Else nobody asked for it, and it is as it was.
        if mode in skipped or other or not config.modes:
            why = skipped.get(mode, "no benign texts of it were given")
            why += "; its threshold was set for other stages or escalation" if other else ""
            skipped[mode] = why
    found_now = {mode: one.score for mode, one in thresholds.items()}
    settled = guard.policy.model_copy(
        update={"thresholds": {**guard.policy.thresholds, **found_now}}
    )
    calibrated = guard.replace(cascade=cascade, policy=settled, calibration=combined)
    judged = {mode: refusals(calibrated, heard[mode], one) for mode, one in thresholds.items()}
    over = {mode: over_budget(one, settled, config.budget) for mode, one in judged.items()}
    return CalibrationReport(
        thresholds={mode: one.threshold for mode, one in judged.items()},
        over={mode: why for mode, why in over.items() if why is not None},
        spared={mode: one.spared for mode, one in judged.items() if one.spared},
        skipped=skipped,
        alone={s.scorer.name: tuple(s.alone) for s in cascade.stages if s.alone},
        dropped=tuple(
            dropped(cascade, guard.cascade, named=bool(config.stages), alone=config.alone)
        ),
        manifest=_rewrite(found, folder, calibrated),
    )


def _rows(
    examples: Sequence[Example], benign: Sequence[Example], config: CalibrationConfig
) -> tuple[dict[Mode, list[LabelledRow]], dict[Mode, list[LabelledRow]]]:
    """The examples' rows and ordinary traffic's, by mode; `DataError` where there are none."""
    if examples and config.modes:
        raise ConfigError(
            f"modes: got {', '.join(config.modes)} and examples, which change every mode's "
            "probabilities; leave out one of them"
        )
    by_mode = {
        mode: sample_rows(rows, config.most_rows)
        for mode, rows in _by_mode(labelled_rows(examples)).items()
    }
    if examples and not by_mode:
        raise DataError("calibration: got no labelled rows, expected benign and harmful ones")
    wanted = config.modes or tuple(Mode)
    ordinary = _by_mode([row for row in labelled_rows(benign, wanted) if row.label == 0])
    if not examples and not ordinary:
        raise DataError(
            f"calibration: got no benign texts that are judged as {', '.join(wanted)}; prompts are "
            "as input, replies as exchange (behind their request) and output"
        )
    return by_mode, ordinary


def _stage(
    stage: Stage,
    by_mode: Mapping[Mode, list[LabelledRow]],
    ordinary: Mapping[Mode, list[LabelledRow]],
    config: CalibrationConfig,
    *,
    cache: Path | None,
    last: bool,
) -> Stage:
    """The stage anew by the examples; without them as it is, but for what the settings name."""
    scorer = _remembering(stage.scorer, cache)
    above, alone = stage.escalate_above, stage.alone
    if by_mode:
        scorer, above = _calibrated(scorer, by_mode), None
        anew = _refitted(by_mode)
        alone = {mode: value for mode, value in alone.items() if mode not in anew}
    share = config.escalate.get(scorer.name)
    if share is not None and not last:
        above = _quantile(_benign_logits(scorer, by_mode or ordinary), share, name=scorer.name)
    if scorer.name in config.alone:
        alone = {}
    return Stage(scorer=scorer, weight=stage.weight, escalate_above=above, alone=alone)


def _by_mode(rows: Sequence[LabelledRow]) -> dict[Mode, list[LabelledRow]]:
    by_mode = {mode: [row for row in rows if row.judged.mode is mode] for mode in Mode}
    return {mode: own for mode, own in by_mode.items() if own}


def _remembering(scorer: Scorer, cache: Path | None) -> Calibrated:
    """The scorer with its dense features kept in the cache."""
    if isinstance(scorer, PromptedScorer):
        return scorer
    if not isinstance(scorer, TokenScorer):
        raise ArtifactError(f"stage {scorer.name}: has no features, so it cannot be calibrated")
    features = scorer.features
    if cache is not None and features.cached:
        features = CachedFeatures(features, cache)
    return dataclasses.replace(scorer, features=features)


def _rewrite(source: Path, folder: Path, guard: Guard) -> Manifest:
    """Write the guard with its scorers, the rest of its folder as it was."""
    with tempfile.TemporaryDirectory(prefix="custodes-") as work:
        places = {}
        for stage in guard.cascade.stages:
            scorer, name = stage.scorer, stage.scorer.name
            places[name] = Path(work) / name
            if isinstance(scorer, PromptedScorer):
                scorer.save(places[name])
            elif isinstance(scorer, TokenScorer):
                save_scorer(scorer, places[name], features=features_of(source / "stages" / name))
        card = (source / "card.md").read_text(encoding="utf-8")
        rules = constitution_of(source)
        return save_guard(folder, guard, scorers=places, card=card, constitution=rules)


def _refitted(by_mode: Mapping[Mode, list[LabelledRow]]) -> set[Mode]:
    """Modes that have both classes, of which alone probabilities can be fitted."""
    return {mode for mode, rows in by_mode.items() if len({row.label for row in rows}) == 2}


def _calibrated(scorer: Calibrated, by_mode: Mapping[Mode, list[LabelledRow]]) -> Calibrated:
    """The scorer with Platt scaling anew where a mode has both classes."""
    bare = dataclasses.replace(scorer, calibration={})
    fits = dict(scorer.calibration)
    for mode in _refitted(by_mode):
        rows = by_mode[mode]
        if mode in scorer.modes:
            labels = np.array([row.label for row in rows])
            points = bare.score([row.judged.conversation for row in rows], mode)
            fits[mode] = fit_calibration(np.array([point.logit for point in points]), labels)
    return dataclasses.replace(scorer, calibration=fits)


def _benign_logits(
    scorer: Calibrated, by_mode: Mapping[Mode, list[LabelledRow]]
) -> NDArray[np.float64]:
    """Of all benign rows that the scorer judges."""
    found = [
        point.logit
        for mode, rows in by_mode.items()
        if mode in scorer.modes
        for point in scorer.score([r.judged.conversation for r in rows if r.label == 0], mode)
    ]
    return np.array(found)


def _thresholds(
    cascade: Cascade,
    pools: Mapping[Mode, list[LabelledRow]],
    budget: float,
    combined: Mapping[Mode, Calibration],
) -> tuple[dict[Mode, Threshold], dict[Mode, Heard], dict[Mode, str]]:
    """Thresholds of the modes that have enough benign rows, what was heard of these, and why the
    others have none."""
    thresholds: dict[Mode, Threshold] = {}
    heard: dict[Mode, Heard] = {}
    skipped: dict[Mode, str] = {}
    for mode, rows in pools.items():
        try:
            heard[mode] = hear(cascade, rows, mode)
            found = threshold_for_budget(
                heard[mode].worst,
                budget,
                served=combined.get(mode, Calibration()).probability,
            )
            if found.score > 1:
                raise DataError(
                    f"false-refusal budget {budget}: more of {found.rows} benign rows than it "
                    "allows have a probability of harm of 1, which no threshold tells apart; give "
                    "a larger budget, or train on benign rows like these"
                )
            thresholds[mode] = found
        except DataError as error:
            skipped[mode] = str(error)
    if not thresholds:
        raise DataError("; ".join(f"{mode}: {why}" for mode, why in skipped.items()))
    return thresholds, heard, skipped


def _chosen(cascade: Cascade, names: Sequence[str]) -> Sequence[Stage]:
    """The stages named, in that order; all, where none is."""
    if not names:
        return cascade.stages
    known = {stage.scorer.name: stage for stage in cascade.stages}
    if len(set(names)) < len(names) or not set(names) <= set(known):
        raise ConfigError(
            f"stages: got {', '.join(names)}; expected some of {', '.join(known)}, each once"
        )
    return [dataclasses.replace(known[name], escalate_above=None) for name in names]


def _check_stages(stages: Sequence[Stage], config: CalibrationConfig) -> None:
    names = [stage.scorer.name for stage in stages]
    for setting, given in (("alone", config.alone), ("escalate", config.escalate)):
        if unknown := sorted(set(given) - set(names)):
            raise ConfigError(
                f"{setting}: got {', '.join(unknown)}; expected stages: {', '.join(names)}"
            )
    if (spent := sum(config.alone.values())) >= 1:
        raise ConfigError(
            f"alone: got shares of the budget that sum to {spent:g}, expected less than 1: what is "
            "left is for all stages together"
        )
    if config.escalate.get(names[-1]) is not None:
        raise ConfigError(f"escalate: got {names[-1]}, the last stage: none follows; name another")
    if config.alone and not 0 < config.budget < 1:
        raise ConfigError(f"budget: got {config.budget}, expected a share between 0 and 1")


def _speaking_alone(
    cascade: Cascade, pools: Mapping[Mode, list[LabelledRow]], config: CalibrationConfig
) -> Cascade:
    """The cascade whose named stages reach its threshold alone as often as their share allows.

    The shares only set what the stages' words weigh against each other: the threshold, which is
    set afterwards on what all say together, keeps the budget.
    """
    if not config.alone:
        return cascade
    offsets: dict[str, dict[Mode, float]] = {name: {} for name in config.alone}
    left = config.budget * (1 - sum(config.alone.values()))
    needed = benign_rows_needed(config.budget)
    for mode, rows in pools.items():
        if sum(row.label == 0 for row in rows) < needed:
            continue  # its threshold cannot be set either
        together = hear(cascade, rows, mode).worst
        for stage in cascade.stages:
            share = config.alone.get(stage.scorer.name, 0.0) * config.budget
            if stage.judges(mode) and share * len(together) >= 1:
                itself = Cascade([dataclasses.replace(stage, escalate_above=None)])
                own = hear(itself, rows, mode).worst
                offset = np.quantile(together, 1 - left) - np.quantile(own, 1 - share)
                if np.isfinite(offset):
                    offsets[stage.scorer.name][mode] = float(offset)
    return Cascade(
        [dataclasses.replace(s, alone=offsets.get(s.scorer.name, s.alone)) for s in cascade.stages]
    )


def _alone_within(
    cascade: Cascade, thresholds: Mapping[Mode, Threshold], config: CalibrationConfig
) -> Cascade:
    """The cascade without words of the stages named that no threshold was set for; `DataError`
    where none is left of one."""
    stages = []
    for stage in cascade.stages:
        if stage.scorer.name not in config.alone:
            stages.append(stage)
            continue
        alone = {mode: value for mode, value in stage.alone.items() if mode in thresholds}
        if not alone:
            share = config.alone[stage.scorer.name] * config.budget
            raise DataError(
                f"alone: stage {stage.scorer.name}: its share is {share:.4%} of benign texts, and "
                "no mode that it judges has a threshold and as many as make one; give more benign "
                "rows or a larger share"
            )
        stages.append(dataclasses.replace(stage, alone=alone))
    return Cascade(stages)


def _quantile(benign: NDArray[np.float64], share: float, *, name: str) -> float:
    """The logit that this share of the benign ones lies above."""
    if len(benign) == 0:
        raise DataError(
            f"escalate: got no benign rows of a mode that stage {name} judges, expected some"
        )
    return float(np.quantile(benign, 1.0 - share))
