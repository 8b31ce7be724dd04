import dataclasses
import random
import time
from pathlib import Path

import numpy as np
import pytest

from custodes.classifiers import Calibration, load_scorer
from custodes.constitution import Constitution
from custodes.errors import ArtifactError, ConfigError, DataError
from custodes.guard import Cascade, Guard, load_guard, save_guard
from custodes.guard.build import GuardConfig, build_guard, default_stages
from custodes.guard.calibration import CalibrationConfig, calibrate_guard
from custodes.guard.outcome import outcomes
from custodes.types import Action, Example, Message, Mode

CONSTITUTION = Constitution.parse(
    {
        "id": "garden",
        "version": "1",
        "title": "Garden",
        "rules": [
            {"id": "theft", "title": "Theft", "text": "No theft.", "polarity": "restricted"},
            {"id": "growing", "title": "Growing", "text": "Growing.", "polarity": "permitted"},
        ],
    }
)
FIVE = CalibrationConfig(budget=0.05)
BENIGN = ["plant tulips", "water the roses", "prune a tree", "sow carrots", "rake leaves"]
HARMFUL = ["steal tulips", "poison the roses", "burn a tree", "smash carrots", "sell stolen rakes"]


def rows(count, start=0):
    rng = random.Random(start)
    made = []
    for index in range(start, start + count):
        label = index % 2
        act = rng.choice(HARMFUL if label else BENIGN)
        made.append(
            Example(
                id=str(index),
                source="test",
                licence="Apache-2.0",
                kind="request",
                text=f"{rng.choice(['Please', 'How do I', 'Tell me how to'])} {act} {index}",
                label=label,
                rule="theft" if label else "growing",
            )
        )
    return made


def config(**stage):
    hashed = {
        "features": "hashed",
        "settings": {"bits": 12},
        "epochs": 10,
        "learning_rate": 0.02,
        **stage,
    }
    return GuardConfig.parse(
        {"stages": [{"name": "first", **hashed}, {"name": "second", **hashed}]}
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built") / "guard"
    heard = []
    build_guard(
        rows(300),
        CONSTITUTION,
        config(),
        folder=folder,
        card="# Card\n",
        progress=lambda stage, share: heard.append((stage, share)),
    )
    assert heard[-1] == ("second: head", 1.0)
    return folder


@pytest.fixture(scope="module")
def calibrated(built):
    folder = built.with_name("calibrated")
    report = calibrate_guard(
        built,
        rows(400, 1000),
        CalibrationConfig(budget=0.05, escalate={"first": 0.3}),
        folder=folder,
    )
    assert set(report.thresholds) == {Mode.INPUT}
    assert report.thresholds[Mode.INPUT].refused <= 10
    return folder


def test_a_built_guard_loads_and_knows_its_constitution(built):
    guard = load_guard(built)
    assert str(guard.edition) == "garden@1"
    assert guard.cascade.rules == ("theft",)
    assert (built / "card.md").read_text() == "# Card\n"


def test_a_calibrated_guard_keeps_its_budget_and_stops_harm(calibrated):
    guard = load_guard(calibrated)
    fresh = rows(400, 5000)
    found = outcomes(guard, [(Message("user", row.text),) for row in fresh])
    stopped = [each.verdict.action is Action.STOP for each in found]
    refused = [stop for stop, row in zip(stopped, fresh, strict=True) if row.label == 0]
    caught = [stop for stop, row in zip(stopped, fresh, strict=True) if row.label == 1]
    assert sum(refused) / len(refused) <= 0.1
    assert sum(caught) / len(caught) >= 0.9
    assert {each.verdict.rule for each in found if each.verdict.action is Action.STOP} == {"theft"}


def test_only_what_the_first_stage_escalates_reaches_the_second(calibrated):
    guard = load_guard(calibrated)
    fresh = [row for row in rows(400, 9000) if row.label == 0]
    found = outcomes(guard, [(Message("user", row.text),) for row in fresh])
    second = sum(each.verdict.stage == "second" for each in found)
    assert 0.1 < second / len(fresh) < 0.6


def test_the_threshold_is_set_on_ordinary_traffic_where_there_is_enough(built, tmp_path):
    ordinary = [row for row in rows(200, 20_000) if row.label == 0]
    report = calibrate_guard(built, rows(400, 1000), FIVE, folder=tmp_path / "g", benign=ordinary)
    assert report.thresholds[Mode.INPUT].rows == 100
    few = calibrate_guard(built, rows(400, 1000), FIVE, folder=tmp_path / "h", benign=ordinary[:20])
    assert few.thresholds[Mode.INPUT].rows == 200


def suspicious(seed):
    """200 benign texts that sound harmful: their probabilities are close to 1."""
    rng = random.Random(seed)
    return [
        dataclasses.replace(
            row,
            text=f"{rng.choice(BENIGN)}, {rng.choice(BENIGN)}, {rng.choice(HARMFUL)} {row.id}",
            label=0,
            rule="growing",
        )
        for row in rows(200, 20_000 + 1000 * seed)
    ]


@pytest.mark.parametrize(
    ("examples", "extra"),
    [
        (0, {}),
        (400, {}),
        (400, {"escalate": {"first": 0.3}}),
        (400, {"escalate": {"first": 0.3}, "alone": {"second": 0.4}}),
    ],
    ids=["thresholds only", "anew", "escalating", "alone"],
)
def test_what_calibration_counts_as_refused_is_refused(built, tmp_path, examples, extra):
    benign = suspicious(0)
    config = CalibrationConfig(budget=0.05, **extra)
    report = calibrate_guard(
        built, rows(examples, 1000), config, folder=tmp_path / "g", benign=benign
    )
    guard = load_guard(tmp_path / "g")
    texts = [(Message("user", row.text),) for row in benign]
    judged = [one.action is Action.STOP for one in guard.judge_many(texts)]
    streamed = []
    for (message,), stop in zip(texts, judged, strict=True):
        session = guard.open((), Mode.INPUT)
        stops = [session.feed(message.content).action, session.finish().action]
        streamed.append(Action.STOP in stops)
        assert streamed[-1] == stop
    assert sum(judged) == report.thresholds[Mode.INPUT].refused <= 10


def test_rows_that_are_all_harmful_for_certain_leave_no_threshold(built, tmp_path):
    benign = [dataclasses.replace(row, label=0) for row in rows(400, 20_000) if row.label == 1]
    with pytest.raises(DataError, match="have a probability of harm of 1"):
        calibrate_guard(built, rows(400, 1000), FIVE, folder=tmp_path / "g", benign=benign)
    assert not (tmp_path / "g").exists()


def test_thresholds_alone_are_set_on_the_combined_calibration(built, tmp_path):
    guard = load_guard(built)
    fits = {Mode.INPUT: Calibration(slope=0.5, intercept=-1.0)}
    own = Guard(
        guard.cascade,
        guard.policy,
        edition=guard.edition,
        artifact="",
        clock=time.monotonic,
        calibration=fits,
    )
    places = {name: built / "stages" / name for name in ("first", "second")}
    save_guard(tmp_path / "own", own, scorers=places, card="# Card\n")
    benign = suspicious(0)
    report = calibrate_guard(tmp_path / "own", [], FIVE, folder=tmp_path / "g", benign=benign)
    after = load_guard(tmp_path / "g")
    assert after.calibration == fits
    judged = after.judge_many([(Message("user", row.text),) for row in benign])
    stopped = sum(one.action is Action.STOP for one in judged)
    assert stopped == report.thresholds[Mode.INPUT].refused > 0
    calibrate_guard(tmp_path / "own", rows(400, 1000), FIVE, folder=tmp_path / "h")
    assert not load_guard(tmp_path / "h").calibration


def test_a_stage_that_speaks_alone_gets_its_share_of_the_budget(built, tmp_path):
    config = CalibrationConfig(budget=0.05, alone={"second": 0.4})
    report = calibrate_guard(built, rows(400, 1000), config, folder=tmp_path / "g")
    assert report.alone == {"second": (Mode.INPUT,)}
    assert report.thresholds[Mode.INPUT].rate.value <= 0.05
    guard = load_guard(tmp_path / "g")
    first, second = guard.cascade.stages
    assert not first.alone and set(second.alone) == {Mode.INPUT}
    benign = [(Message("user", row.text),) for row in rows(400, 1000) if row.label == 0]
    own = [max(p.logit for p in Cascade([second]).points(one, Mode.INPUT)) for one in benign]
    limit = report.thresholds[Mode.INPUT].logit
    spoken = np.mean(np.array(own) + second.alone[Mode.INPUT] >= limit)
    assert 0 < spoken <= 0.03


def replies(count, start):
    """The same texts as replies."""
    return [
        dataclasses.replace(row, text=None, messages=(Message("assistant", row.text),))
        for row in rows(count, start)
    ]


def test_where_rows_are_few_a_threshold_stays_and_nobody_speaks_alone(built, tmp_path):
    both = [*rows(400, 1000), *replies(400, 3000)]
    calibrate_guard(built, both, FIVE, folder=tmp_path / "first")
    known = load_guard(tmp_path / "first").policy.thresholds
    config = CalibrationConfig(budget=0.05, alone={"second": 0.6})
    few = [*rows(400, 1000), *replies(100, 3000)]
    report = calibrate_guard(tmp_path / "first", few, config, folder=tmp_path / "second")
    assert set(report.skipped) == {Mode.OUTPUT, Mode.EXCHANGE}
    assert report.alone == {"second": (Mode.INPUT,)}
    now = load_guard(tmp_path / "second").policy.thresholds
    assert now[Mode.OUTPUT] == known[Mode.OUTPUT]
    assert now[Mode.INPUT] != known[Mode.INPUT]


@pytest.mark.parametrize("replied", [0, 100])
def test_a_threshold_that_stays_stays_with_its_probabilities(built, tmp_path, replied):
    """On others it would mean nothing: rows of prompts alone took the replies' fits away."""
    first = CalibrationConfig(budget=0.05, escalate={"first": 0.3}, alone={"second": 0.4})
    calibrate_guard(built, [*rows(400, 1000), *replies(400, 3000)], first, folder=tmp_path / "g")
    again = [*rows(400, 7000), *(replies(replied, 9000) if replied else [])]
    report = calibrate_guard(tmp_path / "g", again, FIVE, folder=tmp_path / "h")
    before, after = load_guard(tmp_path / "g"), load_guard(tmp_path / "h")
    assert set(report.thresholds) == {Mode.INPUT}
    assert set(report.skipped) == {Mode.OUTPUT, Mode.EXCHANGE}
    for old, new in zip(before.cascade.stages, after.cascade.stages, strict=True):
        assert new.scorer.calibration[Mode.INPUT] != old.scorer.calibration[Mode.INPUT]
        for mode in report.skipped:
            assert new.scorer.calibration[mode] == old.scorer.calibration[mode]
            assert new.alone.get(mode) == old.alone.get(mode)
            assert after.policy.thresholds[mode] == before.policy.thresholds[mode]
    assert Mode.OUTPUT in before.cascade.stages[1].alone
    assert Mode.INPUT not in after.cascade.stages[1].alone
    assert [lost.split(" by ")[0].split(" above")[0] for lost in report.dropped] == [
        "stage first passed on what lay",
        "stage second spoke alone",
    ]


def test_the_last_stage_passes_nothing_on(built, tmp_path):
    last = CalibrationConfig(budget=0.05, escalate={"second": 0.2})
    with pytest.raises(ConfigError, match="got second, the last stage"):
        calibrate_guard(built, rows(400, 1000), last, folder=tmp_path / "g")
    with pytest.raises(ConfigError, match="escalate"):
        CalibrationConfig.parse({"escalate": {"first": 1.5}})


def test_thresholds_move_to_ordinary_traffic_and_all_else_stays(built, tmp_path):
    config = CalibrationConfig(budget=0.05, escalate={"first": 0.3}, alone={"second": 0.4})
    calibrate_guard(built, [*rows(400, 1000), *replies(400, 3000)], config, folder=tmp_path / "g")
    before = load_guard(tmp_path / "g")
    ordinary = [row for row in replies(400, 20_000) if row.label == 0]
    aim = CalibrationConfig(budget=0.05, modes=(Mode.EXCHANGE,))
    report = calibrate_guard(tmp_path / "g", [], aim, folder=tmp_path / "h", benign=ordinary)
    assert set(report.thresholds) == {Mode.EXCHANGE} and not report.skipped
    after = load_guard(tmp_path / "h")
    moved = {**before.policy.thresholds, Mode.EXCHANGE: after.policy.thresholds[Mode.EXCHANGE]}
    assert after.policy.thresholds == moved != before.policy.thresholds
    for one, other in zip(before.cascade.stages, after.cascade.stages, strict=True):
        assert (one.escalate_above, one.alone) == (other.escalate_above, other.alone)
        assert one.scorer.calibration == other.scorer.calibration
    aim = CalibrationConfig(budget=0.05, escalate={"first": 0.1}, alone={"first": 0.2})
    benign = [row for row in rows(400, 30_000) if row.label == 0]
    calibrate_guard(tmp_path / "g", [], aim, folder=tmp_path / "i", benign=benign)
    first, second = load_guard(tmp_path / "i").cascade.stages
    assert first.escalate_above > before.cascade.stages[0].escalate_above
    assert set(first.alone) == {Mode.INPUT}
    assert second.alone == before.cascade.stages[1].alone


def test_stages_are_chosen_and_ordered_and_other_modes_are_named(built, tmp_path):
    both = [*rows(400, 1000), *replies(400, 3000)]
    config = CalibrationConfig(budget=0.05, escalate={"first": 0.3})
    calibrate_guard(built, both, config, folder=tmp_path / "g")
    benign = [row for row in rows(400, 30_000) if row.label == 0]
    turned = CalibrationConfig(budget=0.05, stages=("second", "first"), escalate={"second": 0.2})
    report = calibrate_guard(tmp_path / "g", [], turned, folder=tmp_path / "h", benign=benign)
    second, first = load_guard(tmp_path / "h").cascade.stages
    assert (second.scorer.name, first.scorer.name) == ("second", "first")
    assert second.escalate_above is not None and first.escalate_above is None
    assert set(report.thresholds) == {Mode.INPUT}
    assert set(report.skipped) == {Mode.OUTPUT, Mode.EXCHANGE}
    one = CalibrationConfig(budget=0.05, stages=("first",))
    calibrate_guard(tmp_path / "g", [], one, folder=tmp_path / "i", benign=benign)
    (only,) = load_guard(tmp_path / "i").cascade.stages
    assert only.scorer.name == "first" and only.escalate_above is None
    for stages in (("first", "first"), ("first", "third")):
        wrong = CalibrationConfig(budget=0.05, stages=stages)
        with pytest.raises(ConfigError, match="expected some of first, second, each once"):
            calibrate_guard(tmp_path / "g", [], wrong, folder=tmp_path / "j", benign=benign)
    gone = CalibrationConfig(budget=0.05, stages=("first",), escalate={"second": 0.2})
    with pytest.raises(ConfigError, match="escalate: got second; expected stages: first"):
        calibrate_guard(tmp_path / "g", [], gone, folder=tmp_path / "j", benign=benign)
    assert not (tmp_path / "j").exists()


def test_calibration_of_nothing_or_of_too_much_is_refused(built, tmp_path):
    with pytest.raises(
        DataError, match="no benign texts that are judged as input, output, exchange"
    ):
        calibrate_guard(built, [], FIVE, folder=tmp_path / "g")
    one = CalibrationConfig(budget=0.05, modes=(Mode.INPUT,))
    with pytest.raises(ConfigError, match="modes: got input and examples"):
        calibrate_guard(built, rows(400, 1000), one, folder=tmp_path / "g")
    assert not (tmp_path / "g").exists()


@pytest.mark.parametrize(
    ("alone", "error", "words"),
    [({"third": 0.2}, ConfigError, "got third; expected stages: first, second"),
     ({"first": 0.5, "second": 0.5}, ConfigError, "sum to 1"),
     ({"second": 0.01}, DataError, "its share is 0.0500 % of benign texts")],
)  # fmt: skip
def test_shares_that_no_stage_can_have(built, tmp_path, alone, error, words):
    config = CalibrationConfig(budget=0.05, alone=alone)
    with pytest.raises(error, match=words.replace(" %", "%")):
        calibrate_guard(built, rows(400, 1000), config, folder=tmp_path / "g")
    assert not (tmp_path / "g").exists()


def test_a_stage_that_serves_prompts_alone_is_left_out_of_replies(tmp_path):
    build_guard(
        rows(300), CONSTITUTION, config(serves=["input"]), folder=tmp_path / "g", card="# Card\n"
    )
    guard = load_guard(tmp_path / "g")
    serving = guard.cascade.serving(Mode.INPUT)
    assert [stage.scorer.name for stage in serving.stages] == ["first", "second"]
    with pytest.raises(ConfigError, match="no stage of this guard judges output"):
        guard.cascade.serving(Mode.OUTPUT)


def test_calibration_in_place_replaces_the_guard(built, tmp_path):
    import shutil

    shutil.copytree(built, tmp_path / "guard")
    before = load_guard(tmp_path / "guard").artifact
    calibrate_guard(tmp_path / "guard", rows(400, 1000), FIVE, folder=tmp_path / "guard")
    assert load_guard(tmp_path / "guard").artifact != before


def test_a_budget_too_small_leaves_the_guard_as_it_was(built, tmp_path):
    with pytest.raises(DataError, match="at least 299"):
        calibrate_guard(
            built, rows(100, 1000), CalibrationConfig(budget=0.01), folder=tmp_path / "guard"
        )
    assert not (tmp_path / "guard").exists()


def test_calibration_without_a_label_says_so(built, tmp_path):
    unlabelled = [Example(id="1", source="s", kind="k", text="Hello")]
    with pytest.raises(DataError, match="no labelled rows"):
        calibrate_guard(built, unlabelled, FIVE, folder=tmp_path / "guard")


def test_rules_of_another_constitution_are_refused(tmp_path):
    strange = [Example(id="1", source="s", kind="k", text="Hi", label=1, rule="else")]
    with pytest.raises(ConfigError, match="else"):
        build_guard(strange, CONSTITUTION, config(), folder=tmp_path / "g", card="")


def test_emphasis_on_an_unknown_rule_is_refused(tmp_path):
    config = GuardConfig(emphasis={"gardning": 4.0})
    with pytest.raises(ConfigError, match="emphasis: got gardning; expected some of"):
        build_guard(rows(10), CONSTITUTION, config, folder=tmp_path / "guard", card="c")


def test_a_scripted_stage_cannot_be_calibrated(tmp_path, monkeypatch):
    from custodes.classifiers.scripted import ScriptedConfig, ScriptedScorer
    from custodes.guard import calibration

    guard = ScriptedScorer(ScriptedConfig(rules=("theft",)))
    with pytest.raises(ArtifactError, match="scripted"):
        calibration._remembering(guard, None)


@pytest.mark.parametrize("size", ["tiny", "small", "full"])
def test_the_default_stages_screen_with_hashes_before_activations(size):
    stages = GuardConfig(size=size).resolved().stages
    assert [stage.features for stage in stages] == ["hashed", "activations"]
    assert stages == default_stages(size)


def test_scorers_of_a_guard_are_scorers(built):
    scorer = load_scorer(Path(built) / "stages" / "first")
    assert scorer.name == "first"
    assert scorer.rules == ("theft",)


def test_a_model_asked_with_the_constitution_is_a_last_stage(tmp_path):
    model = {
        "kind": "scripted",
        "script": [
            {"when": "(?s)(steal|poison|burn|smash|stolen).*Is any", "reply": "Yes"},
            {"when": "(?s)(steal|poison|burn|smash|stolen).*none of it", "reply": "No"},
            {"when": "none of it", "reply": "Yes"},
        ],
        "otherwise": "No",
    }
    (hashed, _) = config().stages
    asked = {"model": model, "by": "sampling", "detail": "texts"}
    settings = GuardConfig.parse(
        {"stages": [hashed, {"name": "judge", "features": "prompted", "settings": asked}]}
    )
    build_guard(rows(300), CONSTITUTION, settings, folder=tmp_path / "built", card="# Card\n")
    judge = load_guard(tmp_path / "built").cascade.stages[1].scorer
    assert judge.config.restricted == ("No theft.",)
    assert judge.config.permitted == ("Growing.",)
    calibrate_guard(
        tmp_path / "built",
        rows(200, 1000),
        CalibrationConfig(budget=0.05, escalate={"first": 0.3}),
        folder=tmp_path / "guard",
    )
    guard = load_guard(tmp_path / "guard")
    fits = guard.cascade.stages[1].scorer.calibration
    assert fits[Mode.INPUT].slope > 1
    fresh = rows(60, 5000)
    found = outcomes(guard, [(Message("user", row.text),) for row in fresh])
    stopped = {row.id for row, each in zip(fresh, found, strict=True) if each.stop_at is not None}
    harmful = {row.id for row in fresh if row.label == 1}
    assert harmful <= stopped
    assert len(stopped - harmful) <= 4
    assert {each.verdict.stage for each in found} == {"first", "judge"}
    assert {each.verdict.rule for each in found if each.stop_at is not None} == {"theft"}
