"""Which classifiers belong together: chosen by how little their errors have in common.

CC++ (arXiv 2601.04603) averages logits of a probe and an external classifier and finds that a pair
of lesser members does better where their errors are less correlated (Spearman). Of two logits with
within-class covariance S and distance d between the class means, the weights S^-1 d make the
average that separates best (Fisher 1936), by sqrt(d' S^-1 d) standard deviations: correlation
enters there, beside how good each member is alone.

Pair and weights are chosen on one half of the groups of rows and measured on the other half.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from custodes.errors import DataError
from custodes.measure import Interval, auprc, auroc, bootstrap, bootstrap_difference, recall_at_fpr

__all__ = [
    "Chosen",
    "Pair",
    "Scored",
    "choose_pair",
    "error_correlation",
    "pairs",
    "ranking",
    "two_best",
]

Floats = NDArray[np.float64]
_RIDGE = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """N rows with what each member says of them: `logits` by member, [N] each; `labels` [N]."""

    labels: NDArray[np.int64]
    logits: Mapping[str, Floats]
    groups: Sequence[str]

    def of(self, rows: NDArray[np.bool_]) -> Scored:
        """Some of the rows."""
        return Scored(
            labels=self.labels[rows],
            logits={name: values[rows] for name, values in self.logits.items()},
            groups=[group for group, kept in zip(self.groups, rows, strict=True) if kept],
        )

    def half(self, seed: int) -> NDArray[np.bool_]:
        """Which rows, [N], are in the first of two parts that share no group: it follows from a
        group's name. `DataError` where a part has one label alone."""
        first = np.array([_bit(group, seed) for group in self.groups])
        for part in (first, ~first):
            if len(np.unique(self.labels[part])) < 2:
                raise DataError(
                    f"ensemble: got {len(self.labels)} rows, of which one half has one label "
                    "alone; give more rows of both labels"
                )
        return first


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two members: `correlation` of their errors, `weights` of their logits (summing to 1, as
    deployed) and `separation`, the distance of the class means in standard deviations."""

    names: tuple[str, str]
    correlation: float
    weights: tuple[float, float]
    separation: float

    def combined(self, scored: Scored) -> Floats:
        """The weighted mean of both logits, [N]."""
        return sum(
            (w * scored.logits[name] for w, name in zip(self.weights, self.names, strict=True)),
            np.zeros(len(scored.labels)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What was chosen on one half, and what it comes to on the other.

    `by_scores`: the pair of the two best single members, with equal weights. `figures`: AUPRC,
    AUROC and recall at the budget, by name of member or combination; `over_best`: how far the
    chosen pair's AUPRC is ahead of the best single member's (best on the first half).
    """

    pairs: Sequence[Pair]
    chosen: Pair
    by_scores: Pair
    best: str
    figures: Mapping[str, Mapping[str, Interval]]
    over_best: Interval
    rows: tuple[int, int]


def error_correlation(labels: NDArray[np.int64], first: Floats, second: Floats) -> float:
    """Spearman's correlation of two members' errors: of what is left of their logits' ranks when
    the mean of each class is taken off. NaN where a member says the same of every row."""
    from scipy.stats import rankdata

    residuals = []
    for logits in (first, second):
        ranks = rankdata(logits)
        for label in np.unique(labels):
            ranks[labels == label] -= ranks[labels == label].mean()
        residuals.append(ranks)
    one, other = residuals
    scale = float(np.sqrt((one**2).sum() * (other**2).sum()))
    return float((one * other).sum() / scale) if scale else float("nan")


def pairs(scored: Scored) -> list[Pair]:
    """Every pair of members, the one that separates best first."""
    if len(scored.logits) < 2:
        raise DataError(f"ensemble: got {len(scored.logits)} members, expected at least two")
    found = [_pair(scored, names) for names in combinations(scored.logits, 2)]
    return sorted(found, key=lambda pair: -pair.separation)


def ranking(scored: Scored) -> list[str]:
    """The members by AUPRC, the best first."""
    alone = {name: auprc(scored.labels, values) for name, values in scored.logits.items()}
    return sorted(alone, key=lambda name: -alone[name])


def two_best(scored: Scored) -> Pair:
    """The two best single members with equal weights; its separation is that of the best ones."""
    best = set(ranking(scored)[:2])
    pair = next(pair for pair in pairs(scored) if set(pair.names) == best)
    return replace(pair, weights=(0.5, 0.5))


def choose_pair(scored: Scored, *, budget: float, seed: int, resamples: int = 500) -> Chosen:
    """Choose on half of the groups, measure on the others."""
    half = scored.half(seed)
    first, second = scored.of(half), scored.of(~half)
    found = pairs(first)
    ranked = ranking(first)
    equal = two_best(first)
    scores = {**second.logits, "chosen pair": found[0].combined(second)}
    scores["two best alone, equal weights"] = equal.combined(second)
    figures = {
        name: _figures(second, values, budget=budget, seed=seed, resamples=resamples)
        for name, values in scores.items()
    }
    over = bootstrap_difference(
        auprc,
        (second.labels, scores["chosen pair"]),
        (second.labels, scores[ranked[0]]),
        groups=second.groups,
        seed=seed,
        resamples=resamples,
    )
    return Chosen(
        pairs=found,
        chosen=found[0],
        by_scores=equal,
        best=ranked[0],
        figures=figures,
        over_best=over,
        rows=(len(first.labels), len(second.labels)),
    )


def _figures(
    scored: Scored, values: Floats, *, budget: float, seed: int, resamples: int
) -> dict[str, Interval]:
    def recall(labels: Floats, scores: Floats) -> float:
        return recall_at_fpr(labels, scores, budget)

    measures = {"AUPRC": auprc, "AUROC": auroc, "recall": recall}
    return {
        name: bootstrap(
            measure,
            scored.labels,
            values,
            groups=scored.groups,
            seed=seed,
            resamples=resamples,
        )
        for name, measure in measures.items()
    }


def _pair(scored: Scored, names: tuple[str, str]) -> Pair:
    logits = np.stack([scored.logits[name] for name in names])
    harmful = scored.labels == 1
    apart = logits[:, harmful].mean(axis=1) - logits[:, ~harmful].mean(axis=1)
    within = np.zeros((2, 2))
    for part in (harmful, ~harmful):
        within += np.cov(logits[:, part], bias=True) / 2
    within += _RIDGE * np.trace(within) / 2 * np.eye(2)
    weights = np.linalg.solve(within, apart)
    if (weights <= 0).any():
        # One member is no help beside the other: the better one alone.
        alone = apart / np.sqrt(np.diag(within))
        weights = np.where(np.arange(2) == int(np.argmax(alone)), 1.0, 0.0)
    weights = weights / weights.sum()
    spread = float(np.sqrt(weights @ within @ weights))
    separation = float(weights @ apart) / spread if spread else 0.0
    return Pair(
        names=names,
        correlation=error_correlation(scored.labels, *logits),
        weights=(float(weights[0]), float(weights[1])),
        separation=separation,
    )


def _bit(group: str, seed: int) -> bool:
    return bool(hashlib.sha256(f"{seed}\0{group}".encode("utf-8", "surrogatepass")).digest()[0] & 1)
