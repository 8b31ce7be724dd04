import numpy as np
import pytest

from custodes.errors import DataError
from custodes.methods.unlearning import measure


def table(share, *, seeds=3, facts=40):
    rng = np.random.default_rng(int(100 * share))
    return (rng.random((seeds, facts)) < share).astype(float)


def test_recovery_is_one_for_all_and_zero_for_chance():
    assert float(measure.recovery_value(0.85, 0.85, 0.25)) == 1
    assert float(measure.recovery_value(0.85, 0.25, 0.25)) == 0
    assert float(measure.recovery_value(0.85, 0.55, 0.25)) == pytest.approx(0.5)
    assert np.isnan(measure.recovery_value(0.2, 0.5, 0.25))


def test_recovery_interval_holds_the_value_and_narrows_with_facts():
    few = measure.recovery(table(0.9, facts=12), table(0.5, facts=12), chance=0.25)
    many = measure.recovery(table(0.9, facts=600), table(0.5, facts=600), chance=0.25)
    for one in (few, many):
        assert one.low < one.value < one.high
    assert many.high - many.low < 0.5 * (few.high - few.low)
    again = measure.recovery(table(0.9, facts=12), table(0.5, facts=12), chance=0.25)
    assert few == again


def test_seeds_that_differ_widen_the_interval():
    alike = np.tile([1.0, 0.0], (4, 50))
    unlike = np.repeat([[1.0], [0.0], [1.0], [0.0]], 100, axis=1)
    width = [one.high - one.low for one in map(measure.accuracy, (alike, unlike))]
    assert width[1] > 3 * width[0]


def test_difference_is_paired():
    first = table(0.6)
    assert measure.difference(first, first).high == 0
    over = measure.recovery_over(np.ones((3, 40)), first, first, chance=0.25)
    assert (over.value, over.low, over.high) == (0, 0, 0)


def test_seeds_of_unlike_lengths_count_alike_and_lose_no_fact():
    found = measure.accuracy([[1.0] * 10, [0.0, 0.0, 1.0, 1.0]])
    assert found.value == pytest.approx(0.75)
    assert found.low < 0.75 < found.high <= 1
    assert measure.accuracy([[1.0], [1.0, 1.0, 1.0]]).low == 1


def test_tables_must_fit():
    with pytest.raises(DataError, match="the same in all"):
        measure.recovery(np.ones((2, 3)), np.ones((2, 4)), chance=0.25)
