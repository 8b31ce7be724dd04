import json
import shutil
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import yaml
from redteam_doubles import CONSTITUTION, SCRIPT_OF_MODEL, SET, guard_config, rows

from custodes.config import save
from custodes.constitution import constitution_hash, read
from custodes.data import read as read_rows
from custodes.data import write
from custodes.engine import ENGINES
from custodes.errors import ConfigError
from custodes.guard.build import build_guard
from custodes.guard.calibration import calibrate_guard
from custodes.redteam import AttackConfig, Attempt, CampaignConfig, Fight, user
from custodes.redteam.harden import harden_guard, held_out_attacks, summary
from custodes.redteam.harvest import benign_twins, harvest
from custodes.synthesis.transforms import TRANSFORMS
from custodes.types import Message


def coded(count):
    """Benign codes: the guard, which knows none, must let them through, and harmful ones too."""
    kinds = [TRANSFORMS.load(name) for name in ("rot13", "morse", "caesar")]
    return [
        replace(
            row,
            id=f"coded-{n}",
            text=kinds[n % 3].to_request(f"How do I cook soup, {n}?", Random(n)),
            messages=None,
            kind="benign_request",
            label=0,
            rule="cooking",
        )
        for n, row in enumerate(rows(count))
    ]


@pytest.fixture(autouse=True)
def codes_stay_unread(monkeypatch):
    """So that there are attacks that get through: what is learned here stands for codes that no
    guard undoes."""
    for place in ("cascade", "replay"):
        monkeypatch.setattr(f"custodes.guard.{place}.hidden", lambda text: [])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """What `custodes train` leaves behind, and the constitution's file."""
    run = tmp_path_factory.mktemp("run")
    text = CONSTITUTION.model_dump(mode="json")
    (run / "kraut.yaml").write_text(yaml.safe_dump(text), encoding="utf-8")
    write(run / "train.parquet", rows(200))
    write(run / "calibration.parquet", rows(160, start=1000) + coded(60))
    save(guard_config(), run / "config.yaml")
    build_guard(rows(200), CONSTITUTION, guard_config(), folder=run / "guard", card="# Card\n")
    assert constitution_hash(read(run / "kraut.yaml")) == constitution_hash(CONSTITUTION)
    return run


def config(questions, run, **settings):
    return CampaignConfig.parse(
        {
            "target": {"kind": "guarded", "guard": "default", "model": SCRIPT_OF_MODEL},
            "questions": str(questions),
            "attacks": [{"kind": name} for name in ("rot13", "leetspeak", "caesar", "morse")],
            "budget": 6,
            "neighbors": 8,
            "harden": {
                "constitution": str(run / "kraut.yaml"),
                "held_out": ["caesar"],
                "budget": 0.05,
                "twins": 4,
            },
            **settings,
        }
    )


def engine():
    made = ENGINES.load("local")
    return made(made.Config(kind="serial", batch_size=1))


def test_a_guard_learns_what_got_through(trained, questions, tmp_path, monkeypatch):
    said = []
    page = harden_guard(
        config(questions, trained), tmp_path / "out", run=trained, rounds=1, engine=engine(),
        cache=tmp_path / "replies", say=said.append,
    )  # fmt: skip
    before, after = summary(tmp_path / "out")
    assert after["rows learned"] > 0
    assert after["known"]["value"] <= before["known"]["value"]
    passed = [each["past the guard"]["known"]["value"] for each in (before, after)]
    assert passed[1] <= passed[0]
    assert after["refused"]["neighbors"][1] == before["refused"]["neighbors"][1] == 8
    assert "caesar" in page.read_text()
    learned = [
        row
        for row in read_rows(tmp_path / "out" / "round-1" / "train.parquet")
        if row.source == "custodes attack"
    ]
    assert {row.label for row in learned} == {0, 1}
    assert not any(row.meta["attack"] == "caesar" for row in learned)
    assert {row.meta.get("campaign") for row in learned} == {"round-0", None}
    assert all(row.meta.get("campaign") or row.meta.get("twin_of") for row in learned)
    assert any("rows learned" in line or "learned" in line for line in said)
    monkeypatch.chdir(tmp_path)
    again = harden_guard(  # the same folder, written otherwise
        config(questions, trained), Path("out"), run=trained, rounds=1, engine=engine(),
        cache=tmp_path / "replies",
    )  # fmt: skip
    assert len(list((tmp_path / "out" / "round-1" / "fresh" / "parts").glob("0*.jsonl"))) == 4
    assert summary(tmp_path / "out") == [before, after]
    assert json.loads((again.parent / "report.json").read_text())["rounds"][1] == after
    written = (tmp_path / "out" / "config.yaml").read_bytes()
    fewer = {"constitution": str(trained / "kraut.yaml"), "held_out": ["caesar"], "budget": 0.05,
             "twins": 3}  # fmt: skip
    with pytest.raises(ConfigError, match="other settings, another --run or other rows"):
        harden_guard(
            config(questions, trained, harden=fewer), tmp_path / "out", run=trained, rounds=1,
            engine=engine(), cache=tmp_path / "replies",
        )  # fmt: skip
    assert (tmp_path / "out" / "config.yaml").read_bytes() == written
    files = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    for other in ({"budget": 5}, {"seed": 1}, {"only": ["kraut"]}, {"share": 0.4}):
        with pytest.raises(ConfigError, match="was begun with other settings of the campaign"):
            harden_guard(
                config(questions, trained, **other), tmp_path / "out", run=trained, rounds=1,
                engine=engine(), cache=tmp_path / "replies",
            )  # fmt: skip
    assert files == {path: path.read_bytes() for path in files}
    shutil.rmtree(tmp_path / "out" / "round-0")
    with pytest.raises(ConfigError, match="was begun with other settings of the campaign"):
        harden_guard(
            config(questions, trained, budget=5), tmp_path / "out", run=trained, rounds=1,
            engine=engine(), cache=tmp_path / "replies",
        )  # fmt: skip
    left = {path: held for path, held in files.items() if "round-0" not in path.parts}
    assert left == {path: path.read_bytes() for path in left}


def test_a_hardening_killed_behind_a_guard_goes_on(trained, questions, tmp_path, monkeypatch):
    def run():
        harden_guard(
            config(questions, trained), tmp_path / "out", run=trained, rounds=0, engine=engine(),
            cache=tmp_path / "replies",
        )  # fmt: skip

    def killed(*arguments, **settings):
        calibrate_guard(*arguments, **settings)
        raise KeyboardInterrupt

    calibrated = []

    def watched(*arguments, **settings):
        calibrated.append(settings["folder"])
        return calibrate_guard(*arguments, **settings)

    monkeypatch.setattr("custodes.redteam.harden.calibrate_guard", killed)
    with pytest.raises(KeyboardInterrupt):
        run()
    assert (tmp_path / "out" / "round-0" / "guard" / "guard.json").is_file()
    monkeypatch.setattr("custodes.redteam.harden.calibrate_guard", watched)
    run()
    assert calibrated == []
    shutil.rmtree(tmp_path / "out" / "round-0" / "guard")
    run()  # killed before the guard was there: it is made
    assert len(calibrated) == 1


def attempt(attack, *, stopped=None, success=False, reply="", text="How?"):
    return Attempt(
        attack=attack, question="kraut", query=3, turns=user(text), stopped=stopped,
        success=success, reply=reply,
    )  # fmt: skip


def test_prompts_that_passed_and_answers_that_left_become_rows():
    fights = [
        Fight(
            attack="a",
            attempts=(
                attempt("a", stopped="input"),
                attempt("a", stopped="exchange", text="Passed?"),
                attempt("a", success=True, reply="Salt it.", text="Won?"),
            ),
            queries={"kraut": 3},
        )
    ]
    found = harvest(fights, SET, most=9, seed=0, campaign="c")
    assert [(row.kind, row.label) for row in found] == [
        ("jailbreak_prompt", 1), ("harmful_exchange", 1), ("jailbreak_prompt", 1),
    ]  # fmt: skip
    assert found[0].text == "Won?"
    assert found[0].rule == "fermenting"
    assert found[1].messages[-1].content == "Salt it."
    assert found[0].meta["query"] == 3
    (one, _) = harvest(fights, SET, most=1, seed=0, campaign="c")
    assert one.meta["success"] is True


def test_a_prefill_is_part_of_the_answer():
    begun = (*user("Won?"), Message("assistant", "Sure: "))
    won = Attempt(attack="p", question="kraut", query=1, turns=begun, success=True, reply="salt")
    prompt, exchange = harvest(
        [Fight(attack="p", attempts=(won,), queries={"kraut": 1})],
        SET,
        most=1,
        seed=0,
        campaign="c",
    )
    assert prompt.text == "Won?"
    assert exchange.messages[-1].content == "Sure: salt"


def test_twins_wear_the_attack_and_are_benign():
    benign = [row for row in rows(80) if row.kind == "benign_request"]
    kinds = [AttackConfig(kind=kind) for kind in ("reconstruction", "crescendo", "pair", "gcg")]
    twins = benign_twins(kinds, benign, each=3, seed=0)
    assert {row.label for row in twins} == {0}
    assert {row.meta["attack"] for row in twins} == {"reconstruction", "crescendo", "gcg"}
    assert twins == benign_twins(kinds, benign, each=3, seed=0)


def test_what_cannot_be_hardened_is_told(trained, questions, tmp_path):
    def run(where=trained, **settings):
        harden_guard(
            config(questions, trained, **settings), tmp_path / "out", run=where, rounds=1,
            engine=engine(), cache=tmp_path / "c",
        )  # fmt: skip

    with pytest.raises(ConfigError, match="expected guarded"):
        run(target={"kind": "model", "model": SCRIPT_OF_MODEL})
    with pytest.raises(ConfigError, match=r"has no train\.parquet"):
        run(where=tmp_path)
    with pytest.raises(ConfigError, match="is another text"):
        run(harden={"constitution": "fermentation"})
    with pytest.raises(ConfigError, match="held_out"):
        held_out_attacks(config(questions, trained, harden={"held_out": ["nobody"]}))
    assert len(held_out_attacks(config(questions, trained, harden={}))) == 1
