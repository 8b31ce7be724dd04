"""Files, stores, settings and models that would be misread, or whose refusal came too late."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from custodes.errors import ArtifactError, ConfigError, DataError
from custodes.methods.sae import describing
from custodes.methods.sae.collecting import collect, pack_contexts
from custodes.methods.sae.config import (
    CollectConfig,
    CompareConfig,
    DescribeConfig,
    ToyConfig,
    TrainConfig,
)
from custodes.methods.sae.describing import NULL, Described, score
from custodes.methods.sae.evidence import Evidence, Example
from custodes.methods.sae.explaining import ModelExplainer
from custodes.methods.sae.features import coder_features
from custodes.methods.sae.formats import load_coder, save_coder
from custodes.methods.sae.hooks import read_hooks
from custodes.methods.sae.language import last_norm
from custodes.methods.sae.method import run_compare, run_null, run_train
from custodes.methods.sae.seeds import compare
from custodes.methods.sae.steering import Writing, find_clamps, steered_kl
from custodes.methods.sae.store import write_store
from custodes.methods.sae.stored import stored_activations
from custodes.methods.sae.training import Trainer, train

SMALL = {"latents": [24], "k": [4], "seeds": [0], "batch": 64, "held_out": 400, "warm_up": 2}


def small(**changed):
    return TrainConfig.parse({**SMALL, **changed})


def rewrite(folder, **changed):
    """Change fields of a cfg.json; None takes one out."""
    path = folder / "cfg.json"
    cfg = {**json.loads(path.read_text()), **changed}
    path.write_text(json.dumps({name: value for name, value in cfg.items() if value is not None}))


OLDER = {"architecture": "standard", "activation_fn_kwargs": {"k": 4}, "k": None}


@pytest.mark.parametrize(
    "changed",
    [
        {**OLDER, "activation_fn_str": "topk"},
        {**OLDER, "activation_fn": "topk"},
        {"k": None, "activation_fn_kwargs": {"k": 4}},
        {"normalize_activations": False},
    ],
)
def test_topk_files_of_older_saelens_are_topk(make_coder, tmp_path, changed):
    coder = make_coder()
    save_coder(coder, tmp_path)
    rewrite(tmp_path, **changed)
    found = load_coder(tmp_path)
    assert (found.kind, found.k) == ("topk", 4)
    x = torch.randn(20, 16)
    assert torch.equal(found.encode(x), coder.encode(x))
    save_coder(found, tmp_path / "again")
    assert load_coder(tmp_path / "again").kind == "topk"


@pytest.mark.parametrize(
    ("form", "changed", "says"),
    [
        ("saelens", {"activation_fn": "tanh-relu"}, "tanh-relu"),
        ("saelens", {"normalize_activations": True}, "normalize_activations is True"),
        ("saelens", {"k": "4"}, "k is '4', expected a whole number"),
        ("sparsify", {"gram_lookup": True}, "gram_lookup is True"),
        ("sparsify", {"k": 2.5}, "k is 2.5"),
    ],
)
def test_files_of_what_is_not_done_here_are_refused(make_coder, tmp_path, form, changed, says):
    save_coder(make_coder(), tmp_path, form=form)
    rewrite(tmp_path, **changed)
    with pytest.raises(ArtifactError, match=says):
        load_coder(tmp_path)


def test_a_file_whose_metadata_is_null_is_saved_again(make_coder, tmp_path):
    save_coder(make_coder(), tmp_path)
    rewrite(tmp_path, metadata=None)
    cfg = {**json.loads((tmp_path / "cfg.json").read_text()), "metadata": None}
    (tmp_path / "cfg.json").write_text(json.dumps(cfg))
    save_coder(load_coder(tmp_path), tmp_path / "again", metadata={"seed": 1})
    assert json.loads((tmp_path / "again" / "cfg.json").read_text())["metadata"] == {"seed": 1}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autoencoders_of_half_precision_are_compared_and_read(
    make_coder, language, texts, tmp_path, dtype
):
    whole = make_coder("topk")
    tensors = {name: one.to(dtype) for name, one in whole.tensors.items()}
    coder = replace(whole, tensors=tensors)
    assert coder.checksum() != make_coder("topk", seed=1).checksum()
    assert compare(coder, coder, keep=tmp_path / "keep").shared == 1
    config = CollectConfig(hooks=("residual.2",), tokens=600, context=30, shard_rows=200)
    store = collect(language, texts, config, tmp_path / "store")
    values, _ = stored_activations(store, "residual.2", coder, [1, 3], store.contexts()[:4])
    assert values.dtype == torch.float32
    ids = torch.arange(60, 90).reshape(2, 15)
    found = describing.read_features(language, coder_features(coder, "residual.2", [1]), ids)
    assert found.dtype == torch.float32


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_activations_that_are_no_numbers_are_refused(planted, tmp_path, dtype):
    rows, _ = planted(rows=100)
    rows[7, 3] = np.nan
    with pytest.raises(DataError, match=r"no numbers \(NaN\)"):
        write_store(tmp_path, {"x": rows}, dtype=dtype)
    rows[7, 3] = 1e5
    if dtype == "float16":
        with pytest.raises(DataError, match="give dtype=float32"):
            write_store(tmp_path, {"x": rows}, dtype=dtype)
    else:
        assert write_store(tmp_path, {"x": rows}, dtype=dtype).facts.dtype == "float32"
    with pytest.raises(DataError, match=r"expected \[rows, d\]"):
        write_store(tmp_path / "flat", {"x": rows[:, 0]})


def test_a_training_that_diverges_saves_nothing(planted_store, tmp_path):
    config = small(kinds=["relu"], coder={"learning_rate": 1e30})
    with pytest.raises(DataError, match="training diverged"):
        run_train(planted_store, config, tmp_path / "run")
    assert not list((tmp_path / "run" / "artifacts").glob("*/cfg.json"))


def test_an_input_of_another_shape_is_refused(language):
    ids = torch.arange(60, 90).reshape(2, 15)
    with pytest.raises(ConfigError, match=r"is not given a tensor \[batch, T, d\]"):
        read_hooks(language.model, ["model.embed_tokens:input"], input_ids=ids)


def test_the_last_norm_is_found_by_its_place():
    from transformers import (
        AutoModelForCausalLM,
        GPT2Config,
        GPTNeoXConfig,
        MptConfig,
        OPTConfig,
        PhiConfig,
    )

    size = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 11}
    expected = [
        (GPT2Config(n_embd=8, n_layer=1, n_head=2, vocab_size=11), "transformer.ln_f"),
        (GPTNeoXConfig(**size, intermediate_size=8), "gpt_neox.final_layer_norm"),
        (PhiConfig(**size, intermediate_size=8), "model.final_layernorm"),
        (
            OPTConfig(**size, ffn_dim=8, word_embed_proj_dim=8),
            "model.decoder.final_layer_norm",
        ),
        (MptConfig(d_model=8, n_layers=1, n_heads=2, vocab_size=11), "transformer.norm_f"),
    ]
    for config, path in expected:
        model = AutoModelForCausalLM.from_config(config)
        assert last_norm(model) is model.get_submodule(path), path


def test_settings_that_say_nothing_are_refused():
    for name in ("kinds", "latents", "k", "seeds"):
        with pytest.raises(ConfigError, match=name):
            small(**{name: []})
    for cls, values in (
        (CollectConfig, {"seed": -1}),
        (DescribeConfig, {"kl_targets": [0.0]}),
        (DescribeConfig, {"kl_targets": []}),
        (ToyConfig, {"seeds": []}),
    ):
        with pytest.raises(ConfigError):
            cls.parse(values)
    coders = small(kinds=["relu", "topk"], latents=[16], k=[8]).coders()
    assert [one.kind for one in coders] == ["relu", "topk"]
    assert small(kinds=["relu"], latents=[16], k=[32]).coders()  # its k says nothing


def test_a_context_longer_than_the_model_is_refused(language, texts, tmp_path):
    config = CollectConfig(hooks=("residual.2",), tokens=2000, context=65)
    with pytest.raises(ConfigError, match="has 64 positions"):
        collect(language, texts, config, tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_a_long_text_is_read_in_pieces_and_no_further_than_asked(language, monkeypatch):
    from custodes.methods.sae import collecting

    text = "many words\nof one text, " * 40 + "x" * 200
    whole = pack_contexts(language, [text, "end"], length=16, most=10_000)
    asked = []
    encode = type(language).encode

    def counted(self, texts):
        asked.extend(texts)
        return encode(self, texts)

    monkeypatch.setattr(type(language), "encode", counted)
    monkeypatch.setattr(collecting, "_PIECE", 50)
    pieces = pack_contexts(language, [text, "end"], length=16, most=10_000)
    assert np.array_equal(pieces, whole)  # of characters: no token is cut
    assert "".join(asked) == text + "end" and max(map(len, asked)) <= 50
    asked.clear()
    assert len(pack_contexts(language, [text], length=16, most=32)) == 2
    assert len("".join(asked)) <= 100


def test_an_autoencoder_of_another_width_is_told_before_anything_is_matched(
    make_coder, planted_store, tmp_path
):
    for seed in (0, 1):
        save_coder(make_coder(width=8, seed=seed), tmp_path / str(seed))
    with pytest.raises(DataError, match="takes activations of 8 numbers, and x"):
        run_compare([tmp_path / "0", tmp_path / "1"], CompareConfig(), tmp_path / "out",
                    store=planted_store)  # fmt: skip
    assert not (tmp_path / "out").exists()


def test_a_refused_training_leaves_the_record_of_the_one_that_it_refuses_for(
    planted_store, tmp_path, monkeypatch
):
    out, steps = tmp_path / "run", []
    step = Trainer.step

    def dying(self, *given):
        steps.append(1)
        if len(steps) > 12:
            raise KeyboardInterrupt
        return step(self, *given)

    monkeypatch.setattr(Trainer, "step", dying)
    with pytest.raises(KeyboardInterrupt):
        run_train(planted_store, small(checkpoint=5), out)
    monkeypatch.setattr(Trainer, "step", step)
    before = (out / "config.yaml").read_text()
    with pytest.raises(ConfigError, match="a checkpoint of other settings"):
        run_train(planted_store, small(checkpoint=5, epochs=3), out)
    assert (out / "config.yaml").read_text() == before
    run_train(planted_store, small(checkpoint=5), out)


def test_refused_networks_leave_the_record_too(language, texts, tmp_path):
    from custodes.methods.sae.config import NullConfig

    values = {
        "collect": {"hooks": ["residual.2"], "context": 36, "tokens": 3000, "shard_rows": 700},
        "train": SMALL, "variants": ["trained"], "latents": 5, "contexts": 8, "table_contexts": 8,
    }  # fmt: skip
    run_null(NullConfig.parse(values), lambda: texts, tmp_path, language=language)
    before = (tmp_path / "config.yaml").read_text()
    other = {**values, "train": {**SMALL, "epochs": 2}}
    with pytest.raises(ConfigError, match="an autoencoder of other settings"):
        run_null(NullConfig.parse(other), lambda: texts, tmp_path, language=language)
    assert (tmp_path / "config.yaml").read_text() == before


def test_rows_trained_on_are_those_of_whole_batches(planted_store, tmp_path):
    run_train(planted_store, small(batch=1000), tmp_path)
    facts = json.loads((tmp_path / "report.json").read_text())["facts"]
    assert facts["rows trained on"] == 3000  # of 3,600 that are not held out
    (one,) = train(planted_store, small(batch=1000))
    assert len(one.losses) == 3


class Oracle:
    """An embedding judge that knows which texts are whose: axis n is feature n."""

    name = "oracle"

    def embed(self, texts):
        return np.array([np.eye(30)[int(text.split()[0])] for text in texts])

    __call__ = embed


def evidence_of(name):
    examples = (Example(tokens=(name,), values=(1.0,)),)
    return Evidence(name=name, examples=examples, promoted=(), suppressed=(), changed=())


def described_by(names):
    return [
        Described(
            evidence=evidence_of(str(n)),
            descriptions=dict.fromkeys(
                ("max-act", "vocab-proj", "token-change", "ensemble-raw", "ensemble-concat"),
                f"{n} is meant",
            ),
            clamps=(1.0,), steered=(f"{n} was steered",),
        )
        for n in names
    ]  # fmt: skip


@pytest.mark.parametrize("count", [3, 4, 6])
def test_the_null_of_the_output_score_is_not_held_against_its_own_texts(count, monkeypatch):
    """The next feature's texts must not be among the distractors of its description."""
    seen = []

    def noted(text, own, sets, embed, *, signs=None):
        seen.append((int(text.split()[0]), int(own[0].split()[0]),
                     [int(one[0].split()[0]) for one in sets]))  # fmt: skip
        return True

    monkeypatch.setattr(describing, "output_success", noted)
    values = torch.rand(12, 4, count)
    texts = [f"{n % count} text" for n in range(12)]
    found = score(described_by(range(count)), values, texts, Oracle().embed, 0)
    nulls = [(meant, others) for meant, own, others in seen if meant != own]
    assert len(found[NULL]["output"]) == (count if count > 3 else 0)
    assert all(meant not in others for meant, others in nulls)
    assert len(found["max-act"]["output"]) == count


def test_clamps_move_predictions_by_the_target_where_text_is_written(language, make_coder):
    features = coder_features(make_coder("relu"), "residual.2", [3, 7])
    writing = Writing()
    begun = writing.begun(language, "residual.2")
    assert [len(one.prompts[0]) for one in begun] == [
        len(language.encode([prompt])[0]) for prompt in writing.prompts
    ]
    clamps = find_clamps(language, features, [0, 1], begun, [0.25, -0.25], [1.0, 1.0])
    for at, of_one in enumerate(clamps):
        moved = [steered_kl(language, features, at, one, of_one) for one in begun]
        assert torch.stack(moved).mean(0).tolist() == pytest.approx([0.25, 0.25], rel=0.06)


def test_half_a_character_in_an_explanation_can_be_kept():
    class Cut:
        def generate(self, conversations, sampling):
            return [type("Reply", (), {"text": "a cat \ud83d"})()]

    found = ModelExplainer(Cut(), name="cut").explain(evidence_of("0"), ["max-act"])
    assert found.encode("utf-8").startswith(b"a cat")


def test_a_blank_line_is_no_row(tmp_path):
    from custodes.methods.sae.texts import read_texts

    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n\n{"text": "two"}\n\n')
    assert list(read_texts([tmp_path])) == ["one", "two"]


def test_the_command_tells_an_empty_list(tmp_path, planted_store):
    from custodes.methods.sae.command import app

    given = ["train", str(planted_store.folder), "--out", str(tmp_path / "o"), "--set", "seeds=[]"]
    done = CliRunner().invoke(app, given)
    assert isinstance(done.exception, ConfigError) and "seeds" in str(done.exception)
