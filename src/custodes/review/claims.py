"""Real votes on claims: Climate-FEVER's pairs of claim and evidence, and an AI rater for them.

Diggelmann et al. 2020 (arXiv 2012.00614): each pair was judged by two to five people as SUPPORTS,
REFUTES or NOT_ENOUGH_INFO. The AI rater is a linear model of words, trained on other claims'
votes; it reads nothing but the two texts.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from custodes.data.tables import iterate_lines
from custodes.errors import DataError
from custodes.review.routing import Rows

__all__ = ["ANSWERS", "Pair", "Rater", "judge_by_folds", "left_out_rows", "read_pairs"]

ANSWERS = ("SUPPORTS", "REFUTES", "NOT_ENOUGH_INFO")
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A claim, one sentence of evidence, and what each person voted (indices of `ANSWERS`)."""

    claim_id: str
    claim: str
    evidence: str
    article: str
    votes: tuple[int, ...]


def read_pairs(path: Path) -> list[Pair]:
    """Every pair of the file that somebody voted on."""
    pairs = []
    for place, record in iterate_lines(path):
        try:
            for each in record["evidences"]:
                votes = tuple(ANSWERS.index(vote) for vote in each["votes"] if vote is not None)
                pairs.append(
                    Pair(
                        claim_id=str(record["claim_id"]),
                        claim=record["claim"],
                        evidence=each["evidence"],
                        article=each["article"],
                        votes=votes,
                    )
                )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{place}: {error!r}; expected a claim of Climate-FEVER with its evidences"
            ) from None
    return [pair for pair in pairs if pair.votes]


class Rater:
    """The AI rater: multinomial logistic regression on words of claim and evidence and on how
    far they overlap, fitted to the shares of votes."""

    def __init__(self, *, strength: float = 1.0) -> None:
        self._strength = strength

    def fit(self, pairs: Sequence[Pair]) -> Rater:
        """Learn from votes; a pair counts once, split between the answers it got."""
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression

        options: dict[str, Any] = {"sublinear_tf": True, "min_df": 2, "ngram_range": (1, 2)}
        self._claims = TfidfVectorizer(**options).fit([pair.claim for pair in pairs])
        self._evidence = TfidfVectorizer(**options).fit([pair.evidence for pair in pairs])
        self._shared = TfidfVectorizer(min_df=1).fit(
            [text for pair in pairs for text in (pair.claim, pair.evidence)]
        )
        counts = [Counter(pair.votes) for pair in pairs]
        rows = [row for row, count in enumerate(counts) for _ in count]
        labels = [label for count in counts for label in count]
        weights = [n / sum(count.values()) for count in counts for n in count.values()]
        self._model = LogisticRegression(C=self._strength, max_iter=300)
        self._model.fit(self._table(pairs)[rows], labels, sample_weight=weights)
        return self

    def probabilities(self, pairs: Sequence[Pair]) -> Floats:
        """[pairs, answers]."""
        found = np.zeros((len(pairs), len(ANSWERS)))
        found[:, self._model.classes_] = self._model.predict_proba(self._table(pairs))
        return found

    def _table(self, pairs: Sequence[Pair]) -> Any:
        from scipy.sparse import csr_matrix, hstack

        claims = [pair.claim for pair in pairs]
        evidence = [pair.evidence for pair in pairs]
        one, two = self._shared.transform(claims), self._shared.transform(evidence)
        near = np.asarray(one.multiply(two).sum(axis=1))[:, 0]
        dense = np.array([_overlap(pair) for pair in pairs])
        dense = np.column_stack([near, near**2, dense])
        parts = [self._claims.transform(claims), self._evidence.transform(evidence),
                 one.multiply(two), csr_matrix(dense)]  # fmt: skip
        return hstack(parts).tocsr()


_WORD = re.compile(r"\w+")
_NUMBER = re.compile(r"\d[\d.,]*")
_NEGATION = re.compile(
    r"\b(no|not|never|none|without|cannot|isn't|aren't|doesn't|don't|didn't|won't|hardly|false|"
    r"myth|wrong|contrary|however|despite|although)\b"
)


def _overlap(pair: Pair) -> list[float]:
    """How the two texts are alike, each about 0 to 1."""
    claim, evidence = pair.claim.casefold(), pair.evidence.casefold()
    ours, theirs = set(_WORD.findall(claim)), set(_WORD.findall(evidence))
    numbers = set(_NUMBER.findall(claim))
    negated = bool(_NEGATION.search(claim)), bool(_NEGATION.search(evidence))
    return [
        len(ours & theirs) / max(1, len(ours)),
        len(ours & theirs) / max(1, len(ours | theirs)),
        len(ours & set(_WORD.findall(pair.article.casefold()))) / max(1, len(ours)),
        min(1.0, len(evidence) / 400),
        min(1.0, len(claim) / 400),
        float(negated[0]),
        float(negated[1]),
        float(negated[0] != negated[1]),
        float(bool(numbers)),
        len(numbers & set(_NUMBER.findall(evidence))) / max(1, len(numbers)),
    ]


def folds_of(claims: Sequence[str], count: int, *, seed: int) -> NDArray[np.int64]:
    """The fold of each pair; a claim is never cut."""
    names = sorted(set(claims))
    if len(names) < count:
        raise DataError(f"folds: got {len(names)} claims, expected at least {count}")
    place = np.random.default_rng(seed).permutation(len(names)) % count
    fold = dict(zip(names, place.tolist(), strict=True))
    return np.array([fold[name] for name in claims])


def judge_by_folds(
    pairs: Sequence[Pair], *, folds: int, seed: int, rater: Callable[[], Rater] = Rater
) -> Floats:
    """The AI rater's probabilities for every pair [pairs, answers], each from other claims."""
    fold = folds_of([pair.claim_id for pair in pairs], folds, seed=seed)
    found = np.zeros((len(pairs), len(ANSWERS)))
    for number in range(folds):
        inside = np.flatnonzero(fold == number).tolist()
        others = [pairs[row] for row in np.flatnonzero(fold != number).tolist()]
        found[inside] = rater().fit(others).probabilities([pairs[row] for row in inside])
    return found


def left_out_rows(pairs: Sequence[Pair], probabilities: Floats) -> tuple[Rows, NDArray[np.int64]]:
    """A row for each vote that can be checked: the answer that most of the *other* voters of the
    pair gave (a majority without a tie, of two or more) is taken as right.

    The AI is compared with the same answer. Also the pair of each row. `slices`: what the AI says.
    """
    people, ai, confidence, groups, slices, places = [], [], [], [], [], []
    chosen = probabilities.argmax(axis=1)
    sure = probabilities.max(axis=1)
    for place, pair in enumerate(pairs):
        for left_out, vote in enumerate(pair.votes):
            others = Counter(v for n, v in enumerate(pair.votes) if n != left_out)
            ranked = others.most_common()
            if sum(others.values()) < 2 or (len(ranked) > 1 and ranked[0][1] == ranked[1][1]):
                continue
            right = ranked[0][0]
            people.append(float(vote == right))
            ai.append(float(chosen[place] == right))
            confidence.append(sure[place])
            groups.append(pair.claim_id)
            slices.append(f"AI says {ANSWERS[chosen[place]]}")
            places.append(place)
    rows = Rows(
        confidence=np.clip(np.array(confidence), 0, 1),
        ai=np.array(ai),
        people=np.array(people),
        groups=groups,
        slices=slices,
    )
    return rows, np.array(places)
