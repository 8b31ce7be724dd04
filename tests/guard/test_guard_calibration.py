"""What calibration reports of a guard with a policy, and what of the guard it leaves in place."""

import random
from collections import Counter

import pytest

from custodes.classifiers import threshold_for_budget
from custodes.classifiers.scripted import Pattern, ScriptedConfig, ScriptedScorer
from custodes.constitution import Constitution, constitution_hash, read
from custodes.errors import ConfigError
from custodes.guard import Cascade, Edition, Guard, Policy, RulePolicy, Stage, load_guard
from custodes.guard.build import GuardConfig, build_guard
from custodes.guard.calibration import CalibrationConfig, calibrate_guard
from custodes.guard.repolicy import change_policy
from custodes.types import Action, Example, Message, Mode

CONSTITUTION = Constitution.parse(
    {
        "id": "garden",
        "version": "1",
        "title": "Garden – Jardín",
        "rules": [
            {
                "id": "theft",
                "title": "Theft",
                "text": "No theft:\n- none",
                "polarity": "restricted",
            },
            {"id": "poison", "title": "Poison", "text": "No poison.", "polarity": "restricted"},
            {"id": "growing", "title": "Growing", "text": "Growing.", "polarity": "permitted"},
        ],
    }
)
WORDS = {
    "growing": ["tulips", "roses", "carrots", "leaves", "spade"],
    "theft": ["steal", "rob", "loot", "burgle"],
    "poison": ["toxin", "arsenic", "venom", "cyanide"],
}
FIVE = CalibrationConfig(budget=0.05)


def text(rng, words):
    neutral = ["please", "how", "do", "the", "a", "some", "in", "my", "of"]
    return " ".join(rng.choice([*neutral, *words, *words]) for _ in range(12))


def rows(count, seed, *, reply=False):
    """Half of them harmful; benign ones hold a word or two of harm, too."""
    rng = random.Random(seed)
    harm = WORDS["theft"] + WORDS["poison"]
    made = []
    for index in range(count):
        rule = rng.choice(["theft", "poison"]) if index % 2 else "growing"
        said = text(rng, WORDS[rule] + ([] if index % 2 else rng.sample(harm, 2)))
        asked = {"messages": (Message("assistant", said),)} if reply else {"text": said}
        made.append(
            Example(
                id=f"{seed}-{index}-{reply}",
                source="test",
                kind="request",
                label=index % 2,
                rule=rule,
                **asked,
            )
        )
    return made


def benign(count, seed, **options):
    return [row for row in rows(2 * count, seed, **options) if row.label == 0]


def stage(name, **settings):
    return {
        "name": name,
        "features": "hashed",
        "settings": {"bits": 10},
        "epochs": 4,
        "learning_rate": 0.02,
        **settings,
    }


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory):
    """A guard with thresholds for prompts and for replies."""
    folder = tmp_path_factory.mktemp("calibrated")
    settings = GuardConfig.parse({"stages": [stage("first"), stage("second")]})
    build_guard(rows(400, 1), CONSTITUTION, settings, folder=folder / "built", card="# Card\n")
    known = [*rows(400, 2), *rows(400, 3, reply=True)]
    calibrate_guard(folder / "built", known, FIVE, folder=folder / "guard")
    return folder / "guard"


def stopped(folder, texts):
    guard = load_guard(folder)
    verdicts = guard.judge_many([(Message("user", each.text),) for each in texts])
    return [each for each in verdicts if each.action is Action.STOP]


# What is reported


def test_what_a_rules_own_threshold_stops_is_counted_and_named(calibrated, tmp_path):
    texts = benign(300, 7)
    strict = {"rules": {"poison": RulePolicy(threshold=0.0005)}}
    report = calibrate_guard(
        calibrated, [], FIVE, folder=tmp_path / "g", benign=texts, policy=strict
    )
    found = stopped(tmp_path / "g", texts)
    told = report.thresholds[Mode.INPUT]
    assert told.refused == len(found) > 15, "more than five hundredths"
    assert told.rate.value == len(found) / 300
    assert told.rate.low < told.rate.value < told.rate.high
    threshold = load_guard(tmp_path / "g").policy.thresholds[Mode.INPUT]
    below = Counter(each.rule for each in found if each.score < threshold)
    assert set(report.over) == {Mode.INPUT} and not report.spared
    assert set(below) == {"poison"}
    said = f"rule poison stops {below['poison']} from 0.0005, a threshold of its own"
    assert (
        f"{len(found)} of 300 benign rows are stopped, more than 5.00%" in report.over[Mode.INPUT]
    )
    assert said in report.over[Mode.INPUT]
    # with no rule of its own the same rows keep the budget
    plain = calibrate_guard(calibrated, [], FIVE, folder=tmp_path / "h", benign=texts)
    assert plain.thresholds[Mode.INPUT].refused == len(stopped(tmp_path / "h", texts)) <= 15
    assert not plain.over and not plain.spared
    assert plain.thresholds[Mode.INPUT].score == told.score


@pytest.mark.parametrize(
    "policy",
    [
        {"action": "log"},
        {"rules": {"poison": RulePolicy(action="flag")}},
        {"rules": {"poison": RulePolicy(threshold=1.0), "theft": RulePolicy(action="log")}},
    ],
)
def test_what_the_policy_lets_through_is_not_counted_as_refused(calibrated, tmp_path, policy):
    texts = benign(300, 7)
    plain = calibrate_guard(calibrated, [], FIVE, folder=tmp_path / "h", benign=texts)
    report = calibrate_guard(
        calibrated, [], FIVE, folder=tmp_path / "g", benign=texts, policy=policy
    )
    told = report.thresholds[Mode.INPUT]
    assert told.refused == len(stopped(tmp_path / "g", texts))
    assert told.refused + report.spared[Mode.INPUT] == plain.thresholds[Mode.INPUT].refused
    assert told.refused < plain.thresholds[Mode.INPUT].refused
    assert not report.over


def test_a_skipped_mode_is_told_that_its_threshold_was_set_for_other_stages(calibrated, tmp_path):
    texts, few = benign(200, 7), benign(10, 8, reply=True)
    other = "; its threshold was set for other stages or escalation"
    aim = CalibrationConfig(budget=0.05, escalate={"first": 0.2})
    report = calibrate_guard(calibrated, [], aim, folder=tmp_path / "g", benign=[*texts, *few])
    assert set(report.skipped) == {Mode.OUTPUT, Mode.EXCHANGE}
    for why in report.skipped.values():
        assert "got 10 benign rows, needs at least 59" in why and why.endswith(other)
    report = calibrate_guard(calibrated, [], aim, folder=tmp_path / "g", benign=texts)
    assert set(report.skipped.values()) == {"no benign texts of it were given" + other}
    report = calibrate_guard(calibrated, [], FIVE, folder=tmp_path / "g", benign=[*texts, *few])
    assert len(report.skipped) == 2
    assert not any(other in why for why in report.skipped.values())


def test_a_mode_without_a_threshold_has_none_for_other_stages(calibrated, tmp_path):
    built = calibrated.with_name("built")
    aim = CalibrationConfig(budget=0.05, escalate={"first": 0.2})
    known = [*rows(400, 2), *rows(20, 3, reply=True)]
    report = calibrate_guard(built, known, aim, folder=tmp_path / "g")
    assert report.skipped[Mode.OUTPUT].endswith("give more benign rows or a larger budget")


def test_a_budget_allows_as_many_rows_as_it_says():
    """0.29 * 100 is less than 29 in floating point."""
    logits = [float(each) for each in range(100)]
    found = threshold_for_budget(logits, 0.29)
    assert (found.refused, found.rate.value) == (29, 0.29)
    assert 70 < found.logit < 70.001


# Which policy holds


def test_a_wrong_policy_is_refused_before_anything_is_written(calibrated, tmp_path):
    before = (calibrated / "guard.json").read_bytes()
    for changes, words in (
        ({"rules": {"pioson": RulePolicy(action="log")}}, "unknown rules: got pioson"),
        ({"threshold": 0.2}, "policy: got threshold and rows, which set the thresholds"),
        ({"thresholds": {Mode.INPUT: 0.9}}, "policy: got thresholds and rows"),
        ({"hold_back": -1}, "hold_back"),
    ):
        with pytest.raises(ConfigError, match=words):
            calibrate_guard(
                calibrated, [], FIVE, folder=calibrated, benign=benign(200, 7), policy=changes
            )
    assert (calibrated / "guard.json").read_bytes() == before


def test_rows_and_policy_go_together(calibrated, tmp_path):
    texts = benign(200, 7)
    report = calibrate_guard(
        calibrated, [], FIVE, folder=tmp_path / "g", benign=texts, policy={"hold_back": 9}
    )
    after = load_guard(tmp_path / "g")
    assert after.policy.hold_back == 9
    assert after.policy.thresholds[Mode.INPUT] == report.thresholds[Mode.INPUT].score
    assert after.artifact == report.manifest.sha256[:16]


def test_a_threshold_that_no_mode_would_take_is_refused(calibrated, tmp_path):
    with pytest.raises(ConfigError, match=r"got 1\.0, which would change nothing.*`thresholds`"):
        change_policy(calibrated, {"threshold": 1.0}, folder=tmp_path / "g")
    assert not (tmp_path / "g").exists()
    built = calibrated.with_name("built")
    change_policy(built, {"threshold": 0.9, "thresholds": {"input": 0.8}}, folder=tmp_path / "g")
    after = load_guard(tmp_path / "g").policy
    assert [after.threshold_of(None, mode) for mode in Mode] == [0.8, 0.9, 0.9]


def test_a_threshold_is_for_the_modes_that_the_guard_judges(tmp_path):
    settings = GuardConfig.parse({"stages": [stage("only", serves=["input"])]})
    settings = settings.model_copy(update={"policy": Policy(thresholds={Mode.INPUT: 0.7})})
    build_guard(rows(60, 1), CONSTITUTION, settings, folder=tmp_path / "g", card="# Card\n")
    with pytest.raises(ConfigError, match=r"this guard has thresholds \{input: 0\.7\}"):
        change_policy(tmp_path / "g", {"threshold": 0.2}, folder=tmp_path / "h")


def test_rules_that_only_a_stage_for_prompts_names_leave_replies_judged():
    class Prompts(ScriptedScorer):
        modes = (Mode.INPUT,)

    pattern = Pattern(regex="loot", logit=9, rule="theft")
    first = Prompts(ScriptedConfig(name="prompts", rules=("theft",), patterns=(pattern,)))
    pattern = Pattern(regex="loot", logit=9)
    second = ScriptedScorer(ScriptedConfig(name="all", patterns=(pattern,)))
    guard = Guard(
        Cascade([Stage(scorer=first), Stage(scorer=second)]),
        Policy(rules={"theft": RulePolicy(action="log")}),
        edition=Edition(id="garden", version="1"),
    )
    reply = (Message("user", "Hi"), Message("assistant", "loot it"))
    assert guard.judge(reply).action is Action.STOP
    assert guard.judge((Message("user", "loot it"),)).action is Action.RELEASE


# What stays


def test_a_guard_keeps_the_constitution_that_it_was_made_from(calibrated, tmp_path):
    built = calibrated.with_name("built")
    change_policy(calibrated, {"hold_back": 3}, folder=tmp_path / "g")
    for folder in (built, calibrated, tmp_path / "g"):
        kept = read(folder / "constitution.yaml")
        assert kept == CONSTITUTION
        assert constitution_hash(kept) == load_guard(folder).edition.sha256
