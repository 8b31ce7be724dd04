"""Which cases to ask people about first: ranks, of which the least comes first.

Pure functions of the cases. What an AI is unsure of, what several sources disagree about, what
is unlike what came before, or what chance brings.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from custodes.errors import ConfigError
from custodes.review.cases import Case

__all__ = ["STRATEGIES", "rank_cases"]

Floats = NDArray[np.float64]

STRATEGIES = ("uncertain", "random", "diverse", "disagreement", "given")
_GROUPS = 1024
"""Groups that `diverse` spreads over at most; each costs one pass over the cases."""


def rank_cases(cases: Sequence[Case], strategy: str, *, seed: int) -> list[float]:
    """A rank for each case, 0 to 1 (`given`: 0 for all).

    uncertain: the confidence of the AI's view, so the least sure first; a case without a view
    counts as 0.5. disagreement: 1 minus the share of pairs of opinions that differ, ties by
    confidence. random: a hash of the seed and the case's ref, so that cases which come one at a
    time are mixed as those of a file are. diverse: round after round, the case that is farthest
    from all that came before (farthest-first traversal, Gonzalez 1985), on hashed words; after
    1,024 at random. It needs cases that come together: one alone, as a gateway brings them, is
    ranked at random.
    """
    if strategy not in STRATEGIES:
        raise ConfigError(f"sampling: got {strategy!r}, expected {', '.join(STRATEGIES)}")
    if not cases:
        return []
    random = np.array([_chance(case, seed) for case in cases])
    if strategy == "random" or (strategy == "diverse" and len(cases) == 1):
        return [float(value) for value in random]
    if strategy == "given":
        return [0.0] * len(cases)  # ties fall by age
    if strategy == "diverse":
        return _diverse(cases, random)
    sure = [0.5 if case.view is None else case.view.confidence for case in cases]
    if strategy == "uncertain":
        return sure
    return [
        1 - _split(case) * 0.999 - 0.001 * (1 - confidence)
        for case, confidence in zip(cases, sure, strict=True)
    ]


def _chance(case: Case, seed: int) -> float:
    """A number in [0, 1) that is the same whatever comes with the case."""
    drawn = hashlib.sha256(f"{seed}\0{case.ref}".encode(errors="surrogatepass")).digest()
    return int.from_bytes(drawn[:6]) / 2**48


def _split(case: Case) -> float:
    """Share of pairs of opinions that differ."""
    answers = [opinion.answer for opinion in case.opinions]
    pairs = math.comb(len(answers), 2)
    if pairs == 0:
        return 0.0
    alike = sum(math.comb(answers.count(answer), 2) for answer in set(answers))
    return 1 - alike / pairs


def _diverse(cases: Sequence[Case], random: Floats) -> list[float]:
    from sklearn.feature_extraction.text import HashingVectorizer

    words = HashingVectorizer(n_features=2**14, norm="l2", alternate_sign=False)
    table = words.transform(" ".join(m.content for m in case.messages) for case in cases)
    ranks = 1.0 + random
    nearest = np.zeros(len(cases))  # cosine to the nearest that was taken
    taken = np.zeros(len(cases), dtype=bool)
    place = int(np.argmin(random))
    rounds = min(_GROUPS, len(cases))
    for number in range(rounds):
        ranks[place] = number / rounds
        taken[place] = True
        nearest = np.maximum(nearest, (table @ table[place].T).toarray()[:, 0])
        # Ties fall by chance: `random` is below 1, distances differ by more than its share.
        place = int(np.argmin(np.where(taken, np.inf, nearest + 1e-9 * random)))
    return [float(rank) / 2 for rank in ranks]
