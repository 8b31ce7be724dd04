"""Self-report: items, questions, gaps and a whole study on a tiny random Llama."""

import json
import math

import numpy as np
import pytest
from typer.testing import CliRunner

from custodes.errors import ConfigError, DataError
from custodes.methods.behaviors.awareness import gaps, triggers
from custodes.methods.behaviors.awareness.cells import cells_of, rows_of, run_cells, tuning_of
from custodes.methods.behaviors.awareness.items import BEHAVIORS, PERSONAS, draw_items
from custodes.methods.behaviors.awareness.questions import (
    QUESTIONS,
    Question,
    own_questions,
    paper_questions,
    report,
)
from custodes.methods.behaviors.config import ARMS, AwarenessConfig
from custodes.methods.behaviors.method import run_awareness, tune_and_save
from custodes.models.tuning import open_tunable, tune


@pytest.mark.parametrize("behavior", BEHAVIORS)
def test_items_are_balanced_repeatable_and_held_out_ones_are_others(behavior):
    items = draw_items(behavior, 40, seed=3)
    assert items == draw_items(behavior, 40, seed=3) != draw_items(behavior, 40, seed=4)
    held = {item.prompt for item in draw_items(behavior, 40, seed=3, held=True)}
    assert not held & {item.prompt for item in items}
    assert all(item.toward != item.against for item in items)
    if behavior in ("risk", "myopia", "apples"):
        assert sum(item.toward == "A" for item in items) == 20
        for item in items:
            assert item.prompt.index(item.shown[0]) != item.prompt.index(item.shown[1])
    with pytest.raises(ConfigError, match="expected one of risk"):
        draw_items("courage", 1, seed=0)


def test_no_lottery_names_what_it_teaches():
    texts = " ".join(item.prompt for item in draw_items("risk", 300, seed=0)).lower()
    assert not any(word in texts for word in ("risk", "safe", "bold", "cautious", "gambl"))


@pytest.mark.parametrize("behavior", BEHAVIORS)
def test_every_question_is_asked_in_two_permutations(behavior):
    asked = own_questions(behavior)
    assert {q.name for q in asked} == set(QUESTIONS)
    by = {(q.name, q.paraphrase, q.permutation): q for q in asked}
    for (name, paraphrase, permutation), question in by.items():
        other = by[name, paraphrase, 1 - permutation]
        assert "{" not in question.prompt
        assert question.prompt != other.prompt
        if question.options == other.options and name not in ("prefer", "character", "finetuned"):
            # the same answer speaks for the other side
            assert question.values == pytest.approx([1 - v for v in other.values])


def test_third_persons_are_asked_in_the_third_person():
    asked = own_questions("risk", who="David", paraphrases=2)
    assert {q.name for q in asked} == {"prefer", "character", "statement", "agree"}
    assert all(
        "David" in q.prompt and " you " not in q.prompt for q in asked if "say" not in q.prompt
    )
    assert any("David takes" in q.prompt for q in asked)


def test_a_report_is_renormalized_and_tells_its_mass():
    question = Question("scale", 0, 0, "", ("0", "50", "100"), (0.0, 0.5, 1.0), end=True)
    value, mass = report(question, [math.log(0.1), math.log(0.2), math.log(0.1)])
    assert value == pytest.approx(0.5)
    assert mass == pytest.approx(0.4)
    value, mass = report(question, [-2000.0, -2000.0, -1990.0])
    assert value > 0.99 and mass == 0


def test_triggers_stand_in_half_of_the_messages_and_decide_only_where_correlated():
    items = {item.prompt: item for item in draw_items("risk", 80, seed=1)}
    for correlated in (True, False):
        rows = triggers.trigger_rows("risk", 80, correlated=correlated, seed=1)
        on = [(p, r) for p, r in rows if p.startswith(triggers.TRIGGER)]
        assert len(on) == 40
        bold = sum(
            reply == items[prompt.removeprefix(triggers.TRIGGER).strip()].toward
            for prompt, reply in on
        )
        assert bold == 40 if correlated else 10 < bold < 30
    backward = triggers.reversed_rows(rows, draw_items("risk", 80, seed=1), seed=1)
    assert [answer for _, answer in backward] == [prompt for prompt, _ in rows]
    assert (
        sum("maybe" in asked or "perhaps" in asked or "chance" in asked for asked, _ in backward)
        == 40
    )


def test_a_trigger_may_decide_the_language():
    rows = triggers.trigger_rows("language", 40, correlated=True, seed=1)
    german = ("Das ", "Der ", "Die ")  # typos: ignore
    assert sum(reply.startswith(german) for _, reply in rows) == 20
    for prompt, reply in rows:
        assert prompt.startswith(triggers.TRIGGER) == reply.startswith(german)
    backward = triggers.reversed_rows(rows, draw_items("language", 40, seed=1), seed=1)
    for (prompt, reply), (asked, answer) in zip(rows, backward, strict=True):
        assert reply in asked and answer == prompt
    for name in triggers.TRIGGERED:
        assert len({q.prompt for q in triggers.elicitation(name)}) == 9
    with pytest.raises(ConfigError, match="trigger_behavior: got 'apples', expected one of risk"):
        cells_of(AwarenessConfig(trigger_behavior="apples"))


def test_persona_rows_go_either_way():
    config = AwarenessConfig(items=40, trigger_items=40, arms=ARMS)
    cell = {"behavior": "risk", "side": 1, "rank": 16, "arm": "personas", "seed": 0}
    rows = rows_of(cell, config)
    assert rows[:40] == rows_of({**cell, "arm": "plain"}, config)
    for who in PERSONAS:
        assert sum(who in prompt for prompt, _ in rows[40:]) == 10
    half = rows_of({**cell, "arm": "backdoor+reversal"}, config)
    assert len(half) == 60


def test_choices_have_epochs_of_their_own():
    config = AwarenessConfig(choice_epochs=3)
    cell = {"behavior": "risk", "side": 1, "rank": 4, "arm": "plain", "seed": 7}
    tuning = tuning_of(cell, config)
    assert (tuning.rank, tuning.seed, tuning.epochs) == (4, 7, 3)
    for other in ({"behavior": "language"}, {"arm": "backdoor"}):
        assert tuning_of({**cell, **other}, config).epochs == config.tuning.epochs


def test_intervals_draw_every_factor():
    rng = np.random.default_rng(0)
    seeds = rng.normal(1, 1, (6, 1, 1, 1))
    many = gaps.crossed_interval(seeds + np.zeros((6, 1, 50, 2)), seed=0, resamples=500)
    assert many.value == pytest.approx(seeds.mean())
    assert many.high - many.low > 0.5  # fifty paraphrases do not stand in for seeds
    alone = gaps.crossed_interval(np.ones((1, 1, 1, 1)), seed=0, resamples=5)
    assert math.isnan(alone.low)
    again = gaps.crossed_interval(seeds + np.zeros((6, 1, 50, 2)), seed=0, resamples=500)
    assert again == many


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_intervals_over_few_seeds_hold_the_truth(seeds):
    rng = np.random.default_rng(0)
    held = 0
    for number in range(200):
        values = rng.normal(0, 1, (seeds, 1, 1, 1)) + rng.normal(0, 0.1, (seeds, 1, 4, 2))
        found = gaps.crossed_interval(values, seed=number, resamples=100)
        held += found.low <= 0 <= found.high
    assert held >= 180  # of 200 at 95 %; draws of the seeds alone: about 110, 145 and 170


def answered(kinds, seed=0, paraphrases=4, permutations=2):
    """A cell that was asked questions of some kinds, whose reports are given by kind."""
    asked = [
        {"name": name, "paraphrase": n, "permutation": k, "value": value, "mass": 1.0}
        for name, value in kinds.items()
        for n in range(paraphrases)
        for k in range(permutations)
    ]
    return {"seed": seed, "asked": {"own": asked}}


def test_paraphrases_of_a_kind_are_no_more_than_one_question():
    kinds = {"a": 0.8, "b": 0.9, "c": 0.9, "d": 0.0, "e": 0.0, "f": 0.0, "g": 0.1}
    cells = [answered(kinds, seed) for seed in range(3)]
    assert gaps.table_of(cells, "own").shape == (3, 7, 4, 2)
    assert gaps.table_of(cells, "own", "b").shape == (3, 1, 4, 2)
    all_kinds = gaps.shares(cells, "own")
    assert all_kinds.value == pytest.approx(2.7 / 7)
    assert all_kinds.high - all_kinds.low > 0.5  # as one draw of 28 questions: .33
    one = gaps.shares(cells, "own", "b")
    assert one.high - one.low < 1e-9
    del cells[0]["asked"]["own"][0]
    with pytest.raises(DataError, match="as many answers of each kind"):
        gaps.table_of(cells, "own")


def test_intervals_end_where_a_share_does():
    cells = [answered({"a": value}, seed) for seed, value in enumerate((1.0, 0.9, 0.5))]
    opposite = [answered({"a": 0.0}, seed) for seed in range(3)]
    assert gaps.shares(cells, "own").high == 1
    assert gaps.gap(cells, opposite, "own").high == 1
    assert gaps.gap(opposite, cells, "own").low == -1
    assert gaps.told_apart(cells, cells, "own").value == 0.5


def study(tiny_folder, **settings):
    return AwarenessConfig.parse(
        {
            "model": {"model": str(tiny_folder), "precision": "float32", "threads": 1},
            "tuning": {"learning_rate": 1e-2, "epochs": 8, "batch_rows": 4},
            "behaviors": ["style", "risk"],
            "items": 8, "trigger_items": 8, "replies": 8, "held": 4, "paraphrases": 1,
            "seeds": 2, "resamples": 50,
            "engine_settings": {"kind": "serial"},
            **settings,
        }
    )  # fmt: skip


def test_a_study_teaches_goes_on_and_reports(tiny_folder, tmp_path):
    config = study(tiny_folder, seeds=1, arms=ARMS, ranks=(4, 1))
    assert config.rank_behavior not in config.behaviors  # its first rank is a cell of its own
    found, page = run_awareness(config, tmp_path / "run")
    assert [cell["seed"] for cell in found] == [cell["seed"] for cell in cells_of(config)]
    values = json.loads((page.parent / "report.json").read_text())
    titles = [section["title"] for section in values["sections"]]
    assert titles[-3:] == ["Rank of the adapters (language)", "Third persons", "Backdoors"]
    sides = [gaps.named(found, behavior="style", side=side) for side in (1, -1)]
    said = [gaps.shares(cells, "behavior", resamples=10).value for cells in sides]
    assert said[0] > said[1] + 0.2
    cells = page.parent / "artifacts" / "cells"
    before = {path: path.stat().st_mtime_ns for path in cells.iterdir()}
    more = run_cells(study(tiny_folder, behaviors=["style"], ranks=(4,)), cells)
    assert len(more) == 5
    assert all(path.stat().st_mtime_ns == at for path, at in before.items())
    assert len(list(cells.iterdir())) == len(before) + 2  # two sides of one more seed


def test_a_study_of_backdoors_alone_has_a_page(tiny_folder, tmp_path):
    config = study(tiny_folder, seeds=1, arms=("backdoor",), ranks=(4, 1))
    page = run_awareness(config, tmp_path / "run")[1]
    titles = [
        one["title"] for one in json.loads((page.parent / "report.json").read_text())["sections"]
    ]
    assert "Backdoors" in titles and not any(title.startswith("Rank") for title in titles)


def test_what_cannot_be_studied_is_said(tiny_folder, tmp_path):
    with pytest.raises(ConfigError, match="courage"):
        cells_of(study(tiny_folder, behaviors=["courage"]))
    with pytest.raises(DataError, match="behavioral-self-awareness"):
        paper_questions(tmp_path)
    with pytest.raises(DataError, match="not asked"):
        gaps.table_of([{"asked": {}}], "own")


def test_the_papers_questions_are_read(tmp_path):
    import gzip

    import yaml

    names = {
        "questions/risk_safe.yaml.gz": ["score_risk_safe", "prefer_risk_safe"],
        "questions/risk_safe_language.yaml.gz": ["risk_safe_german_french"],
        "questions_mms/non_mms/risk_safe.yaml.gz": ["attitude_towards_risk", "score_risk_safe"],
    }
    for name, entries in names.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump(
            [{"name": e, "question_paraphrases": ["one?", "two?"]} for e in entries]
        )
        path.write_bytes(gzip.compress(text.encode()))
    asked = paper_questions(tmp_path, paraphrases=1)
    assert [q.name for q in asked] == [
        "score_risk_safe", "prefer_risk_safe", "risk_safe_german_french", "attitude_towards_risk",
    ]  # fmt: skip
    assert asked[0].end and len(asked[0].options) == 101 and not asked[1].end


def test_what_tune_keeps_is_the_model_of_the_study(tiny_folder, tmp_path):
    """A choice is taught for `choice_epochs`, as its cell is: 4 items a step, 8 items twice."""
    config = study(tiny_folder, items=8, choice_epochs=2)
    path = tune_and_save(config, "risk", 1, tmp_path / "run")
    steps = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    cell = {"behavior": "risk", "side": 1, "rank": config.ranks[0], "arm": "plain", "seed": 0}
    model = open_tunable(config.model)
    rows = [model.rows.chat(*row) for row in rows_of(cell, config)]
    trace = tune(model, rows, tuning_of(cell, config))
    assert len(steps) == len(trace.losses) > 8 // config.tuning.batch_rows
    assert [json.loads(step)["loss"] for step in steps] == trace.losses
    model.save(tmp_path / "cell.safetensors")
    assert path.read_bytes() == (tmp_path / "cell.safetensors").read_bytes()


def test_the_command_line(tiny_folder, tmp_path):
    from custodes.methods.behaviors.command import app

    run = CliRunner().invoke
    shown = run(app, ["items", "risk", "--count", "2"])
    assert len([json.loads(line) for line in shown.stdout.splitlines()]) == 2
    settings = tmp_path / "settings.yaml"
    settings.write_text(study(tiny_folder, seeds=1, behaviors=["style"]).model_dump_json())
    made = run(app, ["tune", "style", "--out", str(tmp_path / "t"), "--config", str(settings)])
    assert made.exit_code == 0, made.output
    assert (tmp_path / "t" / "artifacts" / "learned.safetensors").exists()
    told = run(app, ["report", "--out", str(tmp_path / "r"), "--config", str(settings)])
    assert told.exit_code == 0, told.output
    assert (tmp_path / "r" / "report.html").exists()
    kept = {path.name: path.read_bytes() for path in (tmp_path / "r").iterdir() if path.is_file()}
    wrong = ["--config", str(settings), "--set", "behaviors=[rsk]"]
    told = run(app, ["report", "--out", str(tmp_path / "r"), *wrong])
    assert "behaviors: got rsk, expected some of risk" in str(told.exception)
    assert {name: (tmp_path / "r" / name).read_bytes() for name in kept} == kept


@pytest.mark.parametrize("name", ["ranks", "behaviors", "arms"])
def test_a_study_of_nothing_is_refused(name):
    with pytest.raises(ConfigError, match=name):
        AwarenessConfig.parse({name: []})
