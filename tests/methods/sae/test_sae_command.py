"""The commands from texts to reports, on a tiny model; the public names."""

import json
import os

import pytest
from typer.testing import CliRunner

from custodes.errors import ArtifactError, ConfigError, DataError
from custodes.measure import over_seeds
from custodes.methods import sae
from custodes.methods.sae import describing, method
from custodes.methods.sae.command import app
from custodes.methods.sae.config import CompareConfig
from custodes.methods.sae.describing import run_describe
from custodes.methods.sae.features import read_features
from custodes.methods.sae.kept import Kept
from custodes.methods.sae.page import FeatureView, feature_page, histogram
from custodes.methods.sae.seeds import compare
from custodes.methods.sae.steering import find_clamps


def run(*arguments):
    done = CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def sets(**values):
    return [part for name, value in values.items() for part in ("--set", f"{name}={value}")]


@pytest.fixture(scope="module")
def text_file(tmp_path_factory, texts):
    path = tmp_path_factory.mktemp("texts") / "texts.txt"
    path.write_text("\n".join(texts))
    return path


COLLECT = {"hooks": "[residual.2]", "context": 36, "tokens": 3000, "shard_rows": 700}
TRAIN = {
    "latents": "[24]", "k": "[4]", "batch": 64, "held_out": 400, "epochs": 2, "warm_up": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory, tiny_folder, text_file):
    """A store and trained autoencoders."""
    folder = tmp_path_factory.mktemp("made")
    run("collect", text_file, "--out", folder / "store", *sets(model=tiny_folder, **COLLECT))
    run("train", folder / "store", "--out", folder / "run",
        *sets(kinds="[topk, relu]", seeds="[0, 1]", **TRAIN))  # fmt: skip
    return folder


def tables(folder):
    sections = json.loads((folder / "report.json").read_text())["sections"]
    blocks = [block for section in sections for block in section["blocks"]]
    return [block for block in blocks if block["kind"] == "table"]


def test_train_reports_every_autoencoder_beside_its_null(made):
    rows = tables(made / "run")[0]["rows"]
    names = [row[0] for row in rows]
    assert sum(name.startswith("null: ") for name in names) == 2
    assert len(names) == 6
    by_name = {row[0]: row[1] for row in rows}
    trained = next(n for n in names if n.startswith("topk") and n.endswith("seed0"))
    assert by_name[trained] > by_name[f"null: {trained}, random directions"]
    cfg = json.loads((made / "run/artifacts" / trained / "cfg.json").read_text())
    assert cfg["metadata"]["hook_name"] == "residual.2"


def test_compare_has_nulls_and_quality(made, tmp_path):
    folders = sorted((made / "run/artifacts").glob("topk-*"))
    run("compare", *folders, "--out", tmp_path, "--store", made / "store")
    overlap, quality = tables(tmp_path)
    rows = {row[0]: row for row in overlap["rows"]}
    assert len(rows) == 3
    permuted = next(row for name, row in rows.items() if name.endswith("permuted"))
    assert permuted[1:4] == [1, 1, 1] and permuted[-1] is True
    random = next(row for name, row in rows.items() if name.endswith("directions"))
    assert random[1] < 0.3
    assert len(quality["rows"]) == 2
    assert "too small to hold out 16,384" in quality["caption"]
    run("compare", *folders, "--out", tmp_path / "held", "--store", made / "store",
        "--set", "rounds=0", "--set", f"held_out={TRAIN['held_out']}")  # fmt: skip
    held = tables(tmp_path / "held")[1]
    store = sae.ActivationStore(made / "store")
    judged = store.rows - store.split(TRAIN["held_out"])
    assert f"the last {judged:,} of {store.rows:,} rows" in held["caption"]
    in_training = {row[0]: row[1:] for row in tables(made / "run")[0]["rows"]}
    for name, *figures in held["rows"]:
        assert figures == pytest.approx(in_training[name.split("/")[-1]], rel=1e-4)
    run("compare", *folders, "--out", tmp_path / "bare", "--set", "rounds=0")
    assert "not known" in (tmp_path / "bare/report.html").read_text()
    with pytest.raises(DataError, match="fewer than two"):
        run("compare", folders[0], "--out", tmp_path)


def test_a_killed_comparison_of_many_goes_on(made, tmp_path, monkeypatch):
    folders = sorted((made / "run/artifacts").glob("*-seed*"))
    config = CompareConfig()
    method.run_compare(folders, config, tmp_path / "whole")
    whole = json.loads((tmp_path / "whole" / "report.json").read_text())
    asked = []

    def counted(*pair, **given):
        asked.append(pair)
        if len(asked) == 4:
            raise KeyboardInterrupt
        return compare(*pair, **given)

    monkeypatch.setattr(method, "compare", counted)
    with pytest.raises(KeyboardInterrupt):
        method.run_compare(folders, config, tmp_path / "killed")
    method.run_compare(folders, config, tmp_path / "killed")
    assert len(asked) == 4 + 8 - 3, "four autoencoders: six pairs and two nulls, three kept"
    again = json.loads((tmp_path / "killed" / "report.json").read_text())
    assert again["sections"] == whole["sections"]
    with pytest.raises(ConfigError, match=r"compared\.json: left by a run of other settings"):
        method.run_compare(folders[:2], config, tmp_path / "killed")


@pytest.mark.parametrize("explainer", ["tokens", "scripted"])
def test_describe_scores_every_method_and_draws_the_page(made, tiny_folder, tmp_path, explainer):
    coder = next((made / "run/artifacts").glob("topk-*"))
    settings = sets(model=tiny_folder, latents=3, contexts=40, prompts=2, steer_tokens=3,
                    explainer=explainer)  # fmt: skip
    run("describe", made / "store", coder, "--out", tmp_path, *settings)
    table, intruders = tables(tmp_path)
    assert [row[0] for row in intruders["rows"]][1:] == ["null: one of its own", "chance"]
    assert [row[0] for row in table["rows"]][-1].startswith("null")
    assert len(table["rows"]) == 6 and table["columns"] == [
        "method",
        "input",
        "output",
        "detection",
    ]
    page = (tmp_path / "features.html").read_text()
    assert page.count("<h2") == 3 and "<mark" in page and "Steered text" in page
    chosen = sets(model=tiny_folder, chosen="[5]", contexts=40, prompts=2, steer_tokens=2)
    run("describe", made / "store", coder, "--out", tmp_path / "one", *chosen)
    assert "latent 5" in (tmp_path / "one/features.html").read_text()
    (alone,) = tables(tmp_path / "one")
    assert len(alone["rows"]) == 5, "a lone latent has no other's description, and no intruder"


def test_a_killed_description_goes_on(made, tiny_folder, tmp_path, monkeypatch):
    coder = next((made / "run/artifacts").glob("topk-*"))
    store = sae.ActivationStore(made / "store")
    config = sae.DescribeConfig(
        model=str(tiny_folder), latents=4, contexts=40, prompts=2, steer_tokens=3
    )
    monkeypatch.setattr(describing, "_TOGETHER", 2)
    searched = []

    def search(language, features, indices, *others):
        searched.extend(indices)
        return find_clamps(language, features, indices, *others)

    monkeypatch.setattr(describing, "find_clamps", search)
    run_describe(store, coder, config, tmp_path / "whole")
    assert searched == [0, 1, 2, 3]

    def kill(line):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_describe(store, coder, config, tmp_path / "killed", say=kill)
    assert searched[4:] == [0, 1]
    with pytest.raises(ConfigError, match=r"described\.json.*other settings"):
        longer = config.model_copy(update={"steer_tokens": 4})
        run_describe(store, coder, longer, tmp_path / "killed")
    run_describe(store, coder, config, tmp_path / "killed")
    assert searched[6:] == [2, 3]
    for name in ("report.json", "features.html"):
        assert (tmp_path / "killed" / name).read_text() == (tmp_path / "whole" / name).read_text()
    lines = (tmp_path / "killed/metrics.jsonl").read_text()
    page = (tmp_path / "killed/features.html").open("rb")  # as one that is being served
    run_describe(store, coder, config, tmp_path / "killed")
    assert len(searched) == 8, "for another judge nothing is steered again"
    assert (tmp_path / "killed/metrics.jsonl").read_text() == lines, "and replaces the one before"
    with page:
        there = (tmp_path / "killed/features.html").stat().st_ino
        assert os.fstat(page.fileno()).st_ino != there, "the page is replaced whole"


@pytest.mark.parametrize("content", ["[1]", "{", '{"key": 1}'])
def test_what_no_killed_description_left_is_said(tmp_path, content):
    path = tmp_path / "described.json"
    path.write_text(content)
    with pytest.raises(ArtifactError, match="remove it"):
        Kept(path, "").load()


def test_descriptions_are_of_contexts_that_training_holds_out(
    made, tiny_folder, tmp_path, monkeypatch
):
    """The judge's are those of the last shard."""
    coder = next((made / "run/artifacts").glob("topk-*"))
    store = sae.ActivationStore(made / "store")
    held = store.contexts(store.split(TRAIN["held_out"]))
    read = []

    def reading(language, features, ids, **others):
        read.append(ids)
        return read_features(language, features, ids, **others)

    monkeypatch.setattr(describing, "read_features", reading)
    config = sae.DescribeConfig(
        model=str(tiny_folder), chosen=(5,), contexts=20, prompts=2, steer_tokens=2
    )
    run_describe(store, coder, config, tmp_path)
    known = {tuple(row[:32].tolist()) for row in store.tokens()[held]}
    windows = next(ids for ids in read if ids.shape[1] == 32)
    assert len(windows) == 10 and {tuple(row) for row in windows.tolist()} <= known


def test_describe_refuses_another_model_and_a_silent_autoencoder(made, tiny_folder, tmp_path):
    import torch

    from custodes.methods.sae.language import load_language_model

    language = load_language_model(str(tiny_folder))
    store = sae.ActivationStore(made / "store")
    folder = next((made / "run/artifacts").glob("relu-*"))
    config = sae.DescribeConfig(contexts=40)
    other = sae.LanguageModel(model=language.model, tokenizer=language.tokenizer, name="another")
    with pytest.raises(ConfigError, match="collected from"):
        run_describe(store, folder, config, tmp_path, language=other)
    coder = sae.load_coder(folder)
    silent = {**coder.tensors, "encoder_bias": torch.full((24,), -1e9)}
    sae.save_coder(sae.Coder(kind="relu", tensors=silent), tmp_path / "silent")
    with pytest.raises(DataError, match="no latent is active"):
        run_describe(store, tmp_path / "silent", config, tmp_path, language=language)


def test_null_puts_random_networks_beside_the_trained_one(
    tiny_folder, text_file, tmp_path, monkeypatch
):
    monkeypatch.setattr(method, "substituted_losses", lambda *_, **__: (1.0, 1.5, 3.0))
    settings = {f"collect.{name}": value for name, value in COLLECT.items()}
    settings |= {f"train.{name}": value for name, value in TRAIN.items()}
    settings |= {"collect.model": tiny_folder, "train.seeds": "[0]", "contexts": 30, "latents": 6}
    run("null", text_file, "--out", tmp_path, *sets(**settings))
    (table,) = tables(tmp_path)
    rows = {row[0].split(",")[0]: dict(zip(table["columns"], row, strict=True))
            for row in table["rows"]}  # fmt: skip
    assert len(rows) == 5
    assert rows["control"]["explained variance"] < rows["trained"]["explained variance"]
    entropy = {name: row["token entropy"]["value"] for name, row in rows.items()}
    assert entropy["control"] > entropy["trained"]
    assert abs(rows["control"]["fuzzing AUROC"]["value"] - 0.5) < 0.15
    scores = {name: row["CE score"] for name, row in rows.items()}
    assert scores == {**dict.fromkeys(rows), "trained": 0.75}
    assert all(row["latents"] == 6 and row["not scored"] <= 6 for row in rows.values())
    each = [row["explained variance, mean over dimensions"] for row in rows.values()]
    assert all(value < 1 for value in each)

    def no_training(*_, **__):
        raise AssertionError("trained again")

    monkeypatch.setattr(method, "train", no_training)
    report = (tmp_path / "report.json").read_text()
    run("null", text_file, "--out", tmp_path, *sets(**settings))
    assert (tmp_path / "report.json").read_text() == report
    longer = sets(**{**settings, "train.epochs": 3})
    with pytest.raises(ConfigError, match="an autoencoder of other settings"):
        run("null", text_file, "--out", tmp_path, *longer)


def test_a_device_that_is_not_there_is_named_before_anything_is_written(
    made, tiny_folder, text_file, tmp_path
):
    lines = {
        "collect": ["collect", text_file, *sets(model=tiny_folder, device="cuda:99", **COLLECT)],
        "train": ["train", made / "store", *sets(device="cuda:99", **TRAIN)],
        "describe": ["describe", made / "store", next((made / "run/artifacts").glob("topk-*")),
                     *sets(model=tiny_folder, device="cuda:99")],
    }  # fmt: skip
    for name, arguments in lines.items():
        with pytest.raises(ConfigError, match="device: got 'cuda:99', which cannot be used"):
            run(*arguments, "--out", tmp_path / name)
        assert not (tmp_path / name).exists()


def test_toy_writes_its_frontier(tmp_path):
    values = {"features": 8, "width": 6, "points": 60, "epochs": 1, "batch": 30, "seeds": "[0, 1]",
              "penalties": "[0.1, 1]"}  # fmt: skip
    run("toy", "--out", tmp_path, *sets(**values))
    (table,) = tables(tmp_path)
    assert len(table["rows"]) == 6
    assert table["rows"][0][3] is not None and table["rows"][-1][3] is None
    points = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    first = [one["l0"] for one in points if (one["data"], one["penalty"]) == ("sparse", 0.1)]
    assert len(first) == 2 and table["rows"][0][2] == over_seeds(first).to_values()


def test_the_page_escapes_what_texts_hold(made):
    import numpy as np

    from custodes.methods.sae.evidence import Evidence, Example

    example = Example(tokens=("<script>", "\ud800"), values=(1.0, 0.0))
    evidence = Evidence(
        name="latent 1", examples=(example,), promoted=("<b>",), suppressed=(), changed=()
    )
    long = FeatureView(
        evidence=evidence, descriptions={"max-act": "x" * 99}, density=0.1, greatest=1.0
    )
    page = feature_page("t", "s", [long])
    assert "<script>" not in page and "&lt;script&gt;" in page and "<b>" not in page
    assert long.headline.endswith("…") and len(long.headline) == 60
    assert histogram(np.zeros(3)) == "" and histogram(np.ones(3)).startswith("<svg ")


def test_public_names_are_there():
    assert sorted(sae.__all__) == sae.__all__
    for name in sae.__all__:
        assert getattr(sae, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute"):
        _ = sae.nothing
