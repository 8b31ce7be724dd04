"""Texts, hooks, collection and the store."""

import gzip
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import torch

from custodes.errors import ArtifactError, ConfigError, DataError
from custodes.methods.sae.collecting import collect, pack_contexts
from custodes.methods.sae.config import CollectConfig
from custodes.methods.sae.features import coder_features, read_features
from custodes.methods.sae.hooks import read_hooks, replaced
from custodes.methods.sae.store import ActivationStore, write_shard, write_store
from custodes.methods.sae.stored import stored_activations, stored_alive
from custodes.methods.sae.texts import read_texts
from custodes.methods.sae.variants import variant

HOOKS = ("residual.1", "model.layers.1.mlp", "model.layers.1.mlp:input")


def settings(**changed):
    of_all = {"hooks": HOOKS, "tokens": 600, "context": 20, "batch": 3, "shard_rows": 100}
    return CollectConfig(**{**of_all, **changed})


def test_texts_of_every_kind(tmp_path):
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "b.jsonl").write_text('{"text": "two"}\n{"text": " "}\n')
    parts = [{"type": "text", "text": "four"}, {"type": "text", "text": ""}]
    turns = {"messages": [{"role": "user", "content": "three"}, {"content": parts}]}
    with gzip.open(tmp_path / "c.jsonl.gz", "wt") as file:
        file.write(json.dumps(turns))
    parquet.write_table(pa.table({"text": ["five"]}), tmp_path / "d.parquet")
    assert list(read_texts([tmp_path])) == ["one", "two", "three\n\nfour", "five"]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.jsonl", b"{}\n", "expected a text"),
        ("a.jsonl", b"[1]\n", "got list"),
        ("a.jsonl", b"{\n", "not JSON"),
        ("a.txt", b"\xff", "a.txt: cannot be read"),
        ("a.jsonl", b"\xff", "a.jsonl: cannot be read"),
        ("a.jsonl.gz", b"no gzip", "a.jsonl.gz: cannot be read"),
        ("a.jsonl.gz", gzip.compress(b"{}" * 99)[:-9], "a.jsonl.gz: cannot be read"),
        ("a.parquet", b"PAR1", "a.parquet: cannot be read"),
        ("a.jsonl", b'{"messages": [{"content": null}]}', "whose content is no text"),
        ("a.doc", b"", "expected one of"),
    ],
)
def test_texts_that_cannot_be_read(tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=says):
        list(read_texts([tmp_path / name]))


def test_missing_or_empty_sources(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        list(read_texts([tmp_path / "nothing"]))
    with pytest.raises(DataError, match="holds no"):
        list(read_texts([tmp_path]))


def test_hooks_read_what_the_model_computes(language):
    ids = torch.tensor([[1, 2, 3, 4]])
    found = read_hooks(language.model, HOOKS, input_ids=ids)
    hidden = language.model(ids, output_hidden_states=True).hidden_states
    block = language.model.model.layers[1]
    assert torch.equal(found["residual.1"], hidden[1])
    with torch.inference_mode():
        put_out = block.mlp(found["model.layers.1.mlp:input"])
    assert torch.equal(put_out, found["model.layers.1.mlp"])
    assert torch.equal(
        read_hooks(language.model, ["residual.0"], input_ids=ids)["residual.0"], hidden[0]
    )


def test_a_reading_stops_at_the_deepest_place(language):
    passed = []
    handle = language.model.model.layers[2].register_forward_hook(lambda *_: passed.append(1))
    read_hooks(language.model, ["residual.2"], input_ids=torch.tensor([[1, 2]]))
    handle.remove()
    assert passed == []


@pytest.mark.parametrize("hook", ["residual.9", "model.layers.1.mlp:side", "nowhere", "layers.mlp"])
def test_unknown_hooks(language, hook):
    with pytest.raises(ConfigError, match="hook: got"):
        read_hooks(language.model, [hook], input_ids=torch.tensor([[1]]))


@pytest.mark.parametrize("hook", ["residual.0", "residual.2", "model.layers.1.mlp"])
def test_replaced_changes_the_logits_and_leaves_no_trace(language, hook):
    ids = torch.tensor([[1, 2, 3]])
    before = language.logits(ids)
    with replaced(language.model, hook, lambda x: x + 1):
        changed = language.logits(ids)
    with replaced(language.model, hook, lambda x: None):
        same = language.logits(ids)
    assert not torch.allclose(before, changed)
    assert torch.equal(before, same) and torch.equal(before, language.logits(ids))


def test_hooks_that_cannot_be_read(language):
    ids = torch.tensor([[1, 2]])
    with pytest.raises(ConfigError, match="not passed"):
        read_hooks(language.model, ["lm_head:input"], input_ids=ids)
    with pytest.raises(ConfigError, match="no tensor by position"):
        read_hooks(language.model, ["model:input"], input_ids=ids)
    by_name = "model.layers.0.self_attn:input"
    assert read_hooks(language.model, [by_name], input_ids=ids)[by_name].shape == (1, 2, 16)
    before = language.logits(ids)
    with replaced(language.model, by_name, lambda x: x + 1):
        assert not torch.allclose(language.logits(ids), before)
    with pytest.raises(ConfigError, match="does not put out"):
        flat = torch.nn.Sequential(torch.nn.Linear(2, 2))
        with replaced(flat, "0", lambda x: x):
            flat(torch.ones(1, 2))


def test_contexts_are_the_texts_end_to_end(language):
    packed = pack_contexts(language, ["ab", "cde"], length=3, most=100)
    ids = [*language.encode(["ab"])[0], 256, *language.encode(["cde"])[0], 256]
    assert packed.tolist() == [ids[:3], ids[3:6]]
    with pytest.raises(DataError, match="fewer than 9"):
        pack_contexts(language, ["ab"], length=9, most=100)


def test_collected_rows_are_those_of_their_places(language, texts, tmp_path):
    store = collect(language, texts, settings(), tmp_path)
    tokens = torch.from_numpy(store.tokens().astype(np.int64))
    places = np.concatenate([np.load(tmp_path / "places" / f"{n:05d}.npy") for n in store.shards])
    assert store.rows == 30 * 19 == len(set(places.tolist()))
    assert len(store.shards) > 2
    assert (places % 20 > 0).all()
    for hook in HOOKS:
        whole = torch.cat(list(store.batches(hook, 64)))
        direct = read_hooks(language.model, [hook], input_ids=tokens)[hook].flatten(0, 1)
        assert torch.allclose(whole, direct[places], rtol=2e-3, atol=2e-3)
        assert store.width(hook) == whole.shape[1]


def test_batches_cover_a_range_once(planted_store):
    whole = torch.cat(list(planted_store.batches("x", 700)))
    sizes = [len(batch) for batch in planted_store.batches("x", 700, start=1000, stop=3200)]
    part = torch.cat(list(planted_store.batches("x", 700, start=1000, stop=3200)))
    assert sizes == [700, 700, 700, 100]
    assert torch.equal(part, whole[1000:3200])


def test_what_judges_shares_no_context_with_what_trains(language, texts, tmp_path):
    store = collect(language, texts, settings(), tmp_path)
    places = np.concatenate([np.load(tmp_path / "places" / f"{n:05d}.npy") for n in store.shards])
    sizes = [store.facts.rows[number] for number in store.shards]
    for held_out in (1, 30, 38, 39, 200):
        start = store.split(held_out)
        judged, trained = (set((part // 20).tolist()) for part in (places[start:], places[:start]))
        assert not judged & trained
        assert held_out <= store.rows - start < held_out + max(sizes)
        assert set(store.contexts(start).tolist()) == judged
        assert set(store.contexts(0, start).tolist()) == trained
    assert store.split(store.rows + 1) == 0
    last = store.last_contexts(3)
    assert set(store.contexts(store.split(1)).tolist()) <= set(last.tolist()) and len(last) == 3
    assert len(store.last_contexts(99)) == 30
    arrays = write_store(tmp_path / "arrays", {"x": np.ones((10, 2))}, shard_rows=4)
    assert arrays.split(3) == 7, "rows of arrays share nothing"


def test_a_small_store_still_has_a_small_last_shard(language, texts, tmp_path):
    store = collect(language, texts, settings(shard_rows=65_536), tmp_path)
    assert store.rows - store.split(1) <= store.rows // 10


def test_shards_hold_whole_batches_and_a_store_keeps_its_own(language, texts, tmp_path):
    whole = collect(language, texts, settings(), tmp_path / "new")
    assert set(whole.facts.rows) == {3 * 19}
    facts = json.loads((tmp_path / "new" / "store.json").read_text())
    old = {**facts, "rows": [2 * 19] * 15}  # as an older version cut it
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "store.json").write_text(json.dumps(old))
    again = collect(language, texts, settings(), tmp_path / "old")
    assert set(again.facts.rows) == {2 * 19} and again.rows == whole.rows
    few = collect(language, texts, settings(tokens=200, batch=4), tmp_path / "few")
    assert len(few.shards) == 10, "ten contexts: whole batches would leave three"


def test_latents_read_from_the_store_are_the_models(language, texts, tmp_path, make_coder):
    store = collect(language, texts, settings(), tmp_path)
    coder, hook = make_coder("relu"), "residual.1"
    contexts = store.last_contexts(5)
    found, ids = stored_activations(store, hook, coder, [3, 7], contexts)
    wanted = read_features(language, coder_features(coder, hook, [3, 7]), ids)
    assert ids.tolist() == store.tokens()[contexts].tolist()
    assert torch.allclose(found, wanted, atol=2e-2) and (wanted > 0.1).any()
    alive = stored_alive(store, hook, coder, contexts)
    every = read_features(language, coder_features(coder, hook, range(24)), ids)
    assert torch.equal(alive, (every > 0).flatten(0, 1).any(0))


def test_a_controls_latents_are_read_with_the_noise_that_was_stored(
    language, texts, tmp_path, make_coder
):
    """Its noise hangs on what is beside a context in its batch."""
    control = variant(language, "control", seed=0)
    store = collect(control, texts, settings(), tmp_path)
    rows, _ = next(store.rows_of("residual.1", store.last_contexts(1), 999))
    coder, contexts = make_coder("relu"), store.last_contexts(1)
    found, _ = stored_activations(store, "residual.1", coder, [3], contexts)
    of_rows = coder.encode(rows)[:, 3]
    assert torch.equal(found[found > 0].sort().values, of_rows[of_rows > 0].sort().values)


def test_a_killed_collection_goes_on(language, texts, tmp_path, monkeypatch):
    whole = collect(language, texts, settings(), tmp_path / "whole")

    class KilledError(Exception):
        pass

    def kill(line):
        if line.startswith("shard 2"):
            raise KilledError

    with pytest.raises(KilledError):
        collect(language, texts, settings(), tmp_path / "again", say=kill)
    grown = ActivationStore(tmp_path / "again")
    assert grown.shards == [0, 1]
    made = (tmp_path / "again/residual.1/00000.npy").stat().st_mtime_ns
    again = collect(language, texts, settings(), tmp_path / "again")
    assert (tmp_path / "again/residual.1/00000.npy").stat().st_mtime_ns == made
    for hook in HOOKS:
        pairs = zip(whole.batches(hook, 64), again.batches(hook, 64), strict=True)
        assert all(torch.equal(one, other) for one, other in pairs)


def test_another_collection_in_the_same_folder_is_refused(language, texts, tmp_path):
    collect(language, texts, settings(), tmp_path)
    with pytest.raises(ConfigError, match="seed = 0"):
        collect(language, texts, settings(seed=1), tmp_path)
    with pytest.raises(ConfigError, match="source"):
        collect(language, texts[5:], settings(), tmp_path)


def test_a_store_goes_on_with_its_own_batch_alone(language, texts, tmp_path):
    """A control's noise is drawn from a batch's ids: two batches would be two draws."""
    store = collect(language, texts, settings(), tmp_path)
    assert store.facts.batch == 3
    with pytest.raises(ConfigError, match="batch = 3, got 4"):
        collect(language, texts, settings(batch=4), tmp_path)
    facts = json.loads((tmp_path / "store.json").read_text())
    del facts["batch"]  # as older versions wrote it
    (tmp_path / "store.json").write_text(json.dumps(facts))
    assert ActivationStore(tmp_path).facts.batch is None
    again = collect(language, texts, settings(), tmp_path)
    assert again.facts.batch is None and again.rows == store.rows
    (tmp_path / "places" / "00001.npy").unlink()
    with pytest.raises(ConfigError, match="batch = None, got 3"):
        collect(language, texts, settings(), tmp_path)


def test_a_store_of_arrays_is_known_by_what_they_hold(tmp_path):
    rows = np.arange(20.0).reshape(10, 2)
    one, same, other, renamed = (
        write_store(tmp_path / f"{at}", arrays).facts
        for at, arrays in enumerate(({"x": rows}, {"x": rows}, {"x": rows + 1}, {"y": rows}))
    )
    assert one.source == same.source
    assert len({one.source, other.source, renamed.source}) == 3


def test_stores_that_are_none(tmp_path):
    with pytest.raises(ArtifactError, match="no such file"):
        ActivationStore(tmp_path)
    (tmp_path / "store.json").write_text("[]")
    with pytest.raises(ArtifactError, match="not a description"):
        ActivationStore(tmp_path)
    (tmp_path / "store.json").write_text('{"format": 9}')
    with pytest.raises(ArtifactError, match="another format"):
        ActivationStore(tmp_path)
    store = write_store(tmp_path, {"x": np.ones((3, 2))})
    with pytest.raises(DataError, match="the store has x"):
        store.width("y")
    with pytest.raises(DataError, match="no tokens"):
        store.tokens()
    (tmp_path / "places" / "00000.npy").unlink()
    with pytest.raises(ArtifactError, match="no shard is finished"):
        ActivationStore(tmp_path)


def test_what_does_not_fit_is_refused(tmp_path):
    huge = np.full((2, 2), np.inf, dtype=np.float16)
    with pytest.raises(DataError, match="float16"):
        write_shard(tmp_path, 0, np.arange(2), {"x": huge})
    with pytest.raises(DataError, match="rows"):
        write_store(tmp_path, {"x": np.ones((2, 2)), "y": np.ones((3, 2))})
    with pytest.raises(ConfigError, match="less than context"):
        CollectConfig.parse({"context": 4, "skip": 4})
    with pytest.raises(ConfigError, match="each once"):
        CollectConfig.parse({"hooks": ["a", "a"]})
