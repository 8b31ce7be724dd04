"""A killed training and a killed matching go on to the same result; bfloat16 picks."""

import numpy as np
import pytest
import torch

from custodes.errors import ArtifactError, ConfigError
from custodes.methods.sae import matching, method
from custodes.methods.sae.blocked import Tight
from custodes.methods.sae.config import CoderConfig, TrainConfig
from custodes.methods.sae.matching import match, unit_rows
from custodes.methods.sae.method import run_train
from custodes.methods.sae.store import write_store
from custodes.methods.sae.training import Trainer, train
from custodes.models import arithmetic

CONFIG = TrainConfig(
    kinds=("topk", "batchtopk", "jumprelu"), latents=(32,), k=(3,), seeds=(0, 1),
    batch=128, epochs=2, warm_up=3, held_out=500, checkpoint=5, dead_after=1000,
    coder=CoderConfig(latents=32, k=3, learning_rate=1e-2),
)  # fmt: skip


class KilledError(Exception):
    pass


def killer(step):
    def say(line):
        if line.startswith(f"step {step} "):
            raise KilledError

    return say


def test_a_killed_training_goes_on_to_the_last_bit(planted_store, tmp_path):
    step = 40
    whole = {one.name: one for one in train(planted_store, CONFIG)}
    keep = tmp_path / "checkpoint.safetensors"
    with pytest.raises(KilledError):
        list(train(planted_store, CONFIG, keep=keep, say=killer(step)))
    assert keep.exists()
    said = []
    parts = {one.name: one for one in train(planted_store, CONFIG, keep=keep, say=said.append)}
    assert not keep.exists()
    assert said[0].startswith("step 40 "), "the step behind the checkpoint at 35"
    assert list(parts) == list(whole)
    for name, one in whole.items():
        assert one.losses == parts[name].losses
        assert one.quality == parts[name].quality
        for part, tensor in one.coder.tensors.items():
            assert torch.equal(tensor, parts[name].coder.tensors[part]), (name, part)


def test_checkpoints_of_something_else_are_refused(planted_store, tmp_path):
    keep = tmp_path / "checkpoint.safetensors"
    with pytest.raises(KilledError):
        list(train(planted_store, CONFIG, keep=keep, say=killer(10)))
    other = CONFIG.model_copy(update={"batch": 64})
    with pytest.raises(ConfigError, match="of other settings"):
        list(train(planted_store, other, keep=keep))
    keep.write_bytes(b"nothing of the kind")
    with pytest.raises(ArtifactError, match="not a checkpoint"):
        list(train(planted_store, CONFIG, keep=keep))


def test_a_checkpoint_is_of_the_rows_in_their_order(planted, tmp_path):
    """Other arrays, and the same ones in other shards, are another store."""
    rows, _ = planted()
    keep = tmp_path / "checkpoint.safetensors"
    store = write_store(tmp_path / "store", {"x": rows}, shard_rows=1500)
    with pytest.raises(KilledError):
        list(train(store, CONFIG, keep=keep, say=killer(10)))
    for name, array, shard_rows in (("values", rows + 1, 1500), ("layout", rows, 1000)):
        other = write_store(tmp_path / name, {"x": array}, shard_rows=shard_rows)
        with pytest.raises(ConfigError, match="of another store"):
            list(train(other, CONFIG, keep=keep))
    assert list(train(store, CONFIG, keep=keep))


FEW = CONFIG.model_copy(update={"kinds": ("batchtopk",), "epochs": 1})


def no_training(*_, **__):
    raise AssertionError("trained again")


def test_finished_autoencoders_are_not_trained_again(planted_store, tmp_path, monkeypatch):
    run_train(planted_store, FEW, tmp_path)
    monkeypatch.setattr(method, "train", no_training)
    before = {name: (tmp_path / name).read_text() for name in ("report.json", "metrics.jsonl")}
    run_train(planted_store, FEW, tmp_path)
    run_train(planted_store, FEW.model_copy(update={"checkpoint": 9}), tmp_path)
    for name, text in before.items():
        assert (tmp_path / name).read_text() == text
    longer = FEW.model_copy(update={"epochs": 2})
    with pytest.raises(ConfigError, match=r"batchtopk-32-k3-seed0: an autoencoder of other set"):
        run_train(planted_store, longer, tmp_path)
    assert (tmp_path / "metrics.jsonl").read_text() == before["metrics.jsonl"], "and left alone"
    monkeypatch.undo()
    (tmp_path / "artifacts/batchtopk-32-k3-seed1/cfg.json").unlink()
    (tmp_path / "report.json").unlink()
    run_train(planted_store, FEW, tmp_path)
    assert (tmp_path / "report.json").read_text() == before["report.json"]
    more = FEW.model_copy(update={"seeds": (0, 1, 2)})
    run_train(planted_store, more, tmp_path)
    assert len(list((tmp_path / "artifacts").iterdir())) == 3


def test_a_checkpoint_is_of_the_precision_that_auto_came_to(planted_store, tmp_path, monkeypatch):
    """On a machine where it comes to another, going on would mix the two."""
    keep = tmp_path / "checkpoint.safetensors"
    coder = CONFIG.coder.model_copy(update={"precision": "auto"})
    auto = CONFIG.model_copy(update={"coder": coder})
    monkeypatch.setattr(arithmetic, "bfloat16_pays", lambda: True)
    with pytest.raises(KilledError):
        list(train(planted_store, auto, keep=keep, say=killer(10)))
    monkeypatch.setattr(arithmetic, "bfloat16_pays", lambda: False)
    with pytest.raises(ConfigError, match="of other settings"):
        list(train(planted_store, auto, keep=keep))
    monkeypatch.undo()
    named = coder.model_copy(update={"precision": "bfloat16"})
    found = list(train(planted_store, CONFIG.model_copy(update={"coder": named}), keep=keep))
    assert {one.config.precision for one in found} == {"bfloat16"}


def test_bfloat16_picks_and_float32_counts(planted):
    rows, _ = planted()
    x = torch.from_numpy(rows[:512])
    errors = {}
    for precision in ("float32", "bfloat16"):
        coder = CoderConfig(latents=24, k=3, learning_rate=1e-2, precision=precision)
        trainer = Trainer(coder, x.mean(0), 1.0)
        errors[precision] = [trainer.step(x) for _ in range(40)]
    assert errors["bfloat16"] != errors["float32"]
    assert errors["bfloat16"][-1] == pytest.approx(errors["float32"][-1], rel=0.1)
    assert errors["bfloat16"][-1] < 0.7 * errors["bfloat16"][0]


@pytest.mark.parametrize("kind", ["relu", "gated", "jumprelu"])
def test_dense_kinds_train_in_bfloat16_too(planted, kind):
    x = torch.from_numpy(planted()[0][:512])
    errors = {}
    for precision in ("float32", "bfloat16"):
        config = CoderConfig(
            kind=kind, latents=24, k=4, sparsity=0.1, precision=precision, learning_rate=1e-2
        )
        trainer = Trainer(config, x.mean(0), 1.0)
        errors[precision] = [trainer.step(x) for _ in range(30)]
        assert all(part.dtype == torch.float32 for part in trainer.part.values())
    assert errors["bfloat16"] != errors["float32"]
    assert errors["bfloat16"][-1] == pytest.approx(errors["float32"][-1], rel=0.05)


def sides(count=150, width=6):
    draw = torch.Generator().manual_seed(3)
    return tuple(torch.randn(count, width, generator=draw) for _ in range(2))


def test_a_killed_matching_goes_on(tmp_path, monkeypatch):
    keep = tmp_path / "pairs.safetensors"
    first, second = sides()

    def stop(line):
        if "violated" in line:
            rounds.append(line)
            if len(rounds) == 2:
                raise KilledError

    rounds = []
    with pytest.raises(KilledError):
        match(first, second, top=1, keep=keep, say=stop)
    assert keep.exists()

    def never(*_):
        raise AssertionError("the first pass is not made again")

    monkeypatch.setattr(matching, "candidates", never)
    found = match(first, second, top=1, keep=keep)
    monkeypatch.undo()
    assert found.certified and not keep.exists()
    assert len(found.violated) > 2
    assert found.objective == pytest.approx(match(first, second, top=1).objective, abs=1e-9)


def test_what_was_kept_of_other_directions_is_not_used(tmp_path):
    keep = tmp_path / "pairs.safetensors"
    first, second = sides()

    def stop(line):
        raise KilledError

    with pytest.raises(KilledError):
        match(first, second, keep=keep, say=lambda line: "violated" in line and stop(line))
    assert match(second, first, keep=keep).certified


@pytest.mark.parametrize("moved", [0.003, 0.03, 1.0])
def test_close_pairs_are_all_that_violate_at_any_prices(moved):
    """However prices move, no pair above them is missed; few may be kept beside."""
    first, second = (unit_rows(side) for side in sides())
    rng = np.random.default_rng(0)
    u, v = np.full(150, 0.4), np.full(150, 0.4)
    cosines = (first @ second.T).double().numpy()
    tight = Tight(first, second, 32, (cosines.max(1) + 1e-6, cosines.max(0) + 1e-6))
    for _ in range(6):
        excess = tight.excess(u, v)
        found = {(int(i), int(j)) for i, j, one in
                 zip(tight.row, tight.column, excess, strict=True) if one > 1e-5}  # fmt: skip
        i, j = np.nonzero(cosines - u[:, None] - v[None] > 1e-5)
        assert found == set(zip(i.tolist(), j.tolist(), strict=True))
        u = u + moved * rng.normal(size=150) * (rng.random(150) < 0.3)
        v = v + moved * rng.normal(size=150) * (rng.random(150) < 0.3)


def test_lines_whose_price_is_above_their_ceiling_are_not_looked_at():
    first, second = (unit_rows(side) for side in sides())
    cosines = (first @ second.T).double().numpy()
    u, v = cosines.max(1) - 0.1, np.zeros(150)
    ceilings = np.where(np.arange(150) < 50, -1.0, 1.0), np.ones(150)
    tight = Tight(first, second, 10, ceilings)  # blocks of 10: none has rows of both kinds
    assert (tight.excess(u, v) > 0.09).any()
    assert set(tight.row.tolist()) == set(range(50, 150))
