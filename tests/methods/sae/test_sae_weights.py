"""Weights saved over others in a model's folder: nothing goes on with a mixture of both."""

import dataclasses
import hashlib
import json
import shutil

import pytest

from custodes.errors import ConfigError, DataError
from custodes.methods import sae
from custodes.methods.sae import describing
from custodes.methods.sae.collecting import collect
from custodes.methods.sae.config import CollectConfig, DescribeConfig, TrainConfig
from custodes.methods.sae.describing import run_describe
from custodes.methods.sae.formats import save_coder
from custodes.methods.sae.language import LanguageModel, load_language_model
from custodes.methods.sae.progress import progress_key
from custodes.methods.sae.store import ActivationStore, StoreFacts
from custodes.methods.sae.variants import variant

CONFIG = CollectConfig(
    hooks=("residual.2",), context=36, skip=1, tokens=2000, batch=4, shard_rows=300
)


@pytest.fixture
def retrained(tiny_folder, tmp_path):
    """A folder's model as it was, and a way to it after other weights are saved there."""
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder, folder)
    before = load_language_model(str(folder))

    def again() -> LanguageModel:
        model = load_language_model(str(folder)).model
        model.model.embed_tokens.weight.data.mul_(2)
        model.save_pretrained(folder)
        return load_language_model(str(folder))

    return before, again


def kill(line):
    raise KeyboardInterrupt


@pytest.mark.parametrize("killed", [True, False])
def test_a_collection_goes_on_with_the_weights_it_was_begun_with_alone(
    retrained, texts, tmp_path, killed
):
    before, again = retrained
    folder = tmp_path / "store"
    if killed:
        with pytest.raises(KeyboardInterrupt):
            collect(before, texts, CONFIG, folder, say=kill)
    else:
        collect(before, texts, CONFIG, folder)
    after = again()
    with pytest.raises(ConfigError, match="holds other files than when this store was begun"):
        collect(after, texts, CONFIG, folder)
    assert collect(before, texts, CONFIG, folder).facts.content == before.content
    control = variant(before, "control", seed=0)
    assert control.content == before.content, "it has those weights too"


def test_a_store_of_an_older_version_is_read_but_not_gone_on_with(retrained, texts, tmp_path):
    before, _ = retrained
    store = collect(before, texts, CONFIG, tmp_path / "store")
    facts = json.loads((store.folder / "store.json").read_text())
    del facts["content"]
    (store.folder / "store.json").write_text(json.dumps(facts))
    assert collect(before, texts, CONFIG, store.folder).facts.content is None
    assert "content" not in json.loads((store.folder / "store.json").read_text())
    (store.folder / "places" / "00001.npy").unlink()
    with pytest.raises(ConfigError, match="expected one that was not kept"):
        collect(before, texts, CONFIG, store.folder)


def test_keys_of_what_is_of_no_folder_stay_as_they_were(planted_store):
    config, rows, hook = TrainConfig(kinds=("topk",)), 1000, "x"
    facts = planted_store.facts
    older = [one.name for one in dataclasses.fields(StoreFacts) if one.name != "content"]
    apart = {"checkpoint", "null", "held_out", "rows", "device"}
    settings = config.settled().model_dump(mode="json", exclude=apart)
    read = [{name: getattr(facts, name) for name in older}, rows, hook]
    kept = hashlib.sha256(json.dumps([settings, read]).encode()).hexdigest()
    assert progress_key(planted_store, hook, config, rows) == kept
    planted_store.facts = dataclasses.replace(facts, content="of a folder")
    assert progress_key(planted_store, hook, config, rows) != kept


def test_latents_are_described_with_the_weights_that_were_collected(
    retrained, texts, tmp_path, make_coder
):
    before, again = retrained
    store = collect(before, texts, CONFIG, tmp_path / "store")
    save_coder(make_coder("relu"), tmp_path / "coder")
    config = DescribeConfig(model=before.name, chosen=(5,), contexts=40, prompts=2, steer_tokens=2)
    described = tmp_path / "out" / "described.json"
    run_describe(store, tmp_path / "coder", config, tmp_path / "out", language=before)
    key = json.loads(described.read_text())["key"]
    with pytest.raises(ConfigError, match=r"holds other files than when .*store was collected"):
        run_describe(store, tmp_path / "coder", config, tmp_path / "out", language=again())
    store.facts = dataclasses.replace(store.facts, content=None)  # of an older version
    with pytest.raises(ConfigError, match="left by a run of other settings"):
        run_describe(store, tmp_path / "coder", config, tmp_path / "out", language=before)
    run_describe(store, tmp_path / "coder", config, tmp_path / "older", language=before)
    assert json.loads((tmp_path / "older" / "described.json").read_text())["key"] != key


def test_too_few_texts_are_told_before_anything_is_steered(
    language, texts, tmp_path, make_coder, monkeypatch
):
    def steering(*_, **__):
        raise AssertionError("steered")

    monkeypatch.setattr(describing, "describe_features", steering)
    collect(language, texts, CONFIG, tmp_path / "store")
    save_coder(make_coder("relu"), tmp_path / "coder")
    config = DescribeConfig(model=language.name, contexts=8)
    with pytest.raises(DataError, match=r"contexts: got 8 of 36 tokens.*makes 4 texts.*least 10"):
        run_describe(
            ActivationStore(tmp_path / "store"), tmp_path / "coder", config, tmp_path / "out",
            language=language,
        )  # fmt: skip
    assert not (tmp_path / "out").exists()


def test_a_toy_study_of_no_penalty_is_refused():
    with pytest.raises(ConfigError, match="penalties"):
        sae.ToyConfig.parse({"penalties": []})
