import dataclasses
import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from custodes.errors import ConfigError, DataError
from custodes.methods.unlearning.cells import arm_cell, cell_hash, prepare_cell, seed_facts
from custodes.methods.unlearning.config import METHODS, FactsConfig, StudyConfig
from custodes.methods.unlearning.facts import read_facts, split_facts, write_facts
from custodes.methods.unlearning.grammar import invent
from custodes.methods.unlearning.method import run_study
from custodes.methods.unlearning.removal import objective, remove, steps_of
from custodes.methods.unlearning.reproduce import study_config
from custodes.methods.unlearning.scoring import (
    answer_row,
    blind_choices,
    choices,
    choose,
    known,
    left,
    perplexity,
    score,
    text_rows,
    wordings,
)
from custodes.methods.unlearning.texts import PLAIN, ordinary_texts
from custodes.models.tuning import fit, open_tunable, tune


@pytest.fixture(scope="module")
def model(tiny_study):
    return open_tunable(tiny_study.model)


@pytest.fixture(scope="module")
def implanted(model, tiny_study, tmp_path_factory):
    """The facts, and the file of what makes the model know them."""
    facts = seed_facts(tiny_study, 0)
    rows = [answer_row(model, text, one.answer) for one in facts for text in one.statements]
    tune(model, rows, tiny_study.implant)
    path = tmp_path_factory.mktemp("weights") / "implant.safetensors"
    model.save(path)
    model.reset()
    return facts, path


@pytest.fixture
def knowing(model, implanted):
    """The model that knows, as it was implanted."""
    model.reset()
    model.load(implanted[1])
    yield model
    model.reset()


@pytest.fixture(scope="module")
def finished(tiny_study, tmp_path_factory):
    folder = tmp_path_factory.mktemp("study") / "run"
    return run_study(tiny_study, folder), folder


def parts_of(facts):
    return split_facts(facts, forget=(0.3, 0.3), neighbors=(0.4, 0.3), seed=0)


def test_scores_are_log_probabilities_of_the_whole_answer(model):
    model.reset()
    prompt, options = "The capital is", ["Paris", "Addis Ababa", "Oslo"]
    ((*found,),) = choose(model, [prompt], [options])
    for option, value in zip(options, found, strict=True):
        row = answer_row(model, prompt, option)
        logits = model.model(torch.tensor([row.ids])).logits[0].log_softmax(-1)
        wanted = sum(
            float(logits[n - 1, row.ids[n]].detach()) for n in range(len(row.ids)) if row.weights[n]
        )
        assert value == pytest.approx(wanted, abs=1e-3)


def test_implanting_makes_facts_known_in_trained_wordings(knowing, implanted):
    facts, _ = implanted
    trained = wordings(knowing, facts, options=4, seed=0)
    assert trained > 0.75
    of_each = known(knowing, facts, options=4, seed=0)
    assert len(of_each) == len(facts) and np.mean(of_each) > 0.75
    assert blind_choices(knowing, facts, options=4, seed=0) is None
    nameless = [dataclasses.replace(fact, blind="The answer is") for fact in facts]
    guessed = blind_choices(knowing, nameless, options=4, seed=0)
    assert set(guessed) <= {0, 1} and np.mean(guessed) < 0.75
    found = score(knowing, facts, options=4, seed=0)
    assert choices(knowing, facts, options=4, seed=0) == found["choice"]
    assert set(found) == {"choice", "probability", "cloze"}
    assert all(0 <= value <= 1 for value in found["probability"])
    knowing.reset()
    assert wordings(knowing, facts, options=4, seed=0) < 0.5


def test_every_step_pairs_what_goes_with_what_stays(knowing, implanted, tiny_study):
    parts = parts_of(implanted[0])
    config = tiny_study.removal.tune
    steps = steps_of(knowing, parts.forget, parts.kept, config)
    assert sum(len(step.forget) for step in steps) == 2 * 8 * 4
    for step in steps:
        assert len(step.forget) == len(step.reference) == len(step.wrong) == len(step.retain)
        for right, wrong in zip(step.forget, step.wrong, strict=True):
            assert right.ids != wrong.ids
    kept = {answer_row(knowing, t, f.answer).ids for f in parts.kept for t in f.statements}
    assert {row.ids for step in steps for row in step.retain} <= kept
    first = {row.ids for step in steps[: len(steps) // 2] for row in step.forget}
    assert len(first) == 32  # an epoch holds every statement once
    assert not any(step.text for step in steps)
    texts = [f"the baker of town {n} mixed flour and water" for n in range(3)]
    steps = steps_of(knowing, parts.forget, parts.kept, config, texts=texts)
    assert [len(step.text) for step in steps] == [1] * len(steps)
    assert len({step.text[0].ids for step in steps}) == 3  # few texts come again


@pytest.mark.parametrize("method", ["graddiff", "npo"])
def test_ordinary_text_that_is_retained_stays_likely(knowing, implanted, tiny_study, method):
    parts = parts_of(implanted[0])
    config = tiny_study.removal.tune.model_copy(update={"learning_rate": 1e-2})
    texts = ["what the baker does in the evening is done again by the miller in the morning"]
    rows = text_rows(knowing, texts, 1)
    apart = []
    for kept in ((), texts):
        knowing.reset()
        knowing.load(implanted[1])
        before = perplexity(knowing, rows)
        steps = steps_of(knowing, parts.forget, parts.kept, config, texts=kept)
        fit(knowing, steps, objective(method, tiny_study.removal, knowing, 0), config)
        apart.append(perplexity(knowing, rows) / before)
    assert apart[1] < apart[0]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_makes_the_right_answer_less_likely(knowing, implanted, tiny_study, method):
    parts = parts_of(implanted[0])
    before = score(knowing, parts.forget, options=4, seed=0)["probability"]
    config = tiny_study.removal.tune.model_copy(update={"learning_rate": 1e-2})
    steps = steps_of(knowing, parts.forget, parts.kept, config)
    fit(knowing, steps, objective(method, tiny_study.removal, knowing, 0), config)
    after = score(knowing, parts.forget, options=4, seed=0)["probability"]
    assert np.mean(after) < np.mean(before) - 0.05


def test_removal_stops_by_the_validation_part(knowing, implanted, tiny_study):
    parts = parts_of(implanted[0])

    def restore():
        knowing.reset()
        knowing.load(implanted[1])

    config = tiny_study.removal.model_copy(update={"margin": 0.3, "survive": 0.0})
    found = remove(knowing, "npo", parts, config, options=4, seed=0, restore=restore)
    last = [point for point in found.path if point[0] == found.rate][-1]
    assert found.enough == (last[2] <= 0.25 + 0.3)
    remaining = left(knowing, parts.select, options=4, seed=0)
    assert remaining == pytest.approx(last[2], abs=0.05)
    assert remaining >= wordings(knowing, parts.select, options=4, seed=0)
    lenient = config.model_copy(update={"margin": 0.75})
    found = remove(knowing, "npo", parts, lenient, options=4, seed=0, restore=restore)
    assert (found.rate, found.epochs, found.enough) == (config.rates["npo"][0], 1, True)


def test_a_study_reports_every_arm(finished, tiny_study):
    study, folder = finished
    arms = [one.arm for one in study.summary.arms]
    assert arms == ["npo", "rmu", "none", "withheld", "never"]
    values = json.loads((folder / "report.json").read_text())
    assert [one["arm"] for one in values["figures"]["arms"]] == arms
    page = study.page.read_text()
    assert "never in training (control)" in page and page.count("<svg") >= 3
    for one in study.summary.arms:
        assert [point.epoch for point in one.curve] == [0, 1, 2]
        assert one.curve[-1].held.value == one.relearned.value
    none = next(one for one in study.summary.arms if one.arm == "none")
    assert none.removed is None and none.regained is None
    for one in study.summary.arms:
        if one.removed is not None:
            gained = one.relearned.value - one.removed.value
            assert one.regained.value == pytest.approx(gained)
    assert none.before.value == study.summary.known.value
    seen = next(one for one in study.results if one["arm"] == "withheld")
    assert np.mean(seen["stages"]["before"]["beside"]["choice"]) > 0.25


def test_a_study_goes_on_and_computes_only_what_changed(finished, tiny_study):
    study, folder = finished
    cells = folder / "artifacts" / "cells"
    before = {path: path.stat().st_mtime_ns for path in cells.iterdir()}
    said = []
    again = run_study(tiny_study, folder, say=said.append)
    assert said == [] and again.summary.values() == study.summary.values()
    victim = next(path for path in before if '"arm": "never"' in path.read_text())
    victim.unlink()
    again = run_study(tiny_study, folder, say=said.append)
    assert len(said) == 2 and "never" in said[1]
    after = {path: path.stat().st_mtime_ns for path in cells.iterdir()}
    assert {path for path in after if after[path] != before[path]} == {victim}
    assert again.summary.values() == study.summary.values()


def test_a_cell_depends_on_what_it_uses_alone(tiny_study):
    prepared = {"weights": "x", "facts": ["a"]}

    def name(config, arm):
        return cell_hash(arm_cell(config, 0, arm, prepared))

    removal = tiny_study.removal.model_copy(update={"rates": {"npo": (1.0,), "rmu": (1e-2,)}})
    changed = tiny_study.model_copy(update={"removal": removal, "seeds": 7})
    assert name(changed, "npo") != name(tiny_study, "npo")
    assert name(changed, "rmu") == name(tiny_study, "rmu")
    facts = tiny_study.model_copy(update={"facts": FactsConfig(forget=12, neighbors=8)})
    hashes = {cell_hash(prepare_cell(one, 0, withheld=False)) for one in (facts, tiny_study)}
    assert len(hashes) == 2


def test_facts_of_a_file_are_not_implanted(tiny_study, tmp_path):
    path = tmp_path / "facts.jsonl"
    write_facts(path, invent(8, 6, seed=5))
    config = tiny_study.model_copy(
        update={
            "facts": FactsConfig(
                kind="file", path=path, familiar=False, neighbor_shares=(0.4, 0.3)
            ),
            "removal": tiny_study.removal.model_copy(update={"methods": ("npo",)}),
        }
    )
    assert config.arms == ("npo", "none")
    study = run_study(config, tmp_path / "run")
    assert not list((tmp_path / "run" / "artifacts").glob("weights/*"))
    assert study.summary.arms[0].over_never is None


def test_a_long_text_is_read_until_there_are_rows_enough(model):
    """A .txt is one text: more than its first 5,120 characters have to count."""
    long = " ".join(f"the village of the city is number {n}" for n in range(2000))
    rows = text_rows(model, [long], 40)
    assert len(rows) == 40 and len({row.ids for row in rows}) == 40
    read = [token for row in rows for token in row.ids[1:]]
    assert read == model.rows.encode(long)[: len(read)]
    two = text_rows(model, ["the village", long], 40)
    assert len(two) == 40 and two[0].ids[1:] == tuple(model.rows.encode("the village"))
    many = text_rows(model, [f"{n} {long}" for n in range(80)], 40)
    assert len(many) == 40  # one a text, evenly spread
    assert [row.ids[1:] for row in many[:2]] == [
        tuple(model.rows.encode(f"{n} {long}")[:128]) for n in (0, 2)
    ]


def test_text_that_is_too_little_is_said(tiny_study, tmp_path):
    said = []
    config = tiny_study.model_copy(
        update={
            "text_tokens": 10**6,
            "removal": tiny_study.removal.model_copy(update={"methods": ("npo",)}),
        }
    )
    study = run_study(config, tmp_path / "run", say=said.append)
    (line,) = [line for line in said if line.startswith("perplexity is of ")]
    assert "of 1,000,000 asked for" in line
    read = study.results[0]["text_tokens"]
    assert f"of {read:,} tokens" in line
    assert f"{read:,} tokens of 1,000,000 asked for" in study.page.read_text()


def test_lines_of_json_end_at_line_feeds_alone(tmp_path, implanted):
    odd = "one\u2028two\x85three\x1cfour"
    texts = tmp_path / "a.jsonl"
    texts.write_bytes((json.dumps({"text": odd}, ensure_ascii=False) + "\r\n").encode())
    assert ordinary_texts(str(texts)) == (odd,)
    fact = dataclasses.replace(implanted[0][0], question=odd)
    write_facts(tmp_path / "facts.jsonl", [fact])
    assert "\u2028" in (tmp_path / "facts.jsonl").read_text(encoding="utf-8")
    assert read_facts(tmp_path / "facts.jsonl") == [fact]


def test_perplexity_reads_ordinary_text(model, tmp_path):
    model.reset()
    rows = text_rows(model, ordinary_texts(None), 2)
    assert len(rows) == 2 and all(len(row.ids) == 129 for row in rows)
    assert 100 < perplexity(model, rows) < 5000  # random weights: about the vocabulary
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": PLAIN}) + "\n")
    assert ordinary_texts(str(tmp_path / "a.jsonl")) == (PLAIN,)
    (tmp_path / "b.jsonl").write_text("{}\n")
    with pytest.raises(DataError, match="'text' a line"):
        ordinary_texts(str(tmp_path / "b.jsonl"))


@pytest.mark.parametrize("name", ["text.txt", "text.jsonl"])
@pytest.mark.parametrize("empty", ["", " \n"])
def test_empty_text_is_told_before_anything_is_computed(tiny_study, model, tmp_path, name, empty):
    text = tmp_path / name
    text.write_text(empty)
    removal = tiny_study.removal.model_copy(update={"text": str(text)})
    for changed in ({"text": str(text)}, {"removal": removal}):
        with pytest.raises(DataError, match=f"{name}: holds no text"):
            run_study(tiny_study.model_copy(update=changed), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(DataError, match="no row of ordinary text"):
        perplexity(model, text_rows(model, [empty.strip()], 2))


def test_text_that_is_missing_is_told_before_anything_is_computed(tiny_study, tmp_path):
    text = tmp_path / "text.jsonl"
    text.write_text("{}\n")
    removal = tiny_study.removal.model_copy(update={"text": str(text)})
    config = tiny_study.model_copy(update={"removal": removal})
    with pytest.raises(DataError, match="'text' a line"):
        run_study(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_results_are_named_by_what_files_hold(tiny_study, tmp_path):
    path = tmp_path / "text.txt"

    def name(text):
        path.write_text(text)
        ordinary_texts.cache_clear()  # a process reads a file once
        config = tiny_study.model_copy(update={"text": str(path)})
        return cell_hash(arm_cell(config, 0, "npo", {}))

    assert name("one") != name("two")
    assert name("one") == name("one")


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"facts": {"kind": "file"}}, "path"),
        ({"facts": {"shares": [0.5, 0.5]}}, "below 1"),
        ({"removal": {"tune": {"kind": "full"}}}, "rmu"),
        ({"removal": {"rates": {"npo": []}}}, "at least one"),
        ({"text": "english", "removal": {"text": "english"}}, "other text"),
        ({"removal": {"tune": {"epochs": 0.5}}}, "a whole number"),
        ({"removal": {"methods": []}, "controls": ["withheld"]}, "no arm but withheld"),
    ],
)
def test_settings_that_do_not_fit_are_told(values, told):
    with pytest.raises(ConfigError, match=told):
        StudyConfig.parse(values)


def test_the_commands_run(tiny_study, tmp_path):
    from custodes.config import save
    from custodes.methods.unlearning.command import app

    runner = CliRunner()
    made = runner.invoke(app, ["facts", "--out", str(tmp_path / "facts.jsonl"), "--forget", "8"])
    assert made.exit_code == 0 and "40 facts" in made.output
    (tmp_path / "facts.jsonl").write_text("my own")
    told = runner.invoke(app, ["facts", "--out", str(tmp_path / "facts.jsonl")])
    assert "is there already" in str(told.exception)
    assert (tmp_path / "facts.jsonl").read_text() == "my own"
    assert runner.invoke(app, ["facts", "--out", "x", "--forget", "-4"]).exit_code == 2
    config = tiny_study.model_copy(
        update={"removal": tiny_study.removal.model_copy(update={"methods": ("npo",)})}
    ).model_copy(update={"controls": ("never",)})
    save(config, tmp_path / "study.yaml")
    done = runner.invoke(
        app,
        ["study", "--config", str(tmp_path / "study.yaml"), "--out", str(tmp_path / "run")],
        catch_exceptions=False,
    )
    assert done.exit_code == 0 and "recovery" in done.output
    assert (tmp_path / "run" / "report.html").exists()


@pytest.mark.slow  # worker processes load torch
def test_workers_give_what_one_process_gives(finished, tiny_study, tmp_path):
    study, _ = finished
    settings = {"kind": "process", "workers": 2}
    config = tiny_study.model_copy(update={"engine_settings": settings})
    again = run_study(config, tmp_path / "run")
    assert again.summary.values() == study.summary.values()


def test_reproduction_is_a_small_study_of_all_controls():
    tiny, full = study_config("tiny", 4), study_config("full", 4)
    assert (tiny.seeds, full.seeds, tiny.first_seed) == (1, 3, 4)
    assert tiny.arms == ("graddiff", "npo", "none", "withheld", "never")
    assert full.arms[:5] == METHODS
