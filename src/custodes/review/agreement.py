"""How far raters agree, with intervals; mostly computed by the libraries of the field.

Krippendorff's alpha (krippendorff), Cohen's kappa (statsmodels), Dawid and Skene's estimate of the
truth and of each rater (crowd-kit). Gwet's AC1 and AC2 and the general form of Fleiss' kappa are
written here, for want of a library that fits.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from custodes.errors import DataError, MissingExtraError
from custodes.measure import Interval, interval_of, resample
from custodes.review.shares import Share

__all__ = [
    "Agreement",
    "ItemSplit",
    "RaterScore",
    "Ratings",
    "agreement",
    "drift",
    "fleiss",
    "gwet",
    "item_splits",
    "rater_scores",
    "truth_by_dawid_skene",
]

Floats = NDArray[np.float64]
Level = Literal["nominal", "ordinal"]


@dataclass(frozen=True, slots=True)
class Ratings:
    """(item, rater, answer), one a pair of item and rater, oldest first; `answers` in their order
    (which only ordinal figures look at)."""

    rows: Sequence[tuple[str, str, str]]
    answers: tuple[str, ...]

    def __post_init__(self) -> None:
        if strange := sorted({answer for _, _, answer in self.rows} - set(self.answers)):
            raise DataError(
                f"ratings: got {', '.join(strange)}, expected {', '.join(self.answers)}"
            )
        if len({row[:2] for row in self.rows}) < len(self.rows):
            raise DataError("ratings: a rater judged an item twice; expected one rating a pair")

    def counts(self) -> tuple[NDArray[np.int64], list[str]]:
        """Items x answers: how many gave each; and the items."""
        held: dict[str, Counter[str]] = defaultdict(Counter)
        for item, _, answer in self.rows:
            held[item][answer] += 1
        items = list(held)
        table = [[held[item][answer] for answer in self.answers] for item in items]
        return np.array(table, dtype=np.int64).reshape(len(items), len(self.answers)), items


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Figures over all items that two people judged; NaN where they are not defined."""

    observed: Interval
    alpha: Interval
    fleiss: Interval
    ac1: Interval
    ac2: Interval
    cohen: Mapping[tuple[str, str], Interval]
    items: int
    raters: int


def agreement(
    ratings: Ratings, *, seed: int = 0, level: Level = "nominal", pairs: int = 15
) -> Agreement:
    """Every figure; `pairs`: at most so many pairs of raters, those with most items in common.

    Intervals resample items; those of Cohen's kappa are asymptotic (statsmodels). Where neither
    shows any variation (everybody agrees) a coefficient has no interval, and the share of equal
    answers Clopper and Pearson's over items.
    """
    counts, _ = ratings.counts()
    twice = int((counts.sum(axis=1) > 1).sum())
    if not twice:
        raise DataError("agreement: no item was judged by two people")
    return Agreement(
        observed=Share(
            value=_observed(counts),
            draws=resample(_observed, counts, seed=seed, resamples=500),
            units=twice,
        ).interval(),
        alpha=_bootstrapped(lambda table: _alpha(table, level), counts, seed),
        fleiss=_bootstrapped(fleiss, counts, seed),
        ac1=_bootstrapped(gwet, counts, seed),
        ac2=_bootstrapped(lambda table: gwet(table, ordinal=True), counts, seed),
        cohen=_cohen(ratings, pairs),
        items=twice,
        raters=len({rater for _, rater, _ in ratings.rows}),
    )


def _bootstrapped(
    statistic: Callable[[NDArray[np.int64]], float], counts: NDArray[np.int64], seed: int
) -> Interval:
    draws = resample(statistic, counts, seed=seed, resamples=500)
    return _with_width(interval_of(statistic(counts), draws))


def _with_width(found: Interval) -> Interval:
    """No interval where it has no width: few items that all agree do not show that all would."""
    return found if found.low < found.high else Interval(found.value, math.nan, math.nan)


def _observed(counts: NDArray[np.int64]) -> float:
    return _paired(counts, np.eye(counts.shape[1]))


def _alpha(counts: NDArray[np.int64], level: Level) -> float:
    twice = counts[counts.sum(axis=1) > 1]  # a single rating of an item pairs with none
    if (twice.sum(axis=0) > 0).sum() < 2:
        return math.nan  # only one answer was ever given: 0/0
    krippendorff = _library("krippendorff")
    return float(
        krippendorff.alpha(
            value_counts=counts,
            value_domain=list(range(counts.shape[1])),
            level_of_measurement=level,
        )
    )


def gwet(counts: NDArray[np.int64], *, ordinal: bool = False) -> float:
    """Gwet's AC1 (2008), or AC2 with ordinal weights; items with one rating count for chance only.

    `counts`: items x answers. NaN where no item has two ratings or one answer alone is possible.
    Ours, since irrcac 0.4.4 pins scipy 1.12 and divides by one category too many where a rating
    is missing (0.78553 on its own example, for which Gwet publishes 0.77544).
    """
    weights = _ordinal_weights(counts.shape[1]) if ordinal else np.eye(counts.shape[1])
    share = _shares(counts)
    q = len(share)
    if q < 2:
        return math.nan
    chance = weights.sum() * float((share * (1 - share)).sum()) / (q * (q - 1))
    return _beyond(_paired(counts, weights), chance)


def fleiss(counts: NDArray[np.int64]) -> float:
    """Fleiss' kappa (1971) as Gwet (2014) generalizes it to items with few or many ratings."""
    share = _shares(counts)
    return _beyond(_paired(counts, np.eye(len(share))), float((share**2).sum()))


def _shares(counts: NDArray[np.int64]) -> Floats:
    """Mean share of each answer over items."""
    return np.asarray((counts / counts.sum(axis=1, keepdims=True)).mean(axis=0))


def _paired(counts: NDArray[np.int64], weights: Floats) -> float:
    """Weighted share of pairs of one item's ratings that agree, mean over items with two."""
    n = counts.sum(axis=1)
    table, n = counts[n > 1], n[n > 1]
    if not len(n):
        return math.nan
    alike = (table * (table @ weights.T - 1)).sum(axis=1) / (n * (n - 1))
    return float(alike.mean())


def _ordinal_weights(q: int) -> Floats:
    """1 minus pairs of categories between two, as a share of all pairs (Gwet 2014, section 3.5)."""
    apart = np.abs(np.subtract.outer(np.arange(q), np.arange(q)))
    return np.asarray(1 - (apart + 1) * apart / (q * (q - 1)))


def _beyond(observed: float, chance: float) -> float:
    return math.nan if chance > 1 - 1e-12 else (observed - chance) / (1 - chance)


def _cohen(ratings: Ratings, most: int) -> dict[tuple[str, str], Interval]:
    from statsmodels.stats.inter_rater import cohens_kappa

    by_rater: dict[str, dict[str, int]] = defaultdict(dict)
    for item, rater, answer in ratings.rows:
        by_rater[rater][item] = ratings.answers.index(answer)
    shared = {
        (one, two): sorted(by_rater[one].keys() & by_rater[two].keys())
        for one, two in combinations(sorted(by_rater), 2)
    }
    chosen = sorted((pair for pair in shared if len(shared[pair]) > 4),
                    key=lambda pair: -len(shared[pair]))[:most]  # fmt: skip
    found = {}
    for one, two in chosen:
        table = np.zeros((len(ratings.answers),) * 2)
        for item in shared[one, two]:
            table[by_rater[one][item], by_rater[two][item]] += 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            kappa = cohens_kappa(table)
        found[one, two] = _with_width(
            Interval(float(kappa.kappa), float(kappa.kappa_low), float(kappa.kappa_upp))
        )
    return found


@dataclass(frozen=True, slots=True)
class ItemSplit:
    """An item that people disagree about: answer -> how many gave it."""

    item: str
    given: Mapping[str, int]
    disagreement: float


def item_splits(ratings: Ratings, limit: int = 20) -> list[ItemSplit]:
    """The items with the largest share of pairs of ratings that differ."""
    counts, items = ratings.counts()
    found = []
    for item, row in zip(items, counts, strict=True):
        n = int(row.sum())
        if n < 2:
            continue
        apart = 1 - float((row * (row - 1)).sum()) / (n * (n - 1))
        if apart > 0:
            given = {a: int(k) for a, k in zip(ratings.answers, row, strict=True) if k}
            found.append(ItemSplit(item, given, apart))
    return sorted(found, key=lambda each: (-each.disagreement, -sum(each.given.values())))[:limit]


@dataclass(frozen=True, slots=True, kw_only=True)
class RaterScore:
    """One rater: ratings, agreement with the others on the same items, accuracy on checks,
    agreement with the AI; NaN where there is nothing.

    Intervals of `others` resample items, since a rater who is wrong about one is so with all
    colleagues at once; the other two are Wilson's, an item being one trial."""

    rater: str
    ratings: int
    others: Interval
    gold: Interval
    ai: Interval


def rater_scores(
    ratings: Ratings, *, gold: Mapping[str, str], ai: Mapping[str, str], seed: int = 0
) -> list[RaterScore]:
    """Every rater, the busiest first; `gold`, `ai`: item -> answer; `seed`: of the bootstrap."""
    by_item: dict[str, dict[str, str]] = defaultdict(dict)
    for item, rater, answer in ratings.rows:
        by_item[item][rater] = answer
    found = []
    for rater, number in Counter(row[1] for row in ratings.rows).most_common():
        mine = {item: given[rater] for item, given in by_item.items() if rater in given}
        others = [
            [answer == mine[item] for name, answer in by_item[item].items() if name != rater]
            for item in mine
        ]
        found.append(
            RaterScore(
                rater=rater,
                ratings=number,
                others=_by_item([each for each in others if each], seed),
                gold=_share([mine[item] == gold[item] for item in mine if item in gold]),
                ai=_share([mine[item] == ai[item] for item in mine if item in ai]),
            )
        )
    return found


def _by_item(equal: Sequence[Sequence[bool]], seed: int) -> Interval:
    """The share of all comparisons that agree; a row is an item's."""
    if not equal:
        return Interval(math.nan, math.nan, math.nan)

    def share(agreed: Floats, asked: Floats) -> float:
        return float(agreed.sum() / asked.sum())

    columns = [
        np.array([float(sum(row)) for row in equal]),
        np.array([float(len(row)) for row in equal]),
    ]
    draws = resample(share, *columns, seed=seed, resamples=500)
    return Share(value=share(*columns), draws=draws, units=len(equal)).interval()


def _share(right: Sequence[bool]) -> Interval:
    from custodes.measure import wilson

    if not right:
        return Interval(math.nan, math.nan, math.nan)
    return wilson(sum(right), len(right))


def drift(rows: Sequence[tuple[float, bool]], *, windows: int = 8) -> list[tuple[float, Interval]]:
    """Agreement over time: (middle of a window, share that agreed) over windows of equal counts.

    `rows`: (when, whether it agreed), in any order.
    """
    ordered = sorted(rows)
    parts = [part for part in np.array_split(np.arange(len(ordered)), windows) if len(part)]
    return [
        (ordered[part[len(part) // 2]][0], _share([ordered[at][1] for at in part]))
        for part in parts
    ]


def truth_by_dawid_skene(ratings: Ratings) -> tuple[dict[str, str], dict[str, float]]:
    """(item -> most probable answer, rater -> estimated share of right answers).

    Dawid and Skene (1979) by expectation maximization. It rests on raters erring independently.
    """
    import pandas as pd

    dawid_skene = _library("crowdkit.aggregation").DawidSkene
    frame = pd.DataFrame(
        {
            "task": [row[0] for row in ratings.rows],
            "worker": [row[1] for row in ratings.rows],
            "label": [row[2] for row in ratings.rows],
        }
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = dawid_skene(n_iter=100)
        labels = model.fit_predict(frame)
    shares = model.priors_
    quality = {}
    for rater, table in model.errors_.groupby(level=0):
        inner: Any = table.droplevel(0)
        quality[str(rater)] = float(
            sum(inner.loc[a, a] * shares.get(a, 0.0) for a in inner.index if a in inner.columns)
        )
    return {str(item): str(label) for item, label in labels.items()}, quality


def _library(name: str) -> Any:
    from importlib import import_module

    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or name, "review") from error
