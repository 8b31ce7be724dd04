"""Members of an ensemble: chosen by how little their errors have in common."""

import numpy as np
import pytest

from custodes.errors import DataError
from custodes.guard.members import Scored, choose_pair, error_correlation, pairs

ROWS = 1200


def made(seed=0, rows=ROWS):
    """`best` and `twin` share their noise; `other` is a little worse, with noise of its own."""
    rng = np.random.default_rng(seed)
    labels = np.arange(rows) % 2
    shared = rng.standard_normal(rows)
    own = rng.standard_normal((3, rows))
    return Scored(
        labels=labels,
        logits={
            "best": 2.0 * labels + shared + 0.1 * own[0],
            "twin": 2.0 * labels + shared + 0.1 * own[1],
            "other": 1.6 * labels + own[2],
        },
        groups=[f"g{i // 2}" for i in range(rows)],
    )


def test_errors_correlate_within_the_classes_and_not_by_being_right():
    scored = made()
    best, twin, other = scored.logits.values()
    assert error_correlation(scored.labels, best, twin) > 0.95
    assert abs(error_correlation(scored.labels, best, other)) < 0.1
    # Both follow the label, so that their scores do correlate.
    assert np.corrcoef(best, other)[0, 1] > 0.3
    assert np.isnan(error_correlation(scored.labels, best, np.zeros(ROWS)))


def test_a_weaker_member_with_errors_of_its_own_is_taken_before_a_better_twin():
    found = choose_pair(made(), budget=0.05, seed=1)
    assert set(found.chosen.names) in ({"best", "other"}, {"twin", "other"})
    assert set(found.by_scores.names) == {"best", "twin"}
    assert found.best in ("best", "twin")
    ahead = found.figures["chosen pair"]["AUPRC"]
    assert ahead.value > found.figures["two best alone, equal weights"]["AUPRC"].value
    assert found.over_best.low > 0
    assert sum(found.rows) == ROWS


def test_the_weights_are_those_that_separate_best():
    scored = made()
    pair = next(each for each in pairs(scored) if set(each.names) == {"best", "other"})
    labels = scored.labels == 1

    def separation(weight):
        mean = weight * scored.logits["best"] + (1 - weight) * scored.logits["other"]
        spread = np.sqrt((mean[labels].var() + mean[~labels].var()) / 2)
        return (mean[labels].mean() - mean[~labels].mean()) / spread

    grid = np.linspace(0, 1, 201)
    assert sum(pair.weights) == pytest.approx(1)
    assert pair.weights[0] == pytest.approx(
        grid[np.argmax([separation(w) for w in grid])], abs=0.01
    )
    assert pair.separation == pytest.approx(max(separation(w) for w in grid), rel=0.01)


def test_a_member_that_says_nothing_gets_no_weight():
    scored = made()
    rng = np.random.default_rng(3)
    noise = Scored(
        labels=scored.labels,
        logits={"best": scored.logits["best"], "noise": -scored.labels + rng.standard_normal(ROWS)},
        groups=scored.groups,
    )
    assert pairs(noise)[0].weights == (1.0, 0.0)


def test_halves_share_no_group():
    scored = made()
    half = scored.half(0)
    first, second = scored.of(half), scored.of(~half)
    assert not set(first.groups) & set(second.groups)
    assert len(first.labels) + len(second.labels) == ROWS


def test_too_little_is_said_plainly():
    scored = made()
    with pytest.raises(DataError, match="at least two"):
        pairs(Scored(labels=scored.labels, logits={"one": scored.logits["best"]}, groups=[]))
    with pytest.raises(DataError, match="one label"):
        made(rows=2).half(0)
