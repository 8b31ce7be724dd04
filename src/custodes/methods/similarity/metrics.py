"""The metric family: how alike two models' answers are, with and without their mistakes in view.

Every metric is two pure functions: `terms` (k numbers a question) and `value` (of their means),
so that a bootstrap, a jackknife or a stream only ever averages terms. CAPA follows "Great Models
Think Alike and this Undermines AI Oversight" (arXiv 2502.04313, section 2 and appendix A).
Knows nothing of files, intervals or many models.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike

from custodes.errors import DataError
from custodes.measure import agreement as raters
from custodes.methods.similarity.answers import (
    Floats,
    Integers,
    Rows,
    check_questions,
    check_rows,
    harden,
    is_level,
    is_one_hot,
    one_hot,
    pad,
)

__all__ = [
    "DEGENERATE",
    "METRICS",
    "Metric",
    "Pair",
    "agreement",
    "agreement_when_both_wrong",
    "capa",
    "chance_corrected",
    "cohen_kappa",
    "error_consistency",
    "error_correlation",
    "find_metric",
    "fleiss_kappa",
    "jensen_shannon",
    "pair_ceiling",
    "scott_pi",
    "self_similarity_ceiling",
]

DEGENERATE = 1e-12
"""Below this, 1 - expected agreement is rounding error and a kappa is NaN."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two models' checked distributions [n, O] on the same questions; build it with `of`."""

    first: Floats
    second: Floats
    labels: Integers
    options: Integers

    @classmethod
    def of(cls, first: Rows, second: Rows, labels: ArrayLike) -> Pair:
        """Check both; `DataError` where they are not distributions over the same options."""
        (a, options), (b, others) = pad(first), pad(second)
        if a.shape != b.shape or (options != others).any():
            raise DataError(
                f"got answers of shapes {a.shape} and {b.shape}; expected the same questions with "
                "the same options from both models"
            )
        gold = np.asarray(labels)
        if gold.dtype.kind not in "iu":
            raise DataError(f"got labels of type {gold.dtype}; expected indices of options")
        gold = gold.astype(np.int64, copy=False)
        check_questions(gold, options, a.shape)
        check_rows(a, options)
        check_rows(b, options)
        return cls(a, b, gold, options)

    def right(self) -> tuple[Floats, Floats]:
        """1.0 where each model's most probable option is the right one, [n] each."""
        return (
            (self.first.argmax(axis=1) == self.labels).astype(np.float64),
            (self.second.argmax(axis=1) == self.labels).astype(np.float64),
        )

    def mass_on_label(self) -> tuple[Floats, Floats]:
        """Probability that each model gives to the right option, [n] each."""
        flat = np.arange(len(self.labels)) * self.first.shape[1] + self.labels
        return self.first.ravel().take(flat), self.second.ravel().take(flat)


@dataclass(frozen=True, slots=True)
class Metric:
    """`terms`: Pair -> [k, n]; `value`: means [..., k] -> [...]."""

    name: str
    title: str
    terms: Callable[[Pair], Floats]
    value: Callable[[Floats], Floats]

    def of(self, pair: Pair) -> float:
        """The metric of one pair; NaN where it is undefined."""
        return float(self.value(self.terms(pair).mean(axis=1)))


def chance_corrected(observed: Floats, expected: Floats) -> Floats:
    """(observed - expected) / (1 - expected); NaN where expected agreement is already certain."""
    room = 1.0 - np.asarray(expected, dtype=np.float64)
    usable = room > DEGENERATE
    gain = np.asarray(observed) - expected
    return np.where(usable, gain / np.where(usable, room, 1.0), np.nan)


def _capa_terms(pair: Pair) -> Floats:
    """Overlap sum_o p1(o)p2(o), p1(y), p2(y), 1/(|O|-1)."""
    overlap = np.einsum("no,no->n", pair.first, pair.second)
    return np.stack([overlap, *pair.mass_on_label(), 1.0 / (pair.options - 1)])


def _capa_means(pair: Pair) -> Floats:
    """The means of `_capa_terms`, several times faster than the terms themselves."""
    overlap = np.vdot(pair.first, pair.second) / len(pair.labels)
    first, second = pair.mass_on_label()
    return np.array([overlap, first.mean(), second.mean(), (1.0 / (pair.options - 1)).mean()])


def _capa_value(means: Floats) -> Floats:
    observed, first, second, wrong = np.moveaxis(means, -1, 0)
    return chance_corrected(observed, first * second + wrong * (1 - first) * (1 - second))


def _discrete_capa_terms(pair: Pair) -> Floats:
    return _capa_terms(Pair(harden(pair.first), harden(pair.second), pair.labels, pair.options))


def _consistency_terms(pair: Pair) -> Floats:
    a, b = pair.right()
    return np.stack([(a == b).astype(np.float64), a, b])


def _consistency_value(means: Floats) -> Floats:
    observed, first, second = np.moveaxis(means, -1, 0)
    return chance_corrected(observed, first * second + (1 - first) * (1 - second))


def _class_terms(pair: Pair) -> Floats:
    """Agreement, then the one-hot choices of both models: [1 + 2 O, n]."""
    a, b = harden(pair.first), harden(pair.second)
    return np.concatenate([(a * b).sum(axis=1)[None], a.T, b.T])


def _cohen_value(means: Floats) -> Floats:
    a, b = np.split(means[..., 1:], 2, axis=-1)
    return chance_corrected(means[..., 0], (a * b).sum(axis=-1))


def _scott_value(means: Floats) -> Floats:
    a, b = np.split(means[..., 1:], 2, axis=-1)
    return chance_corrected(means[..., 0], (((a + b) / 2) ** 2).sum(axis=-1))


def _both_wrong_terms(pair: Pair) -> Floats:
    same = pair.first.argmax(axis=1) == pair.second.argmax(axis=1)
    a, b = pair.right()
    wrong = (1 - a) * (1 - b)
    return np.stack([wrong * same, wrong])


def _ratio(means: Floats) -> Floats:
    part, whole = np.moveaxis(means, -1, 0)
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1.0), np.nan)


def _agreement_terms(pair: Pair) -> Floats:
    same = pair.first.argmax(axis=1) == pair.second.argmax(axis=1)
    return np.asarray(same.astype(np.float64)[None])


def _only(means: Floats) -> Floats:
    return means[..., 0]


def _divergence_terms(pair: Pair) -> Floats:
    """Jensen-Shannon divergence a question, in bits: 0 alike to 1 disjoint."""
    middle = (pair.first + pair.second) / 2

    def relative_entropy(p: Floats) -> Floats:
        ratio = np.where(p > 0, p / np.where(middle > 0, middle, 1.0), 1.0)
        return np.asarray((p * np.log2(ratio)).sum(axis=1))

    divergence = (relative_entropy(pair.first) + relative_entropy(pair.second)) / 2
    return np.maximum(divergence, 0.0)[None]  # rounding may leave -1e-17


def _correlation_terms(pair: Pair) -> Floats:
    a, b = pair.right()
    return np.stack([a, b, a * b])


def _correlation_value(means: Floats) -> Floats:
    a, b, both = np.moveaxis(means, -1, 0)
    spread = a * (1 - a) * b * (1 - b)
    usable = spread > DEGENERATE
    return np.where(usable, (both - a * b) / np.sqrt(np.where(usable, spread, 1.0)), np.nan)


def _of_choices(
    name: str,
    title: str,
    terms: Callable[[Pair], Floats],
    value: Callable[[Floats], Floats],
) -> Metric:
    """A metric of the questions that both models choose an option of.

    Whether they do is one more term, by whose mean the others are divided: a level row, an answer
    that was not given, is no choice of the first option.
    """

    def of_chosen(pair: Pair) -> Floats:
        level = is_level(pair.first, pair.options) | is_level(pair.second, pair.options)
        chosen = (~level).astype(np.float64)[None]
        return np.concatenate([terms(pair) * chosen, chosen])

    def of_means(means: Floats) -> Floats:
        share = means[..., -1:]
        return value(means[..., :-1] / np.where(share > 0, share, np.nan))

    return Metric(name, title, of_chosen, of_means)


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        metric.name: metric
        for metric in (
            Metric("capa", "CAPA κp, probabilistic", _capa_terms, _capa_value),
            _of_choices("capa-discrete", "CAPA κ, discrete", _discrete_capa_terms, _capa_value),
            _of_choices(
                "error-consistency", "error consistency", _consistency_terms, _consistency_value
            ),
            _of_choices("cohen", "Cohen's κ", _class_terms, _cohen_value),
            _of_choices("scott", "Scott's π", _class_terms, _scott_value),
            _of_choices("agreement", "agreement", _agreement_terms, _only),
            _of_choices("both-wrong", "agreement when both are wrong", _both_wrong_terms, _ratio),
            Metric("jensen-shannon", "Jensen-Shannon divergence", _divergence_terms, _only),
            _of_choices(
                "error-correlation", "Pearson of errors", _correlation_terms, _correlation_value
            ),
        )
    }
)
"""name -> metric. All take soft rows; every one but `capa` and `jensen-shannon` hardens them,
and leaves out the questions where either row is level (favors no option)."""


def find_metric(name: str) -> Metric:
    """The metric of that name; `DataError` names those that there are."""
    if name not in METRICS:
        raise DataError(f"got the metric {name!r}; expected one of {', '.join(METRICS)}")
    return METRICS[name]


def capa(first: Rows, second: Rows, labels: ArrayLike, *, soft: bool = True) -> float:
    """Chance-adjusted probabilistic agreement κp (arXiv 2502.04313, equations 1 to 4).

    c_obs = mean_x sum_o p1(o) p2(o); p_m = mean_x p_m(y); f = mean_x 1/(|O(x)| - 1);
    c_exp = p1 p2 + f (1 - p1)(1 - p2); κp = (c_obs - c_exp) / (1 - c_exp).
    NaN where both are perfect (c_exp = 1). `soft=False` is the discrete form; it takes one-hot
    rows only, because a soft-max vector there gives a number that means nothing: `harden` first.
    κp(a, a) is below 1 for soft a; see `self_similarity_ceiling`.
    """
    pair = Pair.of(first, second, labels)
    if not soft and not (is_one_hot(pair.first) and is_one_hot(pair.second)):
        raise DataError(
            "discrete CAPA got soft rows; expected one-hot rows. Use soft=True, or harden() the "
            "rows first"
        )
    return float(_capa_value(_capa_means(pair)))


def self_similarity_ceiling(first: Rows, second: Rows, labels: ArrayLike) -> float:
    """The κp that the pair would have at the largest overlap its sharpness allows.

    By Cauchy and Schwarz c_obs <= sqrt(c_obs(a,a) c_obs(b,b)); for a pair (a, a) it is κp(a, a).
    It is 1 for one-hot rows of equal accuracy bounds, and lower the softer the rows are.
    """
    return pair_ceiling(Pair.of(first, second, labels))


def pair_ceiling(pair: Pair) -> float:
    """`self_similarity_ceiling` of a checked pair."""
    means = _capa_means(pair)
    norms = [float(np.vdot(rows, rows)) for rows in (pair.first, pair.second)]
    means[0] = np.sqrt(norms[0] * norms[1]) / len(pair.labels)
    return float(_capa_value(means))


def error_consistency(first: Rows, second: Rows, labels: ArrayLike) -> float:
    """Cohen's κ of being right (Geirhos et al. 2020, arXiv 2006.16736, equations 1 to 3)."""
    return METRICS["error-consistency"].of(Pair.of(first, second, labels))


def cohen_kappa(first: Rows, second: Rows, labels: ArrayLike) -> float:
    """Cohen's κ of the choices; the labels only have to be valid."""
    return METRICS["cohen"].of(Pair.of(first, second, labels))


def scott_pi(first: Rows, second: Rows, labels: ArrayLike) -> float:
    """Scott's π of the choices: chance from the pooled marginals."""
    return METRICS["scott"].of(Pair.of(first, second, labels))


def agreement(first: Rows, second: Rows, labels: ArrayLike) -> float:
    """Share of equal choices, not corrected for anything."""
    return METRICS["agreement"].of(Pair.of(first, second, labels))


def agreement_when_both_wrong(first: Rows, second: Rows, labels: ArrayLike) -> float:
    """Share of equal choices where both are wrong (Kim et al., arXiv 2506.07962); NaN if never."""
    return METRICS["both-wrong"].of(Pair.of(first, second, labels))


def jensen_shannon(first: Rows, second: Rows, labels: ArrayLike) -> float:
    """Mean Jensen-Shannon divergence in bits: 0 for equal rows, 1 for disjoint ones."""
    return METRICS["jensen-shannon"].of(Pair.of(first, second, labels))


def error_correlation(first: Rows, second: Rows, labels: ArrayLike) -> float:
    """Pearson (phi) of being wrong; NaN where a model is always or never right."""
    return METRICS["error-correlation"].of(Pair.of(first, second, labels))


def fleiss_kappa(choices: ArrayLike) -> float:
    """Fleiss' κ of M >= 2 models' choices [M, n]; with two models it is Scott's π."""
    table = np.asarray(choices)
    if table.ndim != 2 or len(table) < 2 or not table.shape[1] or table.dtype.kind not in "iu":
        raise DataError(
            f"got choices of shape {table.shape} and type {table.dtype}; expected integers "
            "[models, questions] of at least two models"
        )
    if table.min() < 0:
        raise DataError("got a negative choice; expected indices of options")
    counts = one_hot(table, int(table.max()) + 1).sum(axis=0)
    return raters.fleiss_kappa(counts)
