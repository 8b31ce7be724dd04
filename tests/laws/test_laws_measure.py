"""Laws of measurement that hold for every input."""

import math
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from custodes.measure import (
    Figure,
    Interval,
    auprc,
    auroc,
    bootstrap,
    brier,
    clopper_pearson,
    cohen_kappa,
    expected_calibration_error,
    leak_before_stop,
    pr_curve,
    rate_above,
    read_results,
    recall_at_fpr,
    relative_leak,
    roc_curve,
    target_met,
    threshold_at_fpr,
    wilson,
    write_results,
)
from custodes.measure.svg import Axis, escape, ticks

# Few distinct values, so that ties are the rule.
scores = st.integers(-6, 6).map(lambda k: k / 4) | st.floats(-3, 3, allow_nan=False)
rows = st.lists(st.tuples(st.integers(0, 1), scores), min_size=2, max_size=40).filter(
    lambda pairs: len({label for label, _ in pairs}) == 2
)
shares = st.floats(0, 1)


def unzip(pairs: list[tuple[int, float]]) -> tuple[np.ndarray, np.ndarray]:
    labels, values = zip(*pairs, strict=True)
    return np.array(labels), np.array(values)


@given(rows)
def test_auroc_is_the_chance_of_the_right_order(pairs) -> None:
    labels, values = unzip(pairs)
    gaps = values[labels == 1][:, None] - values[labels == 0]
    expected = np.mean((gaps > 0) + 0.5 * (gaps == 0))
    assert auroc(labels, values) == pytest.approx(expected, abs=1e-12)
    assert auroc(1 - labels, values) == pytest.approx(1 - expected, abs=1e-12)


@given(rows, st.permutations(range(40)))
def test_ranking_ignores_the_order_of_rows_and_the_scale_of_scores(pairs, order) -> None:
    labels, values = unzip(pairs)
    chosen = [index for index in order if index < labels.size]
    ranks = np.unique(values, return_inverse=True)[1]
    for metric in (auroc, auprc):
        assert metric(labels[chosen], values[chosen]) == metric(labels, values)
        assert metric(labels, 2.0**ranks) == metric(labels, values)


@given(rows)
def test_auprc_agrees_with_scikit_learn(pairs) -> None:
    from sklearn.metrics import average_precision_score

    labels, values = unzip(pairs)
    assert auprc(labels, values) == pytest.approx(average_precision_score(labels, values))


@given(rows)
def test_curves_rise_and_end_at_one(pairs) -> None:
    labels, values = unzip(pairs)
    false, true, _ = roc_curve(labels, values)
    recall, precision, _ = pr_curve(labels, values)
    for rising in (false, true, recall):
        assert (np.diff(rising) >= 0).all()
        assert rising[-1] == 1
    assert precision[-1] == pytest.approx(labels.mean())


@given(st.lists(scores, min_size=1, max_size=60), shares)
def test_the_realized_rate_never_exceeds_the_target_and_no_lower_threshold_keeps_it(
    benign, fpr
) -> None:
    threshold = threshold_at_fpr(benign, fpr)
    assert rate_above(benign, threshold) <= fpr
    if math.isfinite(threshold):
        assert rate_above(benign, np.nextafter(threshold, -np.inf)) > fpr


@given(rows, shares, shares)
def test_recall_grows_with_the_rate_allowed(pairs, one, two) -> None:
    labels, values = unzip(pairs)
    low, high = sorted((one, two))
    assert recall_at_fpr(labels, values, low) <= recall_at_fpr(labels, values, high)


@given(st.integers(0, 80), st.integers(1, 80), st.floats(0.5, 0.999))
def test_intervals_hold_their_value_and_mirror(successes, trials, level) -> None:
    successes = min(successes, trials)
    for interval in (clopper_pearson, wilson):
        found = interval(successes, trials, level)
        mirrored = interval(trials - successes, trials, level)
        assert 0 <= found.low <= found.value + 1e-12
        assert found.value <= found.high + 1e-12
        assert found.high <= 1 + 1e-12
        assert mirrored.low == pytest.approx(1 - found.high, abs=1e-9)


@given(st.integers(1, 25), st.floats(0.02, 0.98))
def test_clopper_pearson_covers_at_least_its_level(trials, truth) -> None:
    from math import comb

    covered = sum(
        comb(trials, k) * truth**k * (1 - truth) ** (trials - k)
        for k in range(trials + 1)
        if (found := clopper_pearson(k, trials, 0.9)).low <= truth <= found.high
    )
    assert covered >= 0.9 - 1e-9


@given(st.lists(st.tuples(st.integers(0, 1), shares), min_size=1, max_size=50), st.integers(1, 20))
def test_calibration_figures_are_shares(pairs, bins) -> None:
    labels, values = unzip(pairs)
    assert 0 <= expected_calibration_error(labels, values, bins) <= 1 + 1e-12
    assert 0 <= brier(labels, values) <= 1
    # The error within one bin is at most the mean distance (Jensen).
    assert expected_calibration_error(labels, values, bins) <= np.mean(abs(values - labels)) + 1e-9


@given(st.lists(st.floats(-10, 10), min_size=2, max_size=30), st.integers(0, 2**32))
def test_a_bootstrap_of_the_mean_stays_within_the_data(values, seed) -> None:
    found = bootstrap(np.mean, values, seed=seed, resamples=20)
    assert min(values) - 1e-9 <= found.low <= found.high <= max(values) + 1e-9


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1))
def test_kappa_is_symmetric_and_ignores_names(pairs) -> None:
    one, two = (list(column) for column in zip(*pairs, strict=True))
    found = cohen_kappa(one, two)
    swapped = cohen_kappa(two, one)
    named = cohen_kappa(["abc"[k] for k in one], ["abc"[k] for k in two])
    assert math.isnan(found) or found <= 1 + 1e-12
    np.testing.assert_allclose([swapped, named], found, atol=1e-12)


@given(st.lists(st.tuples(st.none() | st.integers(0, 300), st.integers(0, 99),
                          st.integers(100, 200)), min_size=1))  # fmt: skip
def test_a_leak_is_between_nothing_and_the_harmful_part(replies) -> None:
    stop_at, onset, length = zip(*replies, strict=True)
    leaks = leak_before_stop(stop_at, onset, length)
    assert (leaks >= 0).all()
    assert (leaks <= np.array(length) - np.array(onset)).all()
    later = leak_before_stop([None if s is None else s + 1 for s in stop_at], onset, length)
    assert (later >= leaks).all()
    assert (relative_leak(stop_at, onset, length) <= 1).all()


finite = st.floats(-1e9, 1e9, allow_nan=False)


@given(finite, finite)
def test_a_target_is_met_exactly_when_the_comparison_holds(value, bound) -> None:
    assert target_met(value, f">= {bound!r}") is (value >= bound)
    assert target_met(value, f"< {bound!r} s (note)", "s") is (value < bound)


@given(st.lists(st.tuples(st.text(), finite | st.just(math.nan), finite), unique_by=lambda t: t[0]))
def test_results_survive_the_disk(parts) -> None:
    figures = [
        Figure.of(name.encode("utf-8", "replace").decode(), Interval(value, low, low), target="> 0")
        for name, value, low in parts
    ]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "results.json"
        write_results(path, figures)
        assert read_results(path) == figures


@given(finite, finite)
def test_ticks_stand_on_the_axis_and_are_few(one, two) -> None:
    low, high = sorted((one, two))
    found = ticks(low, high)
    slack = 1e-6 * (high - low) + 1e-12
    assert len(found) <= 12
    assert all(low - slack <= tick <= high + slack for tick in found)
    if high > low:
        placed = Axis(low, high, 0, 100).place(np.array([low, high, *found]))
        assert ((placed >= -1e-6) & (placed <= 100 + 1e-6)).all()


@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_escaped_text_is_well_formed_xml(text) -> None:
    from xml.etree import ElementTree

    escaped = escape(text)
    ElementTree.fromstring(f'<a b="{escaped}">{escaped}</a>')
