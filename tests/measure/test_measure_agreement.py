"""Kappas: scikit-learn and the published example of Fleiss as oracles."""

import math

import numpy as np
import pytest

from custodes.errors import DataError
from custodes.measure import cohen_kappa, fleiss_kappa

# Fleiss 1971's layout, the well-known example of 10 items, 14 raters, 5 categories: 0.210.
EXAMPLE = [
    [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
]  # fmt: skip


def test_cohen_agrees_with_scikit_learn() -> None:
    from sklearn.metrics import cohen_kappa_score

    rng = np.random.default_rng(0)
    first = rng.choice(["block", "flag", "log"], 200)
    second = np.where(rng.random(200) < 0.6, first, rng.choice(["block", "flag", "log"], 200))
    assert cohen_kappa(list(first), list(second)) == pytest.approx(cohen_kappa_score(first, second))


def test_fleiss_of_the_published_example() -> None:
    assert fleiss_kappa(EXAMPLE) == pytest.approx(0.210, abs=5e-4)


def test_full_agreement_and_agreement_by_chance_alone() -> None:
    assert cohen_kappa([0, 1, 0], [0, 1, 0]) == pytest.approx(1.0)
    assert fleiss_kappa([[3, 0], [0, 3]]) == 1.0
    assert math.isnan(cohen_kappa([1] * 49, [1] * 49))
    assert math.isnan(fleiss_kappa([[3, 0], [3, 0]]))


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [([], [], "no items"), ([1], [1, 2], "different lengths"), ([None], [1], "missing"),
     ([math.nan], [1], "missing")],
)  # fmt: skip
def test_cohen_refuses(first, second, message) -> None:
    with pytest.raises(DataError, match=message):
        cohen_kappa(first, second)


@pytest.mark.parametrize(
    ("counts", "message"),
    [([1, 2], "items x categories"), ([[]], "items x categories"), ([[1, 2], [1, 1]], "2 to 3"),
     ([[1, 0]], "at least 2"), ([[-1, 3]], "whole numbers"), ([[0.5, 1.5]], "whole numbers"),
     ([[math.nan, 2]], "whole numbers")],
)  # fmt: skip
def test_fleiss_refuses(counts, message) -> None:
    with pytest.raises(DataError, match=message):
        fleiss_kappa(counts)
