"""The figures of a study, from the results of its cells. Knows no model and no page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from custodes.measure import Interval, over_seeds
from custodes.methods.unlearning import measure
from custodes.methods.unlearning.config import Arm, StudyConfig

__all__ = ["ArmFigures", "CurvePoint", "Summary", "summarize"]

Results = Sequence[Mapping[str, Any]]
Table = measure.Table


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """Multiple-choice accuracy on V and on T after so many epochs of relearning."""

    epoch: float
    held: Interval
    taught: Interval


@dataclass(frozen=True, slots=True)
class ArmFigures:
    """One arm. Accuracies are on V unless named otherwise; None where there is no such stage.

    `regained`: accuracy after relearning minus that after the removal, which need not have been
    complete. `recovery` is on the scale of the implanted (or known) model in every arm, controls
    too.
    `over_withheld`, `over_never`: recovery minus that of the control. `neighbors`: the accuracy
    on neighbors that nobody trained on, after the removal minus before. `perplexity`: its ratio.
    """

    arm: Arm
    before: Interval
    removed: Interval | None
    relearned: Interval
    regained: Interval | None
    recovery: Interval
    recovery_cloze: Interval | None
    over_withheld: Interval | None
    over_never: Interval | None
    taught: Interval
    neighbors: Interval | None
    perplexity: Interval | None
    enough: int | None
    curve: tuple[CurvePoint, ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """All arms; `known`: accuracy on V before anything was removed; `known_cloze` likewise.

    `blind`: accuracy on V then, where the question does not say what it is about; None where the
    facts have no such question.
    """

    chance: float
    known: Interval
    known_cloze: Interval | None
    blind: Interval | None
    arms: tuple[ArmFigures, ...]

    def values(self) -> dict[str, Any]:
        """Plain JSON."""

        def plain(value: Any) -> Any:
            if isinstance(value, Interval):
                return value.to_values()
            if isinstance(value, tuple):
                return [plain(one) for one in value]
            if hasattr(value, "__dataclass_fields__"):
                return {name: plain(getattr(value, name)) for name in value.__dataclass_fields__}
            return value

        found: dict[str, Any] = plain(self)
        return found


def summarize(config: StudyConfig, results: Results) -> Summary:
    """Figures of every arm with intervals over seeds and facts."""
    groups: dict[Arm, list[Mapping[str, Any]]] = {
        arm: [one for one in results if one["arm"] == arm] for arm in config.arms
    }
    return _Summing(config, groups).summary()


class _Summing:
    """Tables of an arm, and comparisons with those of the seeds' untouched model."""

    def __init__(
        self, config: StudyConfig, groups: Mapping[Arm, Sequence[Mapping[str, Any]]]
    ) -> None:
        self._resamples = config.resamples
        self._groups = groups
        self._chance = 1 / config.facts.options
        # Every arm but the two controls that never knew begins from the same model.
        first = next(arm for arm in groups if arm not in ("withheld", "never"))
        self._known = self._table(first, "before", "held", "choice")
        self._known_cloze = self._cloze(first, "before")
        guessed = [one["blind"] for one in groups[first]]
        self._blind = None if None in guessed else guessed
        pool = [one["cloze_chance"] for one in groups[first]]
        self._cloze_chance = float(np.mean(pool))

    def summary(self) -> Summary:
        cloze = self._known_cloze
        return Summary(
            self._chance,
            self._mean(self._known),
            None if cloze is None else self._mean(cloze),
            None if self._blind is None else self._mean(self._blind),
            tuple(self._arm(arm) for arm in self._groups),
        )

    def _arm(self, arm: Arm) -> ArmFigures:
        removed = self._groups[arm][0]["removal"] is not None
        after = self._table(arm, "relearned", "held", "choice")
        gone = self._table(arm, "removed", "held", "choice") if removed else None
        cloze = self._cloze(arm, "relearned")
        beside = "removed" if removed else "relearned"
        return ArmFigures(
            arm=arm,
            before=self._mean(self._table(arm, "before", "held", "choice")),
            removed=None if gone is None else self._mean(gone),
            relearned=self._mean(after),
            regained=None
            if gone is None
            else measure.difference(after, gone, resamples=self._resamples),
            recovery=measure.recovery(
                self._known, after, chance=self._chance, resamples=self._resamples
            ),
            recovery_cloze=None
            if cloze is None or self._known_cloze is None
            else measure.recovery(
                self._known_cloze, cloze, chance=self._cloze_chance, resamples=self._resamples
            ),
            over_withheld=self._over(arm, after, "withheld"),
            over_never=self._over(arm, after, "never"),
            taught=self._mean(self._table(arm, "relearned", "taught", "choice")),
            neighbors=measure.difference(
                self._table(arm, beside, "beside", "choice"),
                self._table(arm, "before", "beside", "choice"),
                resamples=self._resamples,
            ),
            perplexity=self._perplexity(arm, beside),
            enough=sum(one["removal"]["enough"] for one in self._groups[arm]) if removed else None,
            curve=self._curve(arm),
        )

    def _over(self, arm: Arm, after: Table, control: Arm) -> Interval | None:
        if control not in self._groups or arm == control:
            return None
        return measure.recovery_over(
            self._known,
            after,
            self._table(control, "relearned", "held", "choice"),
            chance=self._chance,
            resamples=self._resamples,
        )

    def _curve(self, arm: Arm) -> tuple[CurvePoint, ...]:
        found = self._groups[arm]
        return tuple(
            CurvePoint(
                float(found[0]["curve"][n]["epoch"]),
                self._mean([one["curve"][n]["held"] for one in found]),
                self._mean([one["curve"][n]["taught"] for one in found]),
            )
            for n in range(len(found[0]["curve"]))
        )

    def _perplexity(self, arm: Arm, stage: str) -> Interval:
        """Geometric mean of the ratio to before, with Student's t interval over seeds."""
        logs = [
            np.log(one["stages"][stage]["perplexity"] / one["stages"]["before"]["perplexity"])
            for one in self._groups[arm]
        ]
        return _mapped(np.exp, over_seeds(logs))

    def _cloze(self, arm: Arm, stage: str) -> Table | None:
        rows = [one["stages"][stage]["held"]["cloze"] for one in self._groups[arm]]
        return None if any(value is None for row in rows for value in row) else rows

    def _table(self, arm: Arm, stage: str, part: str, figure: str) -> Table:
        return [one["stages"][stage][part][figure] for one in self._groups[arm]]

    def _mean(self, table: Table) -> Interval:
        return measure.accuracy(table, resamples=self._resamples)


def _mapped(function: Callable[[float], Any], interval: Interval) -> Interval:
    parts = (interval.value, interval.low, interval.high)
    return Interval(*(float(function(part)) for part in parts))
