"""Which overseers to put together: panels of accurate judges that err differently, and warnings.

Works on any members that give distributions: guard stages, judges, reviewers. Knows no model.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

from custodes.errors import DataError
from custodes.methods.similarity.answers import Answers, Floats, rightness
from custodes.methods.similarity.matrix import Similarities, similarities

__all__ = ["Likeness", "Panel", "binary_answers", "choose_panel", "likeness", "warnings_of"]

_EXHAUSTIVE = 200_000
_NO_ROOM = 1e-9
"""A ceiling below this is what rounding leaves of none: level answers allow no κp but 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """k members; `vote_accuracy` is that of their mean distribution on the same questions.

    It was chosen on those questions, so confirm it on others.
    """

    members: tuple[str, ...]
    accuracy: float
    similarity: float
    vote_accuracy: float
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """A judge and a judged: κp, the ceiling that their sharpness allows, and κp as its share."""

    judge: str
    judged: str
    value: float
    ceiling: float
    share: float
    alike: bool

    def __str__(self) -> str:
        return (
            f"{self.judge} and {self.judged} err alike: κp {self.value:.3f}, {self.share:.0%} of "
            f"the ceiling {self.ceiling:.3f}. Expect {self.judge} to favor {self.judged} and to "
            "miss the mistakes that they share; take another judge or add one that errs differently"
        )


def binary_answers(harm: Mapping[str, ArrayLike], labels: ArrayLike) -> Answers:
    """Members that score harm with probabilities [n] (guard stages, reviewers) as answers."""
    rows = {}
    for name, values in harm.items():
        probability = np.asarray(values, dtype=np.float64)
        if probability.ndim != 1 or not ((probability >= 0) & (probability <= 1)).all():
            raise DataError(f"{name}: expected probabilities of harm in [0, 1], one a question")
        rows[name] = np.stack([1 - probability, probability], axis=1)
    return Answers.of(rows, labels)


def choose_panel(
    answers: Answers, members: int, *, weight: float = 0.5, metric: str = "capa"
) -> Panel:
    """The k members of greatest mean accuracy - weight x mean pairwise similarity.

    All subsets where there are at most 200,000, else greedy with exchanges until none helps. A
    similarity that is undefined (both perfect) counts as 0.
    """
    count = len(answers.names)
    if not 2 <= members <= count:
        raise DataError(f"members: got {members} of {count} models, expected 2 to {count}")
    accuracy = answers.accuracy()
    alike = np.nan_to_num(similarities(answers, (metric,)).matrix(metric))
    np.fill_diagonal(alike, 0.0)
    if math.comb(count, members) <= _EXHAUSTIVE:
        best = max(
            combinations(range(count), members), key=lambda c: _score(c, accuracy, alike, weight)
        )
    else:
        best = _greedy(members, accuracy, alike, weight)
    rows = list(best)
    vote = rightness(answers.probabilities[rows].mean(axis=0), answers.labels, answers.options)
    return Panel(
        members=tuple(answers.names[row] for row in rows),
        accuracy=float(accuracy[rows].mean()),
        similarity=_mean_pair(rows, alike),
        vote_accuracy=float(vote.mean()),
        score=_score(best, accuracy, alike, weight),
    )


def _mean_pair(rows: Sequence[int], alike: Floats) -> float:
    return float(alike[np.ix_(rows, rows)].sum() / (len(rows) * (len(rows) - 1)))


def _score(rows: Sequence[int], accuracy: Floats, alike: Floats, weight: float) -> float:
    mean = float(accuracy[list(rows)].mean())
    return mean - weight * _mean_pair(rows, alike) if len(rows) > 1 else mean


def _greedy(members: int, accuracy: Floats, alike: Floats, weight: float) -> tuple[int, ...]:
    everyone = range(len(accuracy))
    chosen: list[int] = []
    while len(chosen) < members:
        rest = [row for row in everyone if row not in chosen]
        chosen.append(max(rest, key=lambda row: _score([*chosen, row], accuracy, alike, weight)))
    while True:
        swaps = [
            [*chosen[:at], row, *chosen[at + 1 :]]
            for at in range(members)
            for row in everyone
            if row not in chosen
        ]
        best = max(swaps, key=lambda rows: _score(rows, accuracy, alike, weight), default=chosen)
        if _score(best, accuracy, alike, weight) <= _score(chosen, accuracy, alike, weight) + 1e-12:
            return tuple(sorted(chosen))
        chosen = best


def likeness(found: Similarities, judge: str, judged: str, *, above: float = 0.5) -> Likeness:
    """How alike a judge and a judged are; `alike` where κp is more than `above` of its ceiling."""
    for name in (judge, judged):
        if name not in found.names:
            raise DataError(f"got the model {name!r}; expected one of {', '.join(found.names)}")
    if found.ceiling is None:
        raise DataError("the ceiling needs the metric 'capa'; compute it too")
    row, column = found.names.index(judge), found.names.index(judged)
    value, ceiling = float(found.matrix("capa")[row, column]), float(found.ceiling[row, column])
    share = value / ceiling if ceiling > _NO_ROOM else math.nan
    return Likeness(
        judge=judge, judged=judged, value=value, ceiling=ceiling, share=share, alike=share > above
    )


def warnings_of(
    found: Similarities, judges: Iterable[str], *, above: float = 0.5
) -> tuple[Likeness, ...]:
    """Every judge and other model that are alike, most alike first."""
    pairs = [
        likeness(found, judge, other, above=above)
        for judge in judges
        for other in found.names
        if other != judge
    ]
    return tuple(sorted((pair for pair in pairs if pair.alike), key=lambda pair: -pair.share))
