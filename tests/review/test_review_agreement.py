"""Agreement against published figures, and what is said of cases and raters."""

import math

import numpy as np
import pytest

from custodes.errors import DataError
from custodes.review.agreement import (
    Ratings,
    agreement,
    drift,
    fleiss,
    gwet,
    item_splits,
    rater_scores,
    truth_by_dawid_skene,
)

# Gwet's example of four raters and twelve units (irrCAC's `cac.raw4raters`).
GWET = (
    (1, 1, 0, 1), (2, 2, 3, 2), (3, 3, 3, 3), (3, 3, 3, 3), (2, 2, 2, 2), (1, 2, 3, 4),
    (4, 4, 4, 4), (1, 1, 2, 1), (2, 2, 2, 2), (0, 5, 5, 5), (0, 0, 1, 1), (0, 0, 3, 0),
)  # fmt: skip
ROWS = [
    (f"unit {n}", f"rater {k}", str(answer))
    for n, unit in enumerate(GWET)
    for k, answer in enumerate(unit)
    if answer
]


def test_the_published_figures_of_gwet_s_example():
    ratings = Ratings(ROWS, tuple("12345"))
    counts, items = ratings.counts()
    assert len(items) == 12
    assert gwet(counts) == pytest.approx(0.77544, abs=1e-5)
    assert fleiss(counts) == pytest.approx(0.76117, abs=1e-5)
    found = agreement(ratings)
    assert found.alpha.value == pytest.approx(0.74342, abs=1e-5)
    assert found.observed.value == pytest.approx(0.8181818, abs=1e-6)
    assert found.alpha.low < found.alpha.value < found.alpha.high
    assert (found.items, found.raters) == (11, 4)
    assert found.ac2.value > found.ac1.value  # near misses count in part
    assert len(found.cohen) == 6
    for kappa in found.cohen.values():
        assert kappa.low <= kappa.value <= kappa.high


def test_with_identity_weights_ac2_is_ac1_for_two_answers():
    counts = np.array([[2, 0], [1, 1], [0, 2], [2, 0]])
    assert gwet(counts, ordinal=True) == pytest.approx(gwet(counts))


def test_what_is_not_defined_is_nan():
    alone = Ratings([("a", "x", "yes"), ("a", "y", "yes")], ("yes", "no"))
    found = agreement(alone)
    assert math.isnan(found.alpha.value)
    assert found.observed.value == 1
    assert math.isnan(gwet(np.array([[2]])))
    assert math.isnan(fleiss(np.array([[1, 0]])))


def test_bad_ratings_are_refused():
    with pytest.raises(DataError, match="judged an item twice"):
        Ratings([("a", "x", "yes"), ("a", "x", "no")], ("yes", "no"))
    with pytest.raises(DataError, match="got maybe"):
        Ratings([("a", "x", "maybe")], ("yes", "no"))
    with pytest.raises(DataError, match="by two people"):
        agreement(Ratings([("a", "x", "yes")], ("yes", "no")))


def crowd(items=40, seed=0):
    """Three good raters and one who guesses."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, 2, items)
    rows = []
    for n, right in enumerate(truth):
        for rater, share in (("ann", 0.95), ("bob", 0.9), ("eve", 0.9), ("dice", 0.5)):
            answer = right if random.random() < share else 1 - right
            rows.append((f"item {n}", rater, ("no", "yes")[answer]))
    return Ratings(rows, ("yes", "no")), {
        f"item {n}": ("no", "yes")[t] for n, t in enumerate(truth)
    }


def test_dawid_and_skene_find_the_truth_and_who_guesses():
    ratings, truth = crowd()
    found, quality = truth_by_dawid_skene(ratings)
    assert sum(found[item] == truth[item] for item in truth) >= 37
    assert min(quality, key=quality.get) == "dice"
    assert quality["ann"] > 0.8


def test_raters_are_held_against_others_checks_and_the_ai():
    ratings, truth = crowd()
    scores = {each.rater: each for each in rater_scores(ratings, gold=truth, ai={"item 0": "yes"})}
    assert scores["dice"].others.value < scores["ann"].others.value
    assert scores["ann"].gold.value > 0.85
    assert scores["ann"].ratings == 40
    empty = rater_scores(ratings, gold={}, ai={})[0]
    assert math.isnan(empty.gold.value)


def test_a_rater_is_wrong_with_all_colleagues_at_once():
    held = 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        same = random.random(30) < 0.7  # on how many of 30 items the first sides with the others
        rows = [(f"i{n}", f"r{k}", "yes") for n in range(30) for k in range(1, 10)]
        rows += [(f"i{n}", "first", "yes" if s else "no") for n, s in enumerate(same)]
        scores = rater_scores(Ratings(rows, ("yes", "no")), gold={}, ai={})
        (mine,) = [each.others for each in scores if each.rater == "first"]
        assert mine.value == pytest.approx(same.mean())
        held += mine.low <= 0.7 <= mine.high
    assert held >= 51  # of 60 at 95 %; were the 270 pairs as many trials: about 30


def test_few_items_that_all_agree_on_do_not_show_that_all_would():
    rows = [(f"i{n}", rater, ("no", "yes")[n % 2]) for n in range(5) for rater in ("ann", "bob")]
    ratings = Ratings(rows, ("no", "yes"))
    found = agreement(ratings)
    for figure in (found.alpha, found.fleiss, found.ac1, found.ac2, found.cohen["ann", "bob"]):
        assert figure.value == 1
        assert math.isnan(figure.low) and math.isnan(figure.high)
    assert (found.observed.value, found.observed.high) == (1, 1)
    assert found.observed.low == pytest.approx(0.478, abs=1e-3)  # 5 of 5, Clopper and Pearson
    score = rater_scores(ratings, gold={}, ai={})[0]
    assert score.others.low == pytest.approx(0.478, abs=1e-3)


def test_split_items_come_first():
    rows = [("a", "x", "yes"), ("a", "y", "no"), ("b", "x", "yes"), ("b", "y", "yes"),
            ("c", "x", "yes")]  # fmt: skip
    (split,) = item_splits(Ratings(rows, ("yes", "no")))
    assert split.item == "a"
    assert dict(split.given) == {"yes": 1, "no": 1}
    assert split.disagreement == 1


def test_drift_goes_through_time_in_windows():
    rows = [(float(n), n < 50) for n in range(100)]
    windows = drift(rows, windows=4)
    assert [share.value for _, share in windows] == [1, 1, 0, 0]
    assert [at for at, _ in windows] == sorted(at for at, _ in windows)


def test_an_answer_to_what_nobody_else_judged_gives_no_coefficient():
    rows = [(item, rater, "a") for item in ("one", "two") for rater in ("ann", "bob")]
    found = agreement(Ratings([*rows, ("three", "ann", "b")], ("a", "b")))
    assert math.isnan(found.alpha.value)  # 0/0, and no warning
    assert found.observed.value == 1
