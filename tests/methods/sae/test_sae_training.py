"""Formulas, gradients, training, figures."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from custodes.errors import ConfigError, DataError
from custodes.methods.sae.coder import Coder, sparse_rows
from custodes.methods.sae.config import CoderConfig, TrainConfig
from custodes.methods.sae.losses import jump_relu, l0_penalty
from custodes.methods.sae.metrics import QualityStream, ce_score, judge, substituted_losses
from custodes.methods.sae.objective import objective
from custodes.methods.sae.sparse import above_zero, batch_top_k, mixed, pre_activations, row_top_k
from custodes.methods.sae.store import write_store
from custodes.methods.sae.training import Trainer, only_hook, train, untrained

KINDS = ("topk", "batchtopk", "jumprelu", "gated", "relu")


def weights(latents=12, width=5, seed=0):
    torch.manual_seed(seed)
    shapes = [(latents, width), (latents,), (latents, width), (width,)]
    return [torch.randn(shape, dtype=torch.float64).requires_grad_() for shape in shapes]


PICKS = {
    "rows": row_top_k, "batch": batch_top_k, "above zero": lambda pre, k: above_zero(pre - k / 4)
}  # fmt: skip


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("pick", PICKS.values(), ids=PICKS)
@settings(max_examples=10)
@given(st.integers(0, 1000), st.integers(1, 6))
def test_sparse_products_and_their_gradients_are_the_dense_ones(known, pick, seed, k):
    encoder, bias, decoder, center = weights(seed=seed)
    x, goal = torch.randn(2, 7, 5, dtype=torch.float64)
    pre = (x - center) @ encoder.T + bias
    pairs = pick(pre.detach(), k)
    assert pairs.rows.tolist() == sorted(pairs.rows.tolist())
    mask = torch.zeros_like(pre)
    mask[pairs.rows, pairs.latents] = 1
    dense = (pre * mask) @ decoder + center
    values = pre_activations(x, center, encoder, bias, pairs, known=pre.detach() if known else None)
    sparse = mixed(values, decoder, pairs) + center
    assert torch.allclose(sparse, dense)
    every = [encoder, bias, decoder, center]
    wanted = torch.autograd.grad((dense - goal).square().sum(), every)
    found = torch.autograd.grad((sparse - goal).square().sum(), every)
    for one, other in zip(found, wanted, strict=True):
        assert torch.allclose(one, other)


@pytest.mark.parametrize("kind", ["relu", "gated"])
def test_few_active_pairs_train_as_all_do(kind, monkeypatch):
    """One objective, computed on all pairs and on the active ones alone."""
    config = CoderConfig(kind=kind, latents=24, k=1, sparsity=0.3)
    trainer = Trainer(config, torch.full((16,), 0.1), 1.0)
    x = torch.randn(50, 16)
    for name in ("encoder_bias", "gate_bias", "magnitude_bias", "magnitude_log_scale"):
        if name in trainer.part:
            trainer.part[name].data += 0.2 * torch.randn(24)
    found = {}
    for share in (0.0, 1.0):
        monkeypatch.setattr("custodes.methods.sae.objective._FEW", share)
        none = torch.zeros(24, dtype=torch.bool)
        one = objective(x, trainer.part, config, rough=False, dead=none)
        gradients = torch.autograd.grad(one.loss, list(trainer.part.values()))
        seen = torch.zeros(24, dtype=torch.bool)
        seen[one.alive] = True
        found[share] = one.loss, one.error, seen, *gradients
    assert found[0.0][2].any()
    for dense, sparse in zip(found[0.0], found[1.0], strict=True):
        assert torch.allclose(dense, sparse, rtol=1e-4, atol=1e-5)


def test_in_bfloat16_a_latents_bias_still_moves_its_threshold():
    """With biases rounded too, values lie on one grid, which a narrow kernel never meets."""
    torch.manual_seed(0)
    config = CoderConfig(
        kind="jumprelu", latents=64, k=1, threshold=2.01, bandwidth=0.005, precision="bfloat16"
    )
    trainer = Trainer(config, torch.zeros(16), 1.0)
    trainer.part["encoder_bias"].data.normal_()
    none = torch.zeros(64, dtype=torch.bool)
    met = {}
    for rough in (False, True):
        found = objective(3 * torch.randn(40_000, 16), trainer.part, config, rough=rough, dead=none)
        (slope,) = torch.autograd.grad(found.loss, [trainer.part["log_threshold"]])
        met[rough] = int((slope != 0).sum())
    assert met[False] > 60
    assert met[True] > 20


def test_batch_top_k_takes_the_greatest_of_the_batch():
    pre = torch.tensor([[5.0, 4.0, 3.0], [1.0, 2.0, 0.0]])
    active = batch_top_k(pre, 2)
    assert sorted(active.of(pre).tolist()) == [2, 3, 4, 5]
    assert active.offsets.tolist() == [0, 3]


def test_jump_relu_and_its_slopes():
    """arXiv 2407.14435, eq. 11 and 12, worked by hand at bandwidth 0.4."""
    pre = torch.tensor([[0.9, 1.1, 2.0, -1.0]]).requires_grad_()
    threshold = torch.ones(4, requires_grad=True)
    found = jump_relu(pre, threshold, 0.4)
    assert found.tolist() == [[0.0, pytest.approx(1.1), 2.0, 0.0]]
    found.sum().backward()
    assert pre.grad.tolist() == [[0, 1, 1, 0]]
    assert threshold.grad.tolist() == pytest.approx([-2.5, -2.5, 0, 0])
    threshold.grad = None
    penalty = l0_penalty(pre, threshold, 0.4)
    penalty.backward()
    assert penalty == 2
    assert threshold.grad.tolist() == pytest.approx([-2.5, -2.5, 0, 0])


def test_every_kind_encodes_by_its_formula(make_coder):
    x = torch.randn(6, 16)
    for kind in KINDS:
        coder = make_coder(kind)
        part = coder.tensors
        linear = (x - part["decoder_bias"]) @ part["encoder"].T
        found = coder.encode(x)
        if kind == "gated":
            magnitude = linear * part["magnitude_log_scale"].exp() + part["magnitude_bias"]
            wanted = ((linear + part["gate_bias"]) > 0) * magnitude.relu()
        else:
            pre = linear + part["encoder_bias"]
            wanted = pre.relu()
            if kind == "topk":
                wanted = wanted * (pre >= pre.topk(4, dim=1).values[:, -1:])
            elif kind in ("jumprelu", "batchtopk"):
                wanted = wanted * (pre > part["threshold"])
        assert torch.allclose(found, wanted, atol=1e-5)
        assert torch.allclose(coder(x), wanted @ part["decoder"] + part["decoder_bias"], atol=1e-5)
        assert (found > 0).any()
        rows, latents, values = sparse_rows(found)
        assert torch.equal(torch.zeros_like(found).index_put((rows, latents), values), found)


def test_coders_that_cannot_be():
    tensors = {"encoder": torch.ones(3, 2), "decoder": torch.ones(3, 2)}
    with pytest.raises(DataError, match="expected decoder, decoder_bias, encoder, encoder_bias"):
        Coder(kind="topk", tensors=tensors, k=1)
    whole = {**tensors, "encoder_bias": torch.ones(2), "decoder_bias": torch.ones(2)}
    with pytest.raises(DataError, match="encoder_bias: got shape"):
        Coder(kind="relu", tensors=whole)
    with pytest.raises(DataError, match="k: got None"):
        Coder(kind="topk", tensors={**whole, "encoder_bias": torch.ones(3)})
    with pytest.raises(ConfigError, match="at most the 4 latents"):
        CoderConfig.parse({"latents": 4, "k": 5})


def short(**changed):
    of_all = {
        "latents": (24,), "k": (3,), "batch": 100, "held_out": 500, "epochs": 3, "warm_up": 5,
        "coder": CoderConfig(latents=24, k=3, learning_rate=5e-3, sparsity=0.3),
    }  # fmt: skip
    return TrainConfig(**{**of_all, **changed})


def test_training_beats_its_null(planted_store):
    config = short(kinds=KINDS, seeds=(0,))
    for one in train(planted_store, config):
        null = untrained(planted_store, config, one.config)
        assert one.quality.explained > max(0.55, null.quality.explained + 0.1), one.name
        assert np.mean(one.losses[-5:]) < 0.7 * np.mean(one.losses[:2])
        decoder = one.coder.decoder
        assert torch.allclose(decoder.norm(dim=1), torch.ones(24), atol=1e-5)
        if one.config.kind == "topk":
            assert one.quality.l0 <= 3
        if one.config.kind == "batchtopk":
            assert null.quality.l0 == pytest.approx(3, abs=1)
            assert one.quality.l0 == pytest.approx(3, abs=0.6)


def test_many_from_one_pass_are_what_each_is_alone(planted_store):
    config = short(seeds=(0, 1), k=(2, 3), epochs=1)
    together = {one.name: one for one in train(planted_store, config)}
    assert len(together) == 4
    for seed in (0, 1):
        (alone,) = train(planted_store, short(seeds=(seed,), k=(2,), epochs=1))
        same = together[alone.name]
        assert torch.equal(alone.coder.decoder, same.coder.decoder)
        assert alone.quality == same.quality


def test_encoders_start_as_decoders_and_scale_is_folded_back():
    mean = torch.randn(8)
    for kind in KINDS:
        config = CoderConfig(kind=kind, latents=10, k=2)
        coder, scaled = Trainer(config, mean, 1.0), Trainer(config, mean, 4.0)
        assert torch.equal(coder.part["encoder"], coder.part["decoder"])
        found = scaled.finish()
        assert torch.allclose(found.tensors["decoder_bias"], mean)
        x = torch.randn(5, 8)
        part = {name: tensor.detach() for name, tensor in scaled.part.items()}
        if kind == "jumprelu":
            part["threshold"] = part.pop("log_threshold").exp()
        if kind == "batchtopk":
            part["threshold"] = torch.zeros(10)
        raw = Coder(kind=kind, tensors=part, k=2)
        assert torch.allclose(found(x) * 4, raw(x * 4), atol=1e-5)


def test_training_finds_planted_directions(planted, tmp_path):
    rows, directions = planted(width=32, active=2)
    store = write_store(tmp_path, {"x": rows})
    coder = CoderConfig(latents=24, k=2, learning_rate=1e-2)
    (one,) = train(store, short(seeds=(0,), k=(2,), coder=coder, epochs=8))
    best = (torch.from_numpy(directions) @ one.coder.decoder.T).amax(1)
    assert best.median() > 0.9


def test_auxk_revives_dead_latents(planted):
    rows = torch.from_numpy(planted()[0])
    revived = []
    for auxiliary in (0.0, 0.5):
        coder = CoderConfig(latents=32, k=2, learning_rate=2e-2, auxiliary=auxiliary)
        trainer = Trainer(coder, rows.mean(0), 1.0, dead_after=200)
        with torch.no_grad():
            trainer.part["encoder_bias"][16:] = -4.0
        for x in rows.split(100):
            trainer.step(x)
        active = trainer.finish().encode(rows) > 0
        revived.append(int(active.any(0)[16:].sum()))
    assert revived[0] == 0
    assert revived[1] >= 8


def test_fewer_rows_are_trained_on_and_the_same_judge(planted_store):
    few = short(seeds=(0,), rows=1300)
    (one,) = train(planted_store, few)
    assert len(one.losses) == 3 * 13
    (whole,) = train(planted_store, short(seeds=(0,)))
    assert len(whole.losses) == 3 * 35 and one.quality.rows == whole.quality.rows == 500
    with pytest.raises(DataError, match=r"rows: got 3501.*has 3500"):
        list(train(planted_store, short(rows=3501)))


def test_one_massive_dimension_is_not_all_there_is(make_coder):
    torch.manual_seed(1)
    x = torch.randn(200, 16)
    x[:, 0] *= 1000
    x[:, 1] = 3  # does not vary, and counts in neither
    error = torch.randn(200, 16)
    stream = QualityStream(16, 1)
    stream.add(x, torch.ones(200, 1), x + error)
    found = stream.result()
    each = 1 - error.square().sum(0) / (x - x.mean(0)).square().sum(0)
    assert found.explained > 0.999
    assert found.explained_mean == pytest.approx(float(each[x.std(0) > 0].mean()), rel=1e-4)
    assert found.explained_mean < 0.3


def test_figures_are_global(make_coder):
    torch.manual_seed(1)
    x = torch.randn(50, 16) * 3 + 100
    coder = make_coder("relu")
    found = judge(coder, x.split(7))
    y = coder(x)
    explained = 1 - (x - y).square().sum() / (x - x.mean(0)).square().sum()
    activations = coder.encode(x)
    assert found.explained == pytest.approx(float(explained), rel=1e-4)
    assert found.l0 == pytest.approx(float((activations > 0).sum(1).double().mean()))
    assert found.dead == pytest.approx(1 - float((activations > 0).any(0).double().mean()))
    assert found.cosine == pytest.approx(float(torch.cosine_similarity(x, y).mean()), rel=1e-4)
    assert found.rows == 50
    assert found.values()["l1"] == pytest.approx(float(activations.sum(1).mean()), rel=1e-4)
    with pytest.raises(DataError, match="no rows"):
        judge(coder, [])


def test_ce_score(language, make_coder):
    assert ce_score(2, 2, 5) == 1 and ce_score(2, 5, 5) == 0
    assert np.isnan(ce_score(2, 2, 2))
    ids = torch.arange(24).reshape(2, 12)
    identity = Coder(
        kind="relu",
        tensors={
            "encoder": torch.cat([torch.eye(16), -torch.eye(16)]), "encoder_bias": torch.zeros(32),
            "decoder": torch.cat([torch.eye(16), -torch.eye(16)]), "decoder_bias": torch.zeros(16),
        },
    )  # fmt: skip
    clean, same, ablated = substituted_losses(language, "residual.1", identity, ids)
    assert same == pytest.approx(clean, abs=1e-5)
    assert ablated != pytest.approx(clean, abs=1e-3)


def test_too_little_or_ambiguous(tmp_path):
    store = write_store(tmp_path, {"x": np.ones((10, 2)), "y": np.zeros((10, 2))})
    with pytest.raises(DataError, match="collect more"):
        list(train(store, short(hook="x")))
    with pytest.raises(DataError, match="name one"):
        only_hook(store, "")
    few = short(hook="y", batch=2, held_out=2)
    with pytest.raises(DataError, match="all 0"):
        list(train(store, few))
