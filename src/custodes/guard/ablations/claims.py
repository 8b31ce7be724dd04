"""What the papers say of their ablations, and what an interval measured here says of that.

A claim compares two arms on one table. Recall at the budget of false refusals is the papers'
measure turned round (attack success = 1 - recall); AUROC is the same question without a threshold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from custodes.guard.ablations.bench import Arm
from custodes.guard.ablations.config import AblationsConfig
from custodes.measure import Interval, auroc, bootstrap, bootstrap_difference, recall_at_fpr

__all__ = ["MARGIN", "METRICS", "Claim", "Labelled", "difference", "level", "verdict"]

Metric = Literal["recall", "AUROC"]
METRICS: tuple[Metric, ...] = ("recall", "AUROC")
MARGIN = 0.03
"""What may be lost where a paper says that nothing is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """`statement` is the paper's, `source` where it stands; it holds if `arm` has more of the
    metric than `against` on `table`, or, with `no_worse`, not less by more than `MARGIN`."""

    statement: str
    source: str
    arm: str
    against: str
    table: str
    no_worse: bool = False


@dataclass(frozen=True, slots=True)
class Labelled:
    """A table as the bootstrap needs it."""

    labels: NDArray[np.int64]
    groups: Sequence[str]


def _mean_recall(budget: float, labels: Any, *scores: Any) -> float:
    return float(np.mean([recall_at_fpr(labels, each, budget) for each in scores]))


def _mean_area(labels: Any, *scores: Any) -> float:
    return float(np.mean([auroc(labels, each) for each in scores]))


def _statistic(metric: Metric, budget: float) -> Callable[..., float]:
    return _mean_area if metric == "AUROC" else partial(_mean_recall, budget)


def level(
    metric: Metric, arm: Arm, name: str, table: Labelled, *, config: AblationsConfig
) -> Interval:
    """The metric of an arm, averaged over its seeds; the interval resamples groups of rows."""
    return bootstrap(
        _statistic(metric, config.budget),
        table.labels,
        *arm.scores[name],
        groups=table.groups,
        seed=config.seed,
        resamples=config.resamples,
    )


def difference(
    metric: Metric, arms: tuple[Arm, Arm], name: str, table: Labelled, *, config: AblationsConfig
) -> Interval:
    """The first arm's metric less the second's, on the same rows in each resample, mean of the
    fits. The interval is widened until it holds every fit's own difference: what the rows that
    were measured leave open, and what those that were trained on do."""
    first, second = ((table.labels, *arm.scores[name]) for arm in arms)
    statistic = _statistic(metric, config.budget)
    found = bootstrap_difference(
        statistic,
        first,
        second,
        groups=table.groups,
        seed=config.seed,
        resamples=config.resamples,
    )
    pairs = zip(arms[0].scores[name], arms[1].scores[name], strict=True)
    fits = [statistic(table.labels, one) - statistic(table.labels, other) for one, other in pairs]
    return Interval(found.value, min(found.low, *fits), max(found.high, *fits))


def verdict(claim: Claim, gain: Interval, against: Interval, *, chance: float) -> str:
    """agrees, does not, or cannot tell: from intervals alone.

    `against`: what the second arm reaches. Where that is no more than chance, nothing was there to
    be lost, and a claim that nothing is lost cannot be told.
    """
    least = -MARGIN if claim.no_worse else 0.0
    if claim.no_worse and not against.low > chance + MARGIN:
        return "cannot tell"
    if gain.low > least:
        return "agrees"
    if gain.high < least:
        return "does not"
    return "cannot tell"
