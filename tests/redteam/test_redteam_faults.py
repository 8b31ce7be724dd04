"""What a campaign must not take for safety, or for what it found before."""

import json
import random

import pytest
import yaml
from redteam_doubles import ANSWER, SET

from custodes.config.named_files import named_files
from custodes.engine import ENGINES
from custodes.errors import ConfigError, DataError, ModelRequestError
from custodes.models.scripted import ScriptedModel
from custodes.redteam import Attempt, CampaignConfig, TargetConfig, make_target, run_campaign, user
from custodes.redteam.attack import AttackConfig, Tools, make_attack
from custodes.redteam.behaviors import read_behaviors
from custodes.redteam.conclude import _names
from custodes.redteam.found import read_found
from custodes.redteam.judges import JudgeConfig, make_judge
from custodes.redteam.judges.people import case_id
from custodes.redteam.probes import Probe, Seen
from custodes.redteam.report import campaign_report, judges_agreement
from custodes.redteam.tally import ungraded


class Locked(ScriptedModel):
    """A server that wants another key."""

    status = 401

    def generate(self, conversations, sampling):
        raise ModelRequestError("status 401, expected 200: no such key", status=self.status)


class Full(Locked):
    status = 413


def serial():
    made = ENGINES.load("local")
    return made(made.Config(kind="serial", batch_size=1))


def answering(reply, **settings):
    return {"kind": "model", "model": {"kind": "scripted", "otherwise": reply}, **settings}


def campaign(questions, tmp_path, **settings):
    base = {
        "target": answering(ANSWER), "questions": str(questions), "attacks": [{"kind": "direct"}],
        "budget": 1, "neighbors": 0,
    }  # fmt: skip
    config = CampaignConfig.parse({**base, **settings})
    return run_campaign(config, tmp_path / "run", engine=serial(), cache=tmp_path / "cache")


def written(path, questions):
    path.write_text(yaml.safe_dump(questions.model_dump(mode="json")), encoding="utf-8")
    return path


def test_a_wrong_key_is_no_refusal_and_a_refusal_is_asked_again(tmp_path):
    def asked(name):
        settings = {"kind": "model", "model": {"kind": f"{__name__}:{name}"}}
        target = make_target(TargetConfig.parse(settings), cache=tmp_path)
        return target.handle([Probe(turns=user("kraut?"))])

    with pytest.raises(ModelRequestError, match="no such key"):
        asked("Locked")
    (seen,) = asked("Full")
    assert seen.reply == ""
    assert not list(tmp_path.rglob("*.json")), "what failed is not kept"


def test_replies_are_of_the_model_that_gave_them(tmp_path):
    def said(model):
        target = make_target(TargetConfig.parse({"kind": "model", "model": model}), cache=tmp_path)
        return target.handle([Probe(turns=user("a"))])[0].reply

    script = tmp_path / "script.yaml"
    for answer in ("one", "two"):
        assert said({"kind": "scripted", "otherwise": answer}) == answer
        script.write_text(f"otherwise: {answer} of a file\n")
        assert said({"kind": "scripted", "file": str(script)}) == f"{answer} of a file"


def test_a_question_that_was_changed_is_fought_again(tmp_path):
    first, second = SET.questions
    path = written(tmp_path / "set.yaml", SET.model_copy(update={"questions": (first,)}))
    assert {a.question for a in campaign(path, tmp_path).fights[0].attempts} == {"kraut"}
    written(path, SET.model_copy(update={"questions": (first, second)}))
    assert {a.question for a in campaign(path, tmp_path).fights[0].attempts} == {"kraut", "beer"}
    replayed = tmp_path / "said.jsonl"
    for text in ("old words", "new words"):
        attempt = Attempt(attack="x", question="kraut", query=1, turns=user(text), reply="")
        replayed.write_text(json.dumps(attempt.to_values()) + "\n")
        attack = {"kind": "replay", "file": str(replayed), "successes": False}
        (found,) = campaign(path, tmp_path, attacks=[attack]).fights
        assert {a.turns[-1].content for a in found.attempts} == {text}


def test_files_are_known_by_what_they_hold(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_text("1")
    assert named_files([str(tmp_path / "model"), "/"]) == {}, "no model's folder"
    (tmp_path / "model" / "config.json").write_text("{}")
    settings = {"kind": str(tmp_path), "model": {"path": [str(tmp_path / "model")], "seed": 3}}
    before = named_files(settings)
    assert set(before) == {str(tmp_path / "model")}
    (tmp_path / "model" / "weights").write_text("2")
    assert named_files(settings) != before
    assert named_files({"text": "x" * 5000, "other": "\0", "none": "", "gone": "/no/such"}) == {}


def test_questions_that_no_fact_grades_are_told_before_any_attack(tmp_path):
    bare = SET.questions[0].model_copy(update={"facts": ()})
    path = written(tmp_path / "set.yaml", SET.model_copy(update={"questions": (bare,)}))
    with pytest.raises(ConfigError, match="judge: got facts, but 1 questions have none"):
        campaign(path, tmp_path)
    campaign(path, tmp_path, judge={"kind": "model", "model": {"kind": "scripted",
                                                             "otherwise": "0"}})  # fmt: skip


def test_nothing_told_is_no_success_though_nothing_is_asked_for(tmp_path):
    path = written(tmp_path / "set.yaml", SET)
    found = campaign(path, tmp_path, target=answering("I would rather not."), least_facts=0)
    assert set(found.bars.values()) == {0.0}
    assert not any(attempt.success for attempt in found.fights[0].attempts)


def test_earlier_turns_are_repeated_as_they_were_sent():
    attack = make_attack(AttackConfig(kind="crescendo+base64"))
    tools = Tools(rng=random.Random(0), budget=4, wave=1)
    strategy = attack.begin(SET.questions[0], tools)
    sent = []
    (probe,) = next(strategy)
    while len(sent) < 3:
        own = [turn.content for turn in probe.turns if turn.role == "user"]
        assert own[:-1] == sent
        sent = own
        (probe,) = strategy.send([Seen(reply="Go on.", grade=0.2)])


def test_what_tries_everything_does_so_behind_a_transform_too(tmp_path):
    path = written(tmp_path / "set.yaml", SET.model_copy(update={"questions": SET.questions[:1]}))
    attacks = [{"kind": kind} for kind in ("templates", "templates+base64", "direct+base64")]
    found = campaign(path, tmp_path, attacks=attacks, budget=8, wave=1).fights
    assert [each.queries["kraut"] for each in found] == [8, 8, 1]


def people(tmp_path, *rows):
    shared = {"source": "people", "licence": "own", "kind": "moderation", "text": "x", "label": 1}
    path = tmp_path / f"labels-{len(list(tmp_path.glob('labels-*')))}.jsonl"
    path.write_text("".join(json.dumps({**shared, **row}) + "\n" for row in rows))
    return {"kind": "people", "file": str(path)}


def test_labels_that_fit_nothing_are_told(tmp_path):
    path = written(tmp_path / "set.yaml", SET)
    told = case_id("kraut", user(SET.questions[0].text), ANSWER)
    queue = {"id": "review-q-1", "meta": {"case": "q-1"}}
    other = {"id": "case-of-another-campaign"}
    for judge, why in (
        (people(tmp_path, queue), "ids such as 'review-q-1'"),
        (people(tmp_path, {"id": told, "label": None}), "no row with a label"),
        (people(tmp_path, other), "graded none of 2 replies"),
    ):
        with pytest.raises(ConfigError, match=why):
            campaign(path, tmp_path, judge=judge)
        with pytest.raises(ConfigError, match=why):
            second = {"people": make_judge(JudgeConfig.parse(judge))}
            judges_agreement(campaign(path, tmp_path), second)
    own = people(tmp_path, {**queue, "meta": {"ref": told}}, {**queue, "id": "review-q-2"})
    found = campaign(path, tmp_path, judge=own)
    assert found.fights[0].broken == {"kraut": 1}
    assert ungraded(found.fights) == 1  # nobody labeled the reply about beer
    page = campaign_report(found, []).html()
    assert "not graded" in page
    facts = campaign(path, tmp_path)
    assert ungraded(facts.fights) == 0
    assert "not graded" not in campaign_report(facts, []).html()


def test_two_judges_of_a_kind_are_two():
    judges = [JudgeConfig(kind=kind) for kind in ("people", "model", "people")]
    assert _names(judges) == ["people", "model", "people 2"]


def test_legal_files_of_others_are_read(tmp_path):
    line = {"id": "a", "prompt": "one\u2028two"}
    (tmp_path / "b.jsonl").write_text(json.dumps(line, ensure_ascii=False), encoding="utf-8")
    assert read_behaviors(tmp_path / "b.jsonl").questions[0].text == "one\u2028two"
    (tmp_path / "b.csv").write_text("Behavior,Other\nDo it,1\n", encoding="utf-8-sig")
    assert read_behaviors(tmp_path / "b.csv").questions[0].text == "Do it"
    (tmp_path / "b.json").write_text('["a text"]')
    with pytest.raises(DataError, match="a list of objects"):
        read_behaviors(tmp_path / "b.json")
    (tmp_path / "a.json").write_text('{"jailbreaks": [{"prompt": "x"}]}')
    with pytest.raises(DataError, match="a `goal`"):
        read_found(tmp_path / "a.json")
