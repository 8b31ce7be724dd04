"""The ablations run, and tell a difference where there is one and only there."""

import json

import numpy as np
import pytest

from custodes.cli.reproduce import REPRODUCTIONS
from custodes.guard.ablations.bench import Arm, Bench, Recipe
from custodes.guard.ablations.claims import Claim, Labelled, difference, verdict
from custodes.guard.ablations.config import AblationsConfig
from custodes.guard.ablations.material import HELD_OUT, HELD_OUT_TRANSFORMS, gather
from custodes.guard.ablations.studies import STUDIES
from custodes.guard.ablations.study import Workplace
from custodes.measure import Interval

CLAIM = Claim(statement="", source="", arm="good", against="bad", table="t")

GOOD = Interval(0.8, 0.75, 0.85)


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    config = AblationsConfig.of("tiny", 0).model_copy(update={"rows": 3})
    return config, gather(config, tmp_path_factory.mktemp("rows"))


def test_training_and_measuring_share_no_row_and_no_held_out_transform(material):
    _, rows = material
    trained = [*rows.training, *rows.exchanges]
    groups = {row.example.group for row in trained}
    for table in (*rows.prompts.values(), rows.exchanged):
        assert table
        assert not groups & {row.example.group for row in table}
    assert not any(set(r.example.transforms) & set(HELD_OUT_TRANSFORMS) for r in trained)
    assert any(set(r.example.transforms) & set(HELD_OUT_TRANSFORMS) for r in rows.prompts[HELD_OUT])
    assert {row.label for row in rows.harmless} == {0}
    assert {row.label for row in rows.restricted} == {1}
    assert rows.traffic


def test_scores_are_kept_and_differ_by_seed_and_recipe(material, tmp_path):
    config, rows = material
    bench = Bench(config, tmp_path, None)
    table = {"t": rows.prompts["generated"]}
    first = bench.judged(Recipe("hashed"), rows.training, table)["t"]
    assert first.shape == (config.seeds, len(table["t"]))
    # Each seed leaves out other training rows.
    assert not np.allclose(first[0], first[1])
    files = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    again = bench.judged(Recipe("hashed"), rows.training, table)["t"]
    assert np.array_equal(first, again)
    assert files == {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    probe = bench.judged(Recipe(layers=(3, 4)), rows.training, table)["t"]
    wider = bench.judged(Recipe(layers=(3, 4), window=1), rows.training, table)["t"]
    assert not np.allclose(probe, first) and not np.allclose(probe, wider)


def test_every_study_has_the_arms_that_its_claims_compare(material, tmp_path):
    config, rows = material
    place = Workplace(Bench(config.model_copy(update={"seeds": 1}), tmp_path, None), rows)
    for make in STUDIES.values():
        study = make(place)
        arms = {arm.name: arm for arm in study.arms}
        assert len(arms) == len(study.arms)
        assert study.claims
        for claim in study.claims:
            assert {claim.arm, claim.against} <= arms.keys()
            assert claim.table in arms[claim.arm].scores
            assert claim.table in study.tables
        assert all(name in arm.scores for arm in study.arms for name in study.tables)


def test_a_difference_is_told_where_there_is_one_and_only_there():
    rng = np.random.default_rng(0)
    labels = np.arange(600) % 2
    table = Labelled(labels, [f"g{i}" for i in range(600)])
    good = Arm(name="good", scores={"t": labels * 3 + rng.standard_normal((2, 600))})
    bad = Arm(name="bad", scores={"t": labels * 1 + rng.standard_normal((2, 600))})
    config = AblationsConfig.of("tiny", 0)
    gains = {
        pair: difference(metric, pair_of, "t", table, config=config)
        for metric in ("recall", "AUROC")
        for pair, pair_of in {
            (metric, "ahead"): (good, bad),
            (metric, "behind"): (bad, good),
            (metric, "same"): (good, good),
        }.items()
    }
    for metric in ("recall", "AUROC"):
        assert verdict(CLAIM, gains[metric, "ahead"], GOOD, chance=0.5) == "agrees"
        assert verdict(CLAIM, gains[metric, "behind"], GOOD, chance=0.5) == "does not"
        assert verdict(CLAIM, gains[metric, "same"], GOOD, chance=0.5) == "cannot tell"


def test_the_interval_of_a_difference_holds_every_fit():
    rng = np.random.default_rng(0)
    labels = np.arange(600) % 2
    table = Labelled(labels, [f"g{i}" for i in range(600)])
    noise = rng.standard_normal(600)
    even = Arm(name="even", scores={"t": np.stack([labels + noise, labels + noise])})
    torn = Arm(name="torn", scores={"t": np.stack([3 * labels + noise, noise])})
    gain = difference("AUROC", (torn, even), "t", table, config=AblationsConfig.of("tiny", 0))
    assert gain.low < -0.15 and gain.high > 0.15
    assert verdict(CLAIM, gain, GOOD, chance=0.5) == "cannot tell"


@pytest.mark.parametrize(
    ("interval", "said"),
    [
        ((-0.01, 0.02), "agrees"),
        ((-0.05, 0.02), "cannot tell"),
        ((-0.09, -0.04), "does not"),
    ],
)
def test_no_worse_allows_a_margin(interval, said):
    claim = Claim(statement="", source="", arm="a", against="b", table="t", no_worse=True)
    gain = Interval(sum(interval) / 2, *interval)
    assert verdict(claim, gain, GOOD, chance=0.5) == said
    # Where the other arm is no better than chance there was nothing to lose.
    assert verdict(claim, gain, Interval(0.5, 0.45, 0.6), chance=0.5) == "cannot tell"


def test_the_command_writes_a_page_with_every_statement(tmp_path, monkeypatch):
    from custodes.guard.ablations import config as settings

    monkeypatch.setitem(settings._TINY, "rows", 3)
    monkeypatch.setitem(settings._TINY, "seeds", 1)
    monkeypatch.setitem(settings._TINY, "resamples", 20)
    run = REPRODUCTIONS.load("constitutional-classifiers")
    page = run("tiny", 0, tmp_path / "run")
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert [section["title"] for section in report["sections"][1:]] == [
        "Harmless constitution removed",
        "Amount of data",
        "Depth of the model",
        "Augmentation removed",
        "Loss",
        "Layers of the probe",
        "Window M",
        "Exchange against input and output",
        "Cascade and ensemble",
        "Members of an ensemble",
    ]
    statements = report["sections"][0]["blocks"][1]["rows"]
    assert len(statements) >= 15
    assert {row[5] for row in statements} <= {"agrees", "does not", "cannot tell"}
    assert "its figures say nothing about the papers" in page.read_text()
    assert page.read_text().count("<svg ") >= 9
