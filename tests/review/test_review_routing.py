"""Routing: T, calibration, deferral, audit; and the reproduction on votes."""

import gzip
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custodes.config import Run
from custodes.errors import DataError, InputError
from custodes.measure import clopper_pearson
from custodes.review.claims import Rater, folds_of, judge_by_folds, left_out_rows, read_pairs
from custodes.review.complementarity import complementarity, complementarity_report
from custodes.review.reproduce import choose, route_claims
from custodes.review.routes import RouteConfig
from custodes.review.routing import (
    Objective,
    Rows,
    audit,
    choose_threshold,
    fit_confidence,
    fit_confidence_by_slice,
    fit_deferral,
    hybrid_accuracy,
)


def make_rows(n=400, seed=0, *, sure_is_right=True):
    random = np.random.default_rng(seed)
    confidence = random.uniform(0.4, 1.0, n)
    right = confidence if sure_is_right else np.full(n, 0.7)
    return Rows(
        confidence=confidence,
        ai=(random.random(n) < right).astype(float),
        people=(random.random(n) < 0.75).astype(float),
        groups=[f"g{i // 2}" for i in range(n)],
        slices=["hard" if i % 4 == 0 else "easy" for i in range(n)],
    )


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([0.1, 0.3, 0.5, 0.9]), st.integers(0, 1), st.integers(0, 1)),
        min_size=1,
        max_size=25,
    )
)
def test_no_threshold_beats_the_chosen_one_on_its_own_rows(values):
    confidence, ai, people = (np.array(column, dtype=float) for column in zip(*values, strict=True))
    n = len(values)
    rows = Rows(confidence=confidence, ai=ai, people=people, groups=range(n), slices=["s"] * n)
    chosen = choose_threshold(rows)
    best = max(hybrid_accuracy(confidence >= t, ai, people) for t in [*confidence, np.inf])
    assert hybrid_accuracy(confidence >= chosen, ai, people) == pytest.approx(best)


def test_objectives_trade_people_for_errors():
    rows = make_rows(2000)
    dear = choose_threshold(rows, Objective(aim="cost", person_cost=0.4))
    cheap = choose_threshold(rows, Objective(aim="cost", person_cost=0.0))
    assert (rows.confidence >= dear).mean() > (rows.confidence >= cheap).mean()
    strict = choose_threshold(rows, Objective(aim="risk", risk=0.1))
    loose = choose_threshold(rows, Objective(aim="risk", risk=0.3))
    assert strict > loose
    assert 1 - rows.ai[rows.confidence >= strict].mean() < 0.1
    assert choose_threshold(rows, Objective(aim="risk", risk=1e-6)) == np.inf
    with pytest.raises(InputError, match="expected accuracy"):
        choose_threshold(rows, Objective(aim="beauty"))


def judged(raters, seed):
    """500 cases on which the AI errs at .07 whatever its confidence, judged by so many each."""
    random = np.random.default_rng(seed)
    wrong, sure = random.random(500) < 0.07, random.random(500)
    repeated = np.repeat(np.arange(500), raters)
    return Rows(confidence=sure[repeated], ai=1.0 - wrong[repeated], people=np.ones(len(repeated)),
                groups=repeated.tolist(), slices=["s"] * len(repeated))  # fmt: skip


def test_a_bound_on_risk_counts_a_case_once_however_many_judged_it():
    aim = Objective(aim="risk", risk=0.05)
    for seed in range(20):
        alone = choose_threshold(judged(1, seed), aim)
        assert choose_threshold(judged(5, seed), aim) == alone
    groups = ["a"] * 8 + ["b"] * 2  # two claims of several cases: two trials, half an error each
    rows = Rows(confidence=np.full(10, 0.9), ai=np.array([0.0, 1] * 5), people=np.ones(10),
                groups=groups, slices=["s"] * 10)  # fmt: skip
    assert choose_threshold(rows, Objective(aim="risk", risk=0.9)) == np.inf
    assert choose_threshold(rows, Objective(aim="risk", risk=0.98)) == 0.9


@pytest.mark.parametrize("cases", [200, 1000])
@pytest.mark.parametrize("rising", [False, True])
def test_a_bound_on_risk_is_kept_as_often_as_it_says(cases, rising):
    """Errors that lie just above the bound from some coverage on, drawn again and again."""
    random = np.random.default_rng(cases)
    place = np.arange(cases)
    error = np.where(place < cases * 0.2, 0.04, 0.054) if rising else np.full(cases, 0.0501)
    true = np.cumsum(error) / (place + 1)
    sure = 1 - place / cases
    aim, broken, draws = Objective(aim="risk", risk=0.05), 0, 400
    for _ in range(draws):
        rows = Rows(confidence=sure, ai=(random.random(cases) >= error).astype(float),
                    people=np.ones(cases), groups=range(cases), slices=["s"] * cases)  # fmt: skip
        accepted = (sure >= choose_threshold(rows, aim)).sum()
        broken += accepted > 0 and true[accepted - 1] > 0.05
    assert broken / draws <= 0.05 + 2.5 * (0.05 * 0.95 / draws) ** 0.5


def test_a_bound_on_risk_accepts_where_the_ai_is_good():
    sure = 1 - np.arange(600) / 600
    right = np.ones(600)
    right[[7, 40, 300]] = 0  # one in a hundred, then one in three
    right[400::3] = 0
    rows = Rows(confidence=sure, ai=right, people=np.ones(600), groups=range(600),
                slices=["s"] * 600)  # fmt: skip
    accepted = sure >= choose_threshold(rows, Objective(aim="risk", risk=0.05))
    assert 390 <= accepted.sum() <= 420


def test_routing_by_an_honest_confidence_beats_both_sides():
    chosen = choose_threshold(make_rows(4000, seed=1))
    other = make_rows(4000, seed=2)
    found = complementarity(other, other.confidence >= chosen, seed=0, resamples=200)
    assert found.over_ai.low > 0
    assert found.over_people.low > 0
    assert found.oracle.value > found.hybrid.value
    assert 0 < found.region.value < 1 - found.ai.value + 1e-9
    assert found.groups == 2000


def test_calibration_by_slice_sees_where_an_ai_is_wrongly_sure():
    random = np.random.default_rng(0)
    n = 2000
    names = ["says yes" if i % 2 else "says no" for i in range(n)]
    right = np.array([0.9 if name == "says yes" else 0.4 for name in names])
    rows = Rows(confidence=np.full(n, 0.7) + random.normal(0, 0.05, n).clip(-0.2, 0.2),
                ai=(random.random(n) < right).astype(float), people=np.zeros(n),
                groups=range(n), slices=names)  # fmt: skip
    sure = fit_confidence_by_slice(rows)(rows)
    yes = np.array(names) == "says yes"
    assert sure[yes].mean() == pytest.approx(rows.ai[yes].mean(), abs=0.03)
    assert sure[~yes].mean() == pytest.approx(rows.ai[~yes].mean(), abs=0.03)
    few = fit_confidence_by_slice(rows.take(np.arange(50)))
    assert few.slices == {}


def test_calibration_keeps_the_order():
    rows = make_rows(500)
    fit = fit_confidence(rows.confidence, rows.ai)
    assert fit.slope > 0
    with pytest.raises(DataError, match="in all 2 rows"):
        fit_confidence([0.5, 0.6], [1, 1])


def test_deferral_asks_people_where_they_are_good():
    rows = make_rows(1000)
    good = np.array([name == "hard" for name in rows.slices])
    rows = Rows(confidence=rows.confidence, ai=rows.ai, people=good.astype(float),
                groups=rows.groups, slices=rows.slices)  # fmt: skip
    deferral = fit_deferral(rows, prior=1)
    accepts = deferral.accepts(np.full(1000, 0.6), rows.slices)
    assert not accepts[good].any()
    assert accepts[~good].all()
    assert deferral.accepts(np.array([0.9]), ["unseen"]).all()


def test_an_audit_is_a_random_share_of_what_was_accepted():
    accepted = np.arange(5000) % 2 == 0
    seen = audit(accepted, 0.1, seed=3)
    assert not seen[~accepted].any()
    assert seen.sum() == pytest.approx(250, abs=70)
    assert (audit(accepted, 0.1, seed=3) == seen).all()
    with pytest.raises(InputError, match="0 to 1"):
        audit(accepted, 2, seed=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ai": np.zeros(3)}, "differ in length"),
        ({"confidence": np.array([0.5, 1.5])}, "in \\[0, 1\\]"),
        ({"confidence": np.zeros(0), "ai": np.zeros(0), "people": np.zeros(0), "groups": [],
          "slices": []}, "got none"),
    ],
)  # fmt: skip
def test_rows_that_make_no_sense(change, message):
    values = {"confidence": np.array([0.5, 0.6]), "ai": np.zeros(2), "people": np.zeros(2),
              "groups": [1, 2], "slices": ["a", "b"]}  # fmt: skip
    with pytest.raises(DataError, match=message):
        Rows(**{**values, **change})


def test_the_report_says_who_wins_where():
    rows = make_rows(800)
    report = complementarity_report(
        rows, {"T": rows.confidence >= 0.8}, title="Who", summary="Made up.", seed=0
    )
    assert "complementarity region" in report.html()
    table = report.values()["sections"][1]["blocks"][0]
    wins = {row[0]: row[-1] for row in table["rows"]}
    assert next(iter(wins.values())) == "people"
    assert list(wins.values())[-1] == "AI"


def test_few_accepted_rows_without_an_error_do_not_show_that_there_are_none():
    rows = Rows(confidence=np.array([0.9] * 6 + [0.5] * 6), ai=np.array([1.0] * 6 + [0.0] * 6),
                people=np.ones(12), groups=[f"g{n // 2}" for n in range(12)],
                slices=["x"] * 12)  # fmt: skip
    found = complementarity(rows, rows.confidence >= 0.8, seed=0)
    assert (found.errors.value, found.errors.low) == (0, 0)
    assert found.errors.high == pytest.approx(clopper_pearson(0, 3).high)  # three groups


def test_where_the_ai_answers_nothing_nothing_is_said_of_its_errors(tmp_path):
    rows = make_rows(40)
    nothing = rows.confidence > 2
    found = complementarity(rows, nothing, seed=0, resamples=50)
    assert found.errors.to_values() == {"value": None, "low": None, "high": None}
    assert found.accepted.value == 0
    report = complementarity_report(rows, {"T": nothing}, title="Who", summary="Made up.", seed=0)
    run = Run(tmp_path, RouteConfig(), seed=0)
    run.log(errors=found.errors.to_values())
    run.report(report.values(), report.html())
    for name in ("report.json", "metrics.jsonl"):
        assert "NaN" not in (tmp_path / name).read_text()
    assert "nan" not in report.html().replace("nanc", "")


def test_two_claims_show_no_winner():
    rows = Rows(confidence=np.array([0.5, 0.6, 0.5, 0.6]), ai=np.zeros(4), people=np.ones(4),
                groups=["a", "a", "b", "b"], slices=["x", "y", "x", "y"])  # fmt: skip
    report = complementarity_report(
        rows, {"T": rows.confidence >= 0.8}, title="Who", summary="Made up.", seed=0
    )
    for table in report.values()["sections"][1]["blocks"][:2]:
        assert {row[-1] for row in table["rows"]} == {"neither for sure"}


def make_votes(path, claims=36):
    """Claims whose evidence says plainly what it thinks, and people who mostly agree."""
    random = np.random.default_rng(0)
    said = {"SUPPORTS": "this is confirmed by many measurements",
            "REFUTES": "this was never seen and is not true",
            "NOT_ENOUGH_INFO": "bread is baked in an oven"}  # fmt: skip
    with gzip.open(path, "wt") as file:
        for n in range(claims):
            evidences = []
            for k in range(4):
                label = list(said)[(n + k) % 3]
                votes = [label if random.random() < 0.7 else random.choice(list(said))
                         for _ in range(3)]  # fmt: skip
                evidences.append({"evidence": f"Item {k}: {said[label]}.", "article": "Ovens",
                                  "votes": [*votes, None, None]})  # fmt: skip
            claim = {"claim_id": str(n), "claim": f"Claim {n} about ovens holds 7 times.",
                     "evidences": evidences}  # fmt: skip
            file.write(json.dumps(claim) + "\n")
    return path


def test_votes_are_routed_by_what_other_claims_teach(tmp_path):
    pairs = read_pairs(make_votes(tmp_path / "votes.jsonl.gz"))
    assert len(pairs) == 144
    outcome = route_claims(pairs, folds=3, seed=0)
    measured = outcome.measured(seed=0)
    assert measured.ai.value > 0.6
    assert set(map(len, outcome.routes.values())) == {measured.rows}
    accepted = outcome.routes["T for accuracy"]
    assert measured.errors.value == pytest.approx(1 - outcome.rows.ai[accepted].mean())
    assert len(outcome.thresholds) == 3
    again = route_claims(pairs, folds=3, seed=0)
    assert (again.rows.confidence == outcome.rows.confidence).all()


def test_a_risk_is_bounded_on_other_claims_than_calibrate():
    rows = make_rows(800)
    cut = next(cut for name, cut in choose(rows, seed=0).cuts.items() if "risk" in name)
    calibrates = folds_of(rows.groups, 2, seed=0) == 0
    assert cut.calibration == fit_confidence_by_slice(rows.take(calibrates))
    assert cut.limit in cut.calibration(rows.take(~calibrates))


def test_a_vote_is_held_against_the_others_majority(tmp_path):
    pairs = read_pairs(make_votes(tmp_path / "votes.jsonl.gz", claims=8))
    seen = judge_by_folds(pairs, folds=2, seed=0)
    assert seen.shape == (len(pairs), 3)
    assert seen.sum(axis=1) == pytest.approx(1)
    rows, places = left_out_rows(pairs, seen)
    for person, place in zip(rows.people, places, strict=True):
        votes = pairs[place].votes
        if len(set(votes)) == 1:
            assert person == 1
    with pytest.raises(DataError, match="expected at least 9"):
        judge_by_folds(pairs, folds=9, seed=0)
    alone = Rater().fit(pairs).probabilities(pairs[:2])
    assert alone.shape == (2, 3)


def test_a_file_of_other_things_is_refused(tmp_path):
    path = tmp_path / "votes.jsonl"
    path.write_text('{"claim": "x"}\n')
    with pytest.raises(DataError, match=r"votes.jsonl:1.*Climate-FEVER"):
        read_pairs(path)
