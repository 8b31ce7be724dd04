"""On a device other than the processor, everything is there, and comes to the same."""

import json

import numpy as np
import pytest
from safetensors.torch import load_file
from torch.testing import assert_close

from custodes.methods.sae.config import CollectConfig, DescribeConfig, NullConfig, TrainConfig
from custodes.methods.sae.describing import run_describe
from custodes.methods.sae.method import run_collect, run_null, run_train
from custodes.methods.sae.store import ActivationStore, write_store
from custodes.methods.sae.training import train

KINDS = ("topk", "batchtopk", "jumprelu", "gated", "relu")


def collecting(model, device):
    return CollectConfig(
        model=str(model), hooks=("residual.2",), context=36, tokens=3000, shard_rows=700,
        device=device,
    )  # fmt: skip


def training(device, **changes):
    settings = {
        "latents": (24,), "k": (4,), "seeds": (0,), "batch": 64, "held_out": 400, "epochs": 2,
        "warm_up": 2, "dead_after": 100, "device": device,
    }  # fmt: skip
    return TrainConfig(**{**settings, **changes})


@pytest.fixture
def text_file(tmp_path, texts):
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(texts))
    return path


def qualities(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_activations_and_autoencoders_of_a_device(elsewhere, tiny_folder, text_file, tmp_path):
    for device in ("cpu", elsewhere):
        folder = tmp_path / device
        store = run_collect(collecting(tiny_folder, device), [text_file], folder / "store")
        run_train(store, training(device, kinds=KINDS), folder / "run")
    here, there = (tmp_path / device for device in ("cpu", elsewhere))
    for name in ("places", "residual.2"):
        files = sorted((here / "store" / name).glob("*.npy"))
        assert files
        for file in files:
            assert file.read_bytes() == (there / "store" / name / file.name).read_bytes()
    weights = sorted((here / "run" / "artifacts").glob("*/sae_weights.safetensors"))
    assert len(weights) == len(KINDS)
    for path in weights:
        assert_close(load_file(path), load_file(there / path.relative_to(here)))
    assert qualities(here / "run") == qualities(there / "run")


def test_a_kill_on_a_device_costs_nothing(elsewhere, tmp_path):
    rows = np.random.default_rng(0).normal(size=(4000, 16)).astype(np.float32)
    store = write_store(tmp_path / "store", {"x": rows}, shard_rows=1500)
    config = training(elsewhere, batch=200, checkpoint=4)
    keep = tmp_path / "checkpoint.safetensors"

    class KilledError(Exception):
        pass

    def kill(_):
        if keep.exists():
            raise KilledError

    with pytest.raises(KilledError):
        list(train(store, config, keep=keep, say=kill))
    (resumed,) = train(store, config, keep=keep)
    (straight,) = train(store, training("cpu", batch=200))
    assert resumed.losses == pytest.approx(straight.losses)
    assert_close(dict(resumed.coder.tensors), dict(straight.coder.tensors))


def test_random_networks_on_a_device(elsewhere, tiny_folder, texts, tmp_path):
    for device in ("cpu", elsewhere):
        config = NullConfig(
            collect=collecting(tiny_folder, device),
            train=training(device),
            latents=4,
            variants=("trained", "rerandomized", "control-matched"),
        )
        run_null(config, lambda: texts, tmp_path / device)
    assert qualities(tmp_path / "cpu") == qualities(tmp_path / elsewhere)


def test_descriptions_on_a_device(elsewhere, tiny_folder, text_file, tmp_path):
    run_collect(collecting(tiny_folder, "cpu"), [text_file], tmp_path / "store")
    store = ActivationStore(tmp_path / "store")
    run_train(store, training("cpu"), tmp_path / "run")
    (coder,) = (tmp_path / "run" / "artifacts").iterdir()
    for device in ("cpu", elsewhere):
        config = DescribeConfig(
            model=str(tiny_folder), latents=3, contexts=40, prompts=4, steer_tokens=4, device=device
        )
        run_describe(store, coder, config, tmp_path / device)
    here, there = (
        json.loads((tmp_path / device / "described.json").read_text())
        for device in ("cpu", elsewhere)
    )
    assert here == there
    assert qualities(tmp_path / "cpu") == qualities(tmp_path / elsewhere)
