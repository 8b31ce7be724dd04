import math

import numpy as np
import pytest

from custodes.errors import DataError
from custodes.methods.similarity.studies import (
    partial_correlation,
    regression,
    residuals,
)


@pytest.fixture
def columns():
    rng = np.random.default_rng(0)
    z = rng.normal(size=60)
    x = z + rng.normal(size=60)
    return x, 0.5 * x - z + rng.normal(size=60), z


def test_partial_correlation_is_the_closed_form(columns):
    x, y, z = columns
    xy, xz, yz = (np.corrcoef(a, b)[0, 1] for a, b in ((x, y), (x, z), (y, z)))
    closed = (xy - xz * yz) / math.sqrt((1 - xz**2) * (1 - yz**2))
    found = partial_correlation(x, y, [z])
    assert found.value == pytest.approx(closed, abs=1e-12)
    assert found.interval.low < closed < found.interval.high
    plain = partial_correlation(x, y)
    assert plain.value == pytest.approx(xy, abs=1e-12)


def test_published_interval_follows_from_r_and_n():
    """The paper's -0.351 [-0.47, -0.22], p = 1e-6 over 180 rows with one covariate."""
    rng = np.random.default_rng(0)
    x, z, e = rng.normal(size=(3, 180))
    x, e = residuals(x, [z]), residuals(e, [z])
    e = residuals(e, [z, x])
    r = -0.351
    y = r * x / np.linalg.norm(x) + math.sqrt(1 - r * r) * e / np.linalg.norm(e)
    found = partial_correlation(x, y, [z])
    assert found.value == pytest.approx(r)
    assert found.interval.low == pytest.approx(-0.47, abs=0.006)
    assert found.interval.high == pytest.approx(-0.22, abs=0.006)
    assert found.p == pytest.approx(1.4e-6, rel=0.2)


def test_p_values_agree_with_scipy(columns):
    from scipy.stats import linregress, pearsonr

    x, y, _ = columns
    assert partial_correlation(x, y).p == pytest.approx(pearsonr(x, y).pvalue)
    constant, slope = regression(y, {"x": x})
    expected = linregress(x, y)
    assert slope.interval.value == pytest.approx(expected.slope)
    assert constant.interval.value == pytest.approx(expected.intercept)
    assert slope.p == pytest.approx(expected.pvalue)
    assert (slope.interval.high - slope.interval.low) / 2 == pytest.approx(
        2.0017 * expected.stderr, rel=1e-3
    )


def test_clusters_widen_the_interval():
    rng = np.random.default_rng(1)
    shared = rng.normal(size=(2, 20))
    clusters = np.repeat(np.arange(20), 10)
    x, y = shared[:, clusters] + 0.05 * rng.normal(size=(2, 200))
    found = partial_correlation(x, y, clusters=list(clusters))
    assert found.clusters == 20
    width = found.interval.high - found.interval.low
    assert found.clustered.high - found.clustered.low > 2 * width


def test_columns_that_say_nothing_are_nan(columns):
    x, y, z = columns
    for found in (partial_correlation(x, z, [z]), partial_correlation(np.ones(60), y)):
        assert math.isnan(found.value) and math.isnan(found.interval.low)
    assert partial_correlation(x, 2 * x).value == pytest.approx(1.0)
    assert all(math.isnan(slope.p) for slope in regression(y, {"x": x, "again": 2 * x}))


def test_wrong_columns_are_refused(columns):
    x, y, _ = columns
    with pytest.raises(DataError, match="one value a row"):
        partial_correlation(x, y[:5])
    with pytest.raises(DataError, match="NaN"):
        partial_correlation(np.full(60, np.nan), y)


def test_too_few_rows_say_nothing(columns):
    x, y, z = columns
    assert not math.isnan(partial_correlation(x[:5], y[:5], [z[:5]]).value)
    found = partial_correlation(x[:4], y[:4], [z[:4]], clusters=[1, 1, 2, 2])
    assert math.isnan(found.value) and math.isnan(found.p) and found.rows == 4
    assert math.isnan(found.clustered.value) and found.clusters == 2
    assert math.isnan(partial_correlation([], [], [[]]).value)
    assert all(math.isnan(slope.p) for slope in regression(y[:2], {"x": x[:2]}))
