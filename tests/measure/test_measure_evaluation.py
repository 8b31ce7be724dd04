"""Evaluations: figures against their own functions, slices, leaks, the report."""

import json
import math

import numpy as np
import pytest

from custodes.errors import DataError, InputError
from custodes.measure import (
    Evaluation,
    Replies,
    auprc,
    auroc,
    clopper_pearson,
    evaluate,
    expected_calibration_error,
    f1_at,
    to_report,
)
from custodes.measure import evaluation as module

ROWS = 240
RNG = np.random.default_rng(7)
LABELS = (np.arange(ROWS) % 2).astype(int)
SCORES = np.clip(RNG.normal(0.3 + 0.4 * LABELS, 0.2), 0, 1)
SETS = ["only harmful" if i < 40 and LABELS[i] else "only benign" if i < 40 else "both"
        for i in range(ROWS)]  # fmt: skip
REPLIES = Replies(
    stop_at=[None if i % 3 else 10 for i in range(ROWS)],
    length=[100 if i >= 40 else None for i in range(ROWS)],
    onset=[5] * ROWS,
)


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RESAMPLES", 50)


def measured(**options: object) -> Evaluation:
    return evaluate(LABELS, SCORES, 0.5, by={"set": SETS}, seed=3, **options)


def test_the_overall_figures_are_those_of_the_functions() -> None:
    found = measured().overall.metrics
    assert found["auroc"].value == auroc(LABELS, SCORES)
    assert found["auprc"].value == auprc(LABELS, SCORES)
    assert found["f1"].value == f1_at(LABELS, SCORES, 0.5)
    error = expected_calibration_error(LABELS, SCORES)
    assert found["calibration_error"].value == pytest.approx(error)
    flagged = int((SCORES[LABELS == 1] >= 0.5).sum())
    assert found["recall"] == clopper_pearson(flagged, 120)
    assert found["recall_at_fpr_1%"].low <= found["recall_at_fpr_1%"].value
    assert "recall_at_fpr_0.1%" not in found
    assert all(figure.low <= figure.high for figure in found.values())


def test_rates_and_f1_are_of_what_was_flagged() -> None:
    """As a guard whose rules have thresholds of their own flags it."""
    flagged = (SCORES >= 0.5) & (np.arange(ROWS) % 3 > 0)
    found = measured(flagged=flagged.tolist()).overall.metrics
    true, missed = int(flagged[LABELS == 1].sum()), int((~flagged[LABELS == 1]).sum())
    false = int(flagged[LABELS == 0].sum())
    assert found["f1"].value == pytest.approx(2 * true / (2 * true + false + missed))
    assert found["f1"].low < found["f1"].value < found["f1"].high
    assert found["recall"] == clopper_pearson(true, 120)
    assert found["false_refusal_rate"] == clopper_pearson(false, 120)
    same = measured(flagged=(SCORES >= 0.5).tolist())
    assert same.to_values() == measured().to_values()


def test_slices_give_only_what_their_rows_can_bear() -> None:
    parts = {part.name: part for part in measured().slices}
    assert list(parts) == ["both", "only benign", "only harmful"]
    assert set(parts["only benign"].metrics) == {"false_refusal_rate"}
    assert set(parts["only harmful"].metrics) == {"recall"}
    assert {"auroc", "auprc", "f1", "recall", "brier"} <= set(parts["both"].metrics)
    assert (parts["both"].rows, parts["both"].harmful) == (200, 100)


def test_rows_named_none_are_in_no_slice() -> None:
    found = evaluate(LABELS, SCORES, 0.5, by={"rule": [None] * (ROWS - 1) + ["r"]}, seed=0)
    assert [(part.by, part.name, part.rows) for part in found.slices] == [("rule", "r", 1)]


def test_one_seed_one_evaluation_and_groups_widen_it() -> None:
    assert measured().to_values() == measured().to_values()
    grouped = measured(groups=[i // 40 for i in range(ROWS)])
    assert grouped.overall.metrics["auroc"] != measured().overall.metrics["auroc"]
    assert grouped.grouped


def test_log_odds_have_no_calibration() -> None:
    found = evaluate(LABELS, 8 * SCORES - 4, 0.0, seed=0).overall.metrics
    assert "auroc" in found
    assert "calibration_error" not in found


def test_the_calibration_error_lies_in_its_interval_and_so_does_none() -> None:
    holds, none, off = 0, 0, 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        scores = rng.random(300)
        labels = rng.random(300) < scores
        found = evaluate(labels, scores, 0.5, seed=0).overall.metrics["calibration_error"]
        holds += 0 <= found.low <= found.value <= found.high
        none += found.low == 0
        off += evaluate(labels, scores**4, 0.5, seed=0).overall.metrics["calibration_error"].low > 0
    assert (holds, off) == (40, 40)
    assert none >= 34  # 38 expected; quantiles of resampled errors held 0 in none


def test_one_group_has_no_interval() -> None:
    found = measured(groups=[1] * ROWS).overall.metrics["calibration_error"]
    assert found.value > 0 and math.isnan(found.low) and math.isnan(found.high)


def test_leaks_are_measured_over_harmful_streamed_replies() -> None:
    found = measured(replies=REPLIES)
    assert found.overall.leak.replies == 100
    parts = {part.name: part.leak for part in found.slices}
    assert parts["only harmful"] is None
    assert parts["both"].share_stopped.value == pytest.approx(1 / 3, abs=0.02)
    without_onset = measured(replies=Replies(REPLIES.stop_at, REPLIES.length))
    assert without_onset.overall.leak.median == 100
    assert measured().overall.leak is None


def test_values_are_plain_json() -> None:
    values = json.loads(json.dumps(measured(replies=REPLIES).to_values(), allow_nan=False))
    assert values["overall"]["metrics"]["auroc"]["value"] == auroc(LABELS, SCORES)
    assert values["slices"][0]["by"] == "set"
    assert values["overall"]["leak"]["replies"] == 100
    assert evaluate([1, 1], [0.1, 0.2], -math.inf, seed=0).to_values()["threshold"] is None


def test_the_report_shows_every_slice() -> None:
    report = to_report(measured(replies=REPLIES), title="T", budget=0.2, facts={"set": "S"})
    titles = [section.title for section in report.sections]
    assert titles == ["Headline", "Curves", "By set", "Leak before stop", "How to read this"]
    html = report.html()
    assert all(name in html for name in ("only harmful", "only benign", "both", "AUPRC"))
    assert "✓ target met" in html
    assert "resamples of rows" in html
    assert report.values()["facts"]["seed"] == "3"
    for budget, met in ((1.0, True), (0.0, False)):
        values = to_report(measured(), title="T", budget=budget).values()
        assert [c["met"] for c in _cards(values) if c["label"] == "false refusals"] == [met]
    assert "target missed" in to_report(measured(), title="T", budget=0.0).html()


def _cards(values: dict) -> list[dict]:
    return values["sections"][0]["blocks"][0]["cards"]


def test_a_budget_that_few_rows_leave_open_is_met_by_value() -> None:
    found = evaluate([0] * 5 + [1] * 5, [0.1] * 5 + [0.9] * 5, 0.5, seed=0)
    report = to_report(found, title="T", budget=0.01)
    met = {card["label"]: card["met"] for card in _cards(report.values())}
    assert met["false refusals"] == "by value"
    assert met["recall"] is None
    assert "target met by value: an end of the interval misses it" in report.html()
    assert "✓ target met" not in report.html()


@pytest.mark.parametrize(("label", "told"), [(1, "are stopped"), (0, "are refused")])
def test_one_class_makes_a_report_without_curves(label: int, told: str) -> None:
    found = evaluate([label] * 5, [0.1] * 5, 0.5, by={"set": ["a"] * 5}, groups="abcde", seed=0)
    report = to_report(found, title="T")
    assert "Curves" not in [section.title for section in report.sections]
    assert told in report.summary
    assert "groups of rows" in report.html()
    assert to_report(found, title="T", summary="mine").summary == "mine"


def test_a_report_of_log_odds_has_no_reliability_diagram() -> None:
    found = evaluate(LABELS, 8 * SCORES - 4, 0.0, seed=0)
    assert "Calibration" not in to_report(found, title="T").html()


def test_a_report_of_infinite_log_odds_has_no_histogram() -> None:
    found = evaluate([0, 1, 1], [-math.inf, 0.3, math.inf], 0.0, seed=0)
    assert "Scores by class" not in to_report(found, title="T").html()


def test_low_rates_are_measured_where_the_benign_rows_suffice() -> None:
    labels = [0] * 1000 + [1] * 10
    found = evaluate(labels, np.arange(1010) / 1010, 0.9, seed=0).overall.metrics
    assert found["recall_at_fpr_0.1%"].value == 1.0
    assert (
        "recall_at_fpr_1%"
        not in evaluate([0, 1] * 99, [0.1, 0.2] * 99, 0.5, seed=0).overall.metrics
    )


@pytest.mark.parametrize(
    "options",
    [{"by": {"set": ["a"]}}, {"groups": ["a"]}, {"replies": Replies([1], [2])},
     {"replies": Replies([1] * ROWS, [2] * ROWS, [0])}],
)  # fmt: skip
def test_columns_of_another_length_are_errors(options) -> None:
    with pytest.raises(DataError, match="different lengths"):
        evaluate(LABELS, SCORES, 0.5, seed=0, **options)


def test_a_threshold_that_is_nan_is_an_error() -> None:
    with pytest.raises(InputError, match="threshold: got NaN"):
        evaluate(LABELS, SCORES, math.nan, seed=0)
