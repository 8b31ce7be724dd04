import math

import numpy as np
import pytest

from custodes.errors import DataError
from custodes.methods.similarity.capability import capability


def models(count=30, seed=0):
    """Accuracies, and similarities that rise with them and share what is each model's own."""
    rng = np.random.default_rng(seed)
    accuracy, own = rng.uniform(0.3, 0.9, count), rng.normal(size=count)
    noise = rng.normal(size=(count, count))
    alike = np.add.outer(accuracy, accuracy) + 0.1 * np.add.outer(own, own)
    return alike + 0.02 * (noise + noise.T), accuracy


def pairs(matrix, accuracy):
    rows, columns = np.triu_indices(len(accuracy), k=1)
    return (accuracy[rows] + accuracy[columns]) / 2, matrix[rows, columns]


def test_correlation_and_bins_are_those_of_the_pairs():
    matrix, accuracy = models()
    x, y = pairs(matrix, accuracy)
    found = capability(matrix, accuracy, bins=4)
    assert found.correlation.value == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-12)
    assert found.pairs == 435 and sum(one.pairs for one in found.bins) == 435
    lowest = np.argsort(x)[:109]
    assert found.bins[0].accuracy == pytest.approx(x[lowest].mean())
    assert found.bins[0].similarity.value == pytest.approx(y[lowest].mean())
    for one in found.bins:
        assert one.similarity.low < one.similarity.value < one.similarity.high


def test_same_seed_same_intervals():
    assert capability(*models(), seed=1) == capability(*models(), seed=1)
    assert capability(*models(), seed=1) != capability(*models(), seed=2)


def test_a_resample_is_a_draw_of_models():
    """The interval's spread is that of whole new sets of models, far wider than of single pairs."""
    matrix, accuracy = models()
    found = capability(matrix, accuracy).correlation
    fresh = [np.corrcoef(*pairs(*models(seed=seed)))[0, 1] for seed in range(1, 200)]
    spread = np.quantile(fresh, 0.975) - np.quantile(fresh, 0.025)
    assert 0.6 * spread < found.high - found.low < 1.7 * spread
    x, y = pairs(matrix, accuracy)
    rng = np.random.default_rng(0)
    rows = [rng.integers(0, len(x), len(x)) for _ in range(200)]
    single = [np.corrcoef(x[row], y[row])[0, 1] for row in rows]
    assert found.high - found.low > 2 * (np.quantile(single, 0.975) - np.quantile(single, 0.025))


def test_undefined_similarities_are_left_out():
    matrix, accuracy = models()
    matrix[0, 1:] = matrix[1:, 0] = np.nan
    found = capability(matrix, accuracy)
    assert found.pairs == 29 * 28 // 2
    rest = np.corrcoef(*pairs(matrix[1:, 1:], accuracy[1:]))[0, 1]
    assert found.correlation.value == pytest.approx(rest, abs=1e-12)


def test_no_variation_is_nan():
    matrix, accuracy = models()
    assert math.isnan(capability(matrix, np.full(30, 0.5)).correlation.value)
    assert math.isnan(capability(np.full((30, 30), 0.2), accuracy).correlation.value)


def test_wrong_input_is_refused():
    matrix, accuracy = models()
    with pytest.raises(DataError, match=r"\[M, M\]"):
        capability(matrix, accuracy[:5])
    with pytest.raises(DataError, match="finite"):
        capability(matrix, np.full(30, np.nan))
    with pytest.raises(DataError, match="bins"):
        capability(matrix[:3, :3], accuracy[:3])
