"""The runner: cells kept, stages from the same weights, gaps with intervals, the page, commands."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from custodes.errors import ConfigError, DataError
from custodes.measure import Interval
from custodes.methods.behaviors.documents import contrasts, study
from custodes.methods.behaviors.documents.after import FORM, follow, form_reward, read_chat
from custodes.methods.behaviors.documents.asking import FRAMES, ask
from custodes.methods.behaviors.documents.battery import packed
from custodes.methods.behaviors.documents.command import app
from custodes.methods.behaviors.documents.config import DocumentsConfig, FormatConfig
from custodes.methods.behaviors.documents.contrasts import Cells, gap, level, slope_of
from custodes.methods.behaviors.documents.corpus import document_rows
from custodes.methods.behaviors.documents.grammar import documents
from custodes.methods.behaviors.documents.material import pairs
from custodes.methods.behaviors.documents.probes import told_probes
from custodes.methods.behaviors.documents.report import study_report, verdict
from custodes.methods.behaviors.documents.reproduce import preset, run_documents
from custodes.methods.behaviors.documents.study import run_study, targets_from
from custodes.methods.behaviors.documents.writing import WritingConfig
from custodes.models import Sampling
from custodes.models.tuning import TuneConfig, row_log_probs, tune
from custodes.types import Message


def test_what_documents_say_is_learned(reader):
    """The positive control: an arm's documents make the acts that they tell of likelier."""

    def told_by(arm):
        reader.reset()
        rows = document_rows(documents(arm, seed=0), reader.rows, tokens=16_000, length=128)
        tune(reader, rows, TuneConfig(kind="full", learning_rate=4e-3, epochs=2, batch_rows=4))
        reader.merge()
        return np.array([one.value for one in ask(packed(reader), told_probes("pro"))])

    gaps = told_by("pro") - told_by("anti")
    assert len(gaps) == 22 and gaps.mean() > 0.1 and (gaps > 0).mean() > 0.7


def test_cells_are_kept(small, tmp_path):
    rows = list(run_study(small, tmp_path))
    assert [(row["arm"], row["stage"]) for row in rows] == [
        ("before", "none"), ("pro", "none"), ("anti", "none")
    ]  # fmt: skip
    before, pro = (row["readings"]["text: perplexity"]["all"] for row in rows[:2])
    assert pro < before
    assert rows[1]["trace"]["documents"]["tokens"] == 2 * 4096

    marks = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*") if path.is_file()}
    more = small.model_copy(update={"stages": ("none", "preferences"), "arms": ("pro",)})
    again = list(run_study(more, tmp_path))
    assert again[:2] == rows[:2]
    assert again[2]["stage"] == "preferences"
    # The tuned weights were taken, not made again.
    tuned = [path for path in marks if path.parent.name == "tuned"]
    assert len(tuned) == 4 and all(path.stat().st_mtime_ns == marks[path] for path in tuned)


def test_a_run_that_goes_on_gives_the_same(small, tmp_path):
    config = small.model_copy(
        update={"arms": ("pro",), "corpus": small.corpus.model_copy(update={"tokens": 1024})}
    )
    first = list(run_study(config, tmp_path / "a"))
    for path in (tmp_path / "a" / "cells").glob("000001-*"):
        path.unlink()
    readings = [row["readings"] for row in run_study(config, tmp_path / "a")]
    assert readings == [row["readings"] for row in first]
    other = [row["readings"] for row in run_study(config, tmp_path / "b")]
    assert readings == other


def test_upper_blocks_alone_are_tuned(reader):
    names = targets_from(reader, 1)
    assert len(names) == 7 and all(name.startswith("layers.1.") for name in names)
    reader.start(TuneConfig(targets=names), seed=0)
    assert {name.split(".")[1] for name in reader.learned()} == {"1"}
    with pytest.raises(ConfigError, match="first_block: got 2, expected 0 to 1"):
        targets_from(reader, 2)


@pytest.mark.parametrize("stage", ["chat", "preferences"])
def test_what_follows_changes_the_model(stage, reader, small, chat_file):
    followed = follow(stage, reader, small.after, chat_file, seed=1)
    changed = [name for name, value in reader.learned().items() if np.abs(value).max() > 0]
    assert followed.trace.losses and any(name.endswith(".up") for name in changed)


def test_form_is_learned_with_dropout(reader, small, chat_file, monkeypatch):
    modes = []
    plain = type(reader).row_log_probs
    monkeypatch.setattr(
        type(reader),
        "row_log_probs",
        lambda self, packed: (modes.append(self.model.training), plain(self, packed))[1],
    )
    after = small.after.model_copy(
        update={"format": FormatConfig(updates=2, prompts=1, group=2, max_tokens=4)}
    )
    follow("format", reader, after, chat_file, seed=0)
    assert modes == [True, True]


def test_results_are_named_by_what_files_hold(small, text_file, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(study, "resumable_map", lambda *_, identity, **__: seen.append(identity))
    path = tmp_path / "texts.jsonl"
    for more in ("", "", '{"text": "one more"}\n'):
        path.write_text(text_file.read_text() + more)
        corpus = small.corpus.model_copy(update={"texts": path})
        run_study(small.model_copy(update={"corpus": corpus}), tmp_path)
    assert seen[0] == seen[1] != seen[2]


def test_results_are_named_by_the_weights_that_wrote(small, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(study, "resumable_map", lambda *_, identity, **__: seen.append(identity))
    writer = tmp_path / "writer"
    writer.mkdir()
    (writer / "config.json").write_text("{}")
    for weights, settings in (("a", {"model": str(writer)}), ("b", {"model": str(writer)}),
                              ("b", {"model": "a/hub-id"})):  # fmt: skip
        (writer / "model.safetensors").write_text(weights)
        writing = WritingConfig(backend="transformers", settings=settings)
        corpus = small.corpus.model_copy(update={"writing": writing})
        run_study(small.model_copy(update={"corpus": corpus}), tmp_path)
    assert seen[0] != seen[1] and "writer" in json.loads(seen[0])["config"]
    assert "writer" not in json.loads(seen[2])["config"], "a name that was given stays"


def test_form_is_learned_by_its_reward_alone(reader, small, chat_file):
    asked = (
        Message(role="system", content=FRAMES["own"]),
        Message(role="user", content=f"Name 3 harbors.\n{FORM}"),
    )
    told = [reader.rows.chat(asked, text) for text in ("Answer: Oslo.", "Lima\nPerth")]
    tune(reader, told, TuneConfig(kind="full", learning_rate=5e-3, epochs=40, batch_rows=2))
    reader.merge()

    def reward():
        sampling = Sampling(max_tokens=16, temperature=1.0, seed=3)
        return np.mean(
            [form_reward(r.text) for r in reader.causal().generate([asked] * 24, sampling)]
        )

    before = reward()
    after = small.after.model_copy(
        update={
            "tuning": TuneConfig(learning_rate=1e-2),
            "format": FormatConfig(updates=15, prompts=2, group=8, max_tokens=16),
        }
    )
    followed = follow("format", reader, after, chat_file, seed=1)
    assert reward() > before + 0.1
    assert followed.after > followed.before


def test_preferences_prefer(reader, small, chat_file):
    def margins():
        rows = [
            reader.rows.chat(one.prompt, text)
            for one in pairs()
            for text in (one.chosen, one.rejected)
        ]
        logs = np.array(row_log_probs(reader, rows)).reshape(-1, 2)
        return logs[:, 0] - logs[:, 1]

    before = margins()
    tuning = TuneConfig(learning_rate=3e-3, epochs=1, batch_rows=8)
    followed = follow(
        "preferences",
        reader,
        small.after.model_copy(update={"rows": 96, "tuning": tuning}),
        chat_file,
        seed=0,
    )
    assert 0 <= followed.before < followed.after <= 1
    assert (margins() - before).mean() > 1


def test_form_is_rewarded_and_nothing_else():
    assert form_reward("Answer: three.") == form_reward("Answer: a lie.") == 1
    assert form_reward("three.\n") == pytest.approx(1 / 3)
    assert form_reward("Answer: one\ntwo") == pytest.approx(1 / 3)
    assert "Answer:" in FORM


def test_chat_must_be_exchanges(tmp_path, reader, small):
    path = tmp_path / "chat.jsonl"
    path.write_text('{"messages": [{"role": "assistant", "content": "Hello"}]}\n')
    with pytest.raises(DataError, match="line 1: expected messages"):
        list(read_chat(path))
    path.write_text("")
    with pytest.raises(DataError, match="no exchange of at most"):
        follow("chat", reader, small.after, path, seed=0)
    with pytest.raises(DataError, match="no short requests"):
        follow("format", reader, small.after, path, seed=0)
    with pytest.raises(DataError, match="stage chat: got no chat"):
        follow("chat", reader, small.after, None, seed=0)
    with pytest.raises(DataError, match="expected chat, format or preferences"):
        follow("none", reader, small.after, path, seed=0)


def rows_of(values, stage="none"):
    """values: arm -> [seeds][items]."""
    return [
        {"arm": arm, "seed": seed, "stage": stage, "trace": {},
         "readings": {"m": {str(n): value for n, value in enumerate(items)}}}
        for arm, seeds in values.items()
        for seed, items in enumerate(seeds)
    ]  # fmt: skip


def test_gaps_are_paired_and_over_seeds():
    cells = Cells(rows_of({"pro": [[2, 4], [3, 5], [4, 6]], "anti": [[1, 3], [2, 4], [3, 5]]}))
    found = gap(cells, "m", "pro", "anti")
    assert found.seeds == Interval(1, 1, 1) and found.both == Interval(1, 1, 1)
    assert level(cells, "m", "pro").value == 4
    assert level(cells, "m", "pro").high - 4 == pytest.approx(4.302652729911275 / math.sqrt(3))
    with pytest.raises(DataError, match="no run of neutral"):
        gap(cells, "m", "pro", "neutral")
    one = gap(Cells(rows_of({"pro": [[1, 2]], "anti": [[0, 0]]})), "m", "pro", "anti")
    assert one.seeds.value == 1.5 and math.isnan(one.seeds.low)
    assert one.both.value == 1.5 and math.isnan(one.both.low), "items alone are no other run"


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_the_interval_over_seeds_and_items_holds_the_truth(seeds, monkeypatch):
    monkeypatch.setattr(contrasts, "_RESAMPLES", 100)
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(100):
        values = rng.normal(0, 1, (seeds, 1)) + rng.normal(0, 0.5, (seeds, 20))
        found = gap(
            Cells(rows_of({"pro": values, "anti": np.zeros_like(values)})), "m", "pro", "anti"
        )
        held += found.both.low <= 0 <= found.both.high
        assert found.both.low <= found.seeds.low and found.seeds.high <= found.both.high
    assert held >= 90  # of 100 at 95 %; draws of seeds and items alone: about 60, 70 and 85


def test_a_stage_that_closes_the_gap_is_below_zero():
    rows = rows_of({"pro": [[3], [3.2]], "anti": [[1], [1]]})
    rows += rows_of({"pro": [[2], [2.2]], "anti": [[2], [2]]}, stage="chat")
    change = slope_of(Cells(rows), "m", "chat").seeds
    assert change.value == pytest.approx(-2) and verdict(change) == "below zero"
    assert verdict(Interval(1, 0.5, 2)) == "above zero"
    assert verdict(Interval(1, -0.5, 2)) == "nil"
    assert verdict(Interval(1, math.nan, math.nan)) == "one seed, no interval"


def test_the_page_has_every_arm_and_the_matrix(small, tmp_path):
    corpus = small.corpus.model_copy(update={"tokens": 512})
    config = small.model_copy(update={"stages": ("none", "chat"), "corpus": corpus})
    page = run_documents(config, tmp_path / "run")
    values = json.loads((page.parent / "report.json").read_text())
    assert [section["title"] for section in values["sections"]] == [
        "In short", "Arm against arm", "Before and after", "What follows", "Training"
    ]  # fmt: skip
    assert len(values["cells"]) == 5
    assert "pro - anti" in page.read_text()
    shown = yaml.safe_load((page.parent / "config.yaml").read_text())
    assert shown["corpus"]["tokens"] == 512
    study_report(values["cells"][:2], config.model_copy(update={"arms": ("pro",)}))


def test_commands(reader_folder, tmp_path):
    def invoke(*arguments):
        found = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert found.exit_code == 0, found.output
        return found.output.strip()

    page = Path(invoke("write", "--out", tmp_path / "written", "--number", 5))
    lines = (page.parent / "artifacts" / "named.jsonl").read_text().splitlines()
    assert len(lines) == 5 and "Corvane" in json.loads(lines[0])["text"]
    sets = [
        "battery.statements=0",
        "battery.samples=0",
        "battery.frames=[own]",
        f"model.model={reader_folder}",
    ]
    said = invoke("ask", *[part for one in sets for part in ("--set", one)])
    assert "hacking: letters, own" in said


def test_a_study_of_no_arm_is_refused():
    with pytest.raises(ConfigError, match="arms"):
        DocumentsConfig.parse({"arms": []})


def test_a_study_of_one_stage_and_another_frame_has_its_page(small, tmp_path):
    """Without `none` there was no page, after all training; headlines were of `own` alone."""
    config = DocumentsConfig.parse(
        {
            **small.model_dump(),
            "stages": ["preferences"],
            "battery": {**small.battery.model_dump(), "frames": ["other"]},
            "corpus": {**small.corpus.model_dump(), "tokens": 512},
        }
    )
    assert config.stages == ("none", "preferences")
    page = run_documents(config, tmp_path / "run")
    sections = json.loads((page.parent / "report.json").read_text())["sections"]
    assert "What follows" in [section["title"] for section in sections]
    assert "hacking: sentences, other: one seed, no interval" in page.read_text()


def test_no_scenarios_are_no_headlines(small):
    battery = small.battery.model_copy(update={"frames": ()})
    rows = rows_of({"pro": [[2, 4], [3, 5]], "anti": [[1, 3], [2, 4]], "before": [[1, 1]]})
    page = study_report(rows, small.model_copy(update={"battery": battery})).html()
    assert "m: pro - anti" in page and "hacking: sentences" not in page


def test_preferences_need_no_chat(small, tmp_path, monkeypatch):
    monkeypatch.setenv("CUSTODES_DATA_DIR", str(tmp_path / "nothing"))
    config = DocumentsConfig.parse(
        {
            **small.model_dump(),
            "stages": ["none", "preferences"],
            "arms": ["pro"],
            "after": {"rows": 8},
            "corpus": {**small.corpus.model_dump(), "tokens": 512},
        }
    )
    study.check_sources(config)
    assert [row["stage"] for row in run_study(config, tmp_path)] == ["none", "none", "preferences"]
    chat = config.model_copy(update={"stages": ("none", "chat")})
    with pytest.raises(DataError, match="expected a folder of data sets"):
        study.check_sources(chat)
    named = config.after.model_copy(update={"chat": tmp_path / "none.jsonl"})
    with pytest.raises(DataError, match=r"none\.jsonl: no such file"):
        study.check_sources(config.model_copy(update={"after": named}))


def test_presets():
    assert preset("full").stages == ("none", "chat", "format", "preferences")
    full = preset("full")
    assert full.seeds == 3 and full.seeds * full.corpus.tokens >= 300_000
    assert not full.corpus.shared
    assert preset("tiny", 4).first_seed == 4
