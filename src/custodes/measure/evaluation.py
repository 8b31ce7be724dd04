"""One scorer on one table of labels: every figure that makes sense, overall and slice by slice.

Ranking figures and calibration carry bootstrap intervals (by group where groups are given);
rates at the threshold carry exact ones, which take rows as independent. A slice with one class
gives only that class's rate. Where scores come from, and where the report goes, is not known here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from custodes.errors import InputError
from custodes.measure.arrays import BoolArray, FloatArray, labels_and, same_length
from custodes.measure.bootstrap import interval_of, resample
from custodes.measure.calibration import brier, calibration_gaps
from custodes.measure.intervals import Interval, clopper_pearson
from custodes.measure.leak import LeakSummary, summarize_leaks
from custodes.measure.ranking import auprc, auroc
from custodes.measure.rates import f1_at, recall_at_fpr

__all__ = ["LEVEL", "RESAMPLES", "Evaluation", "Replies", "Slice", "evaluate"]

LEVEL = 0.95
"""The level of every interval."""

RESAMPLES = 1000
"""Bootstrap resamples a slice."""

Statistic = Callable[[BoolArray, FloatArray, BoolArray], float]
"""Labels, scores, and which rows are flagged -> figure."""


@dataclass(frozen=True, slots=True, eq=False)
class Replies:
    """What became of streamed replies, row by row: for the leak before the stop.

    `stop_at`: characters released when the reply was cut, None where it never was. `onset`: where
    the harm begins (0: the whole reply). `length`: characters of the whole reply; None where a
    row has no streamed reply, and it is left out.
    """

    stop_at: Sequence[int | None]
    length: Sequence[int | None]
    onset: Sequence[int] | None = None


@dataclass(frozen=True, slots=True)
class Slice:
    """The figures of some rows. `by` names the column, `name` its value; both empty: all rows.

    `metrics` may hold auroc, auprc, recall, false_refusal_rate, f1, calibration_error, brier,
    recall_at_fpr_1% and recall_at_fpr_0.1%: those that the rows can bear.
    """

    by: str
    name: str
    rows: int
    harmful: int
    metrics: Mapping[str, Interval]
    leak: LeakSummary | None = None

    def to_values(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "by": self.by,
            "name": self.name,
            "rows": self.rows,
            "harmful": self.harmful,
            "metrics": {name: figure.to_values() for name, figure in self.metrics.items()},
            "leak": self.leak.to_values() if self.leak else None,
        }


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """A whole evaluation; `slices` in the order of the columns given, names sorted."""

    threshold: float
    seed: int
    grouped: bool
    overall: Slice
    slices: tuple[Slice, ...]
    labels: BoolArray = field(repr=False)
    scores: FloatArray = field(repr=False)

    def to_values(self) -> dict[str, Any]:
        """Plain JSON, without the rows."""
        return {
            "threshold": self.threshold if math.isfinite(self.threshold) else None,
            "level": LEVEL,
            "resamples": RESAMPLES,
            "seed": self.seed,
            "grouped": self.grouped,
            "overall": self.overall.to_values(),
            "slices": [part.to_values() for part in self.slices],
        }


def evaluate(  # noqa: PLR0913 - each says something else of the same rows
    labels: ArrayLike,
    scores: ArrayLike,
    threshold: float,
    *,
    by: Mapping[str, Sequence[str | None]] | None = None,
    groups: Sequence[Hashable] | None = None,
    seed: int,
    replies: Replies | None = None,
    flagged: Sequence[bool] | None = None,
) -> Evaluation:
    """Measure scores against labels (1 harmful, 0 benign) at a threshold.

    `flagged`: what recall, false refusals and F1 count, where that is not what reaches the
    threshold.

    `by`: columns to slice by (set, rule, transform...), one name a row; None: in no slice.
    `groups`: rows of one group are drawn together by the bootstrap. Calibration is measured only
    where all scores lie in [0, 1]; recall at a false-positive rate f only with 1/f benign rows.
    """
    truth, values = labels_and(labels, scores)
    if math.isnan(threshold):
        raise InputError("threshold: got NaN, expected the score from which a row is flagged")
    columns: dict[str, Sequence[Any]] = {"labels": range(truth.size), **(by or {})}
    columns |= {} if groups is None else {"groups": groups}
    columns |= {} if flagged is None else {"flagged": flagged}
    columns |= _columns_of(replies)
    same_length(columns)
    counted = values >= threshold if flagged is None else np.array(flagged, dtype=bool)
    table = _Table(truth, values, counted, groups, replies, seed)
    return Evaluation(
        threshold=threshold,
        seed=seed,
        grouped=groups is not None,
        overall=table.measure("", "", np.arange(truth.size)),
        slices=tuple(
            table.measure(column, name, rows)
            for column, names in (by or {}).items()
            for name, rows in _rows_by_name(names)
        ),
        labels=truth,
        scores=values,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """The rows, checked, and how to measure some of them."""

    labels: BoolArray
    scores: FloatArray
    flagged: BoolArray
    groups: Sequence[Hashable] | None
    replies: Replies | None
    seed: int

    def measure(self, by: str, name: str, rows: NDArray[np.int64]) -> Slice:
        labels = self.labels[rows]
        return Slice(
            by=by,
            name=name,
            rows=rows.size,
            harmful=int(labels.sum()),
            metrics=self._rates(rows) | self._resampled(rows),
            leak=self._leak(rows[labels]),
        )

    def _rates(self, rows: NDArray[np.int64]) -> dict[str, Interval]:
        flagged = self.flagged[rows]
        labels = self.labels[rows]
        classes = {"recall": labels, "false_refusal_rate": ~labels}
        return {
            name: clopper_pearson(int(flagged[of].sum()), int(of.sum()), LEVEL)
            for name, of in classes.items()
            if of.any()
        }

    def _resampled(self, rows: NDArray[np.int64]) -> dict[str, Interval]:
        """Every figure that needs both classes, all from the same resamples."""
        rows = rows[np.argsort(self.scores[rows], kind="stable")]  # sorted once, not in each draw
        labels, scores, flagged = self.labels[rows], self.scores[rows], self.flagged[rows]
        if labels.all() or not labels.any():
            return {}
        statistics, probable = self._statistics(labels), self._probable

        def all_of(truth: BoolArray, values: FloatArray, stopped: BoolArray) -> list[float]:
            gaps = calibration_gaps(truth, values).tolist() if probable else []
            return [*(each(truth, values, stopped) for each in statistics.values()), *gaps]

        groups = None if self.groups is None else [self.groups[row] for row in rows]
        columns = (labels, scores, flagged)
        draws = resample(all_of, *columns, groups=groups, seed=self.seed, resamples=RESAMPLES)
        found, first = all_of(*columns), len(statistics)
        drawn = zip(statistics, found, draws.T, strict=False)
        figures = {name: interval_of(value, of, level=LEVEL) for name, value, of in drawn}
        if probable:
            error = _calibration_error(np.array(found[first:]), draws[:, first:])
            figures["calibration_error"] = error
        return figures

    @property
    def _probable(self) -> bool:
        """Whether the scores can be probabilities."""
        return bool(self.scores.min() >= 0 and self.scores.max() <= 1)

    def _statistics(self, labels: BoolArray) -> dict[str, Statistic]:
        chosen: dict[str, Statistic] = {
            "auroc": lambda truth, values, _: auroc(truth, values),
            "auprc": lambda truth, values, _: auprc(truth, values),
            # As recall and false refusals: of what was flagged, which the threshold may not tell.
            "f1": lambda truth, _, stopped: f1_at(truth, stopped, 1.0),
        }
        benign = int((~labels).sum())
        if benign >= 100:
            chosen["recall_at_fpr_1%"] = lambda truth, values, _: recall_at_fpr(truth, values, 0.01)
        if benign >= 1000:
            chosen["recall_at_fpr_0.1%"] = lambda truth, values, _: recall_at_fpr(
                truth, values, 0.001
            )
        if self._probable:
            chosen["brier"] = lambda truth, values, _: brier(truth, values)
        return chosen

    def _leak(self, harmful: NDArray[np.int64]) -> LeakSummary | None:
        if self.replies is None:
            return None
        replies = self.replies
        kept = [int(row) for row in harmful if replies.length[row] is not None]
        if not kept:
            return None
        onset = [0 if replies.onset is None else replies.onset[row] for row in kept]
        stop_at = [replies.stop_at[row] for row in kept]
        length = np.array([replies.length[row] for row in kept], dtype=np.float64)
        return summarize_leaks(stop_at, onset, length, level=LEVEL)


def _calibration_error(gaps: FloatArray, draws: FloatArray) -> Interval:
    """The sum of the sizes of the gaps [bins], and how far it can be off; `draws`: [resamples,
    bins].

    Chance adds to a sum of sizes, and to a resample's once more: quantiles of that lie too high,
    even reflected. But it is off by no more than its gaps together (triangle inequality).
    """
    value = float(np.abs(gaps).sum())
    reach = float(np.quantile(np.abs(draws - gaps).sum(axis=1), LEVEL))
    return Interval(value, max(value - reach, 0.0), min(value + reach, 1.0))


def _columns_of(replies: Replies | None) -> dict[str, Sequence[Any]]:
    if replies is None:
        return {}
    columns = {"stop_at": replies.stop_at, "length": replies.length, "onset": replies.onset}
    return {name: column for name, column in columns.items() if column is not None}


def _rows_by_name(names: Sequence[str | None]) -> list[tuple[str, NDArray[np.int64]]]:
    found: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        if name is not None:
            found.setdefault(name, []).append(row)
    return [(name, np.array(rows, dtype=np.int64)) for name, rows in sorted(found.items())]
